"""Ctrl-C, SIGTERM and a closed terminal end a run cleanly: at the next step, with a checkpoint.

A command enters an `Interruption` first; training enters another one inside it. A signal received
by one reaches all: inner ones even if entered later, outer ones when the inner one exits. So no
signal is lost in between.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_entered: list[Interruption] = []
"""The entered interruptions of the main thread, outermost first."""


class Interruption:
    """Signal handlers: the first signal sets `requested`; a second SIGINT interrupts at once.

    Outside the main thread, where Python delivers no signals, it does nothing.

    Args:
        at_once: raise KeyboardInterrupt at every signal, where no work would be lost. A signal
            received earlier raises on entering.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.requested = False
        self._signalled = False
        self._at_once = at_once
        self._changing = False
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._changing = True
        for number in heeded_signals():
            self._previous[number] = signal.signal(number, self._request)
        if _entered and _entered[-1]._signalled:
            self.requested = self._signalled = True
        _entered.append(self)
        self._changing = False
        if self._at_once and self.requested:
            self.__exit__(None, None, None)
            raise KeyboardInterrupt
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self not in _entered:
            return
        self._changing = True
        _entered.remove(self)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._signalled and _entered:
            _entered[-1].requested = _entered[-1]._signalled = True

    def request(self) -> None:
        """Request the end of the run, like a first signal. Thread-safe."""
        self.requested = True

    def take_back(self) -> None:
        """Reinstall the signal handlers after a library has replaced them.

        Lightning's SIGTERM handler ends a run without a checkpoint, and its rank 0 forwards the
        signal to the other ranks in the middle of a step.
        """
        for number in self._previous if self in _entered else ():
            signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        second = self.requested and number == signal.SIGINT
        self.requested = self._signalled = True
        if (self._at_once or second) and not self._changing:
            raise KeyboardInterrupt


def heeded_signals() -> list[signal.Signals]:
    """The signals that end a run. An ignored SIGHUP, as under nohup, stays ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    return [
        number
        for number in SIGNALS
        if number != hangup or signal.getsignal(number) is not signal.SIG_IGN
    ]


def interruption_requested() -> bool:
    """Whether any entered interruption has received a signal."""
    return bool(_entered) and _entered[-1]._signalled


@contextmanager
def signals_held_back() -> Iterator[None]:
    """While entered, signals are blocked, also in child processes until they unblock them.

    A new process can install its signal handlers only after its imports.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_in() -> None:
    """Unblock signals that arrived since process start, now that handlers are installed."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
