"""Ctrl-C, SIGTERM and a closed terminal end a run cleanly: at the next step, with a checkpoint.

A command enters an `Interruption` as its first act, and what it does enters its own inside it.
A signal that comes to one of them is known to all: to those inside, however much later they are
entered, and to those outside when the inner one is left. So none is lost between two of them.
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
"""The interruptions of the main thread, the outermost first."""


class Interruption:
    """While entered, the first signal only sets `requested`; a second SIGINT is obeyed at once.

    Outside the main thread, where Python delivers no signals, it does nothing.

    Args:
        at_once: obey every signal at once, by KeyboardInterrupt: nothing would be lost. One that
            came before is obeyed on entering.
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
        """Ask for the end of the run as a first signal does; any thread may."""
        self.requested = True

    def take_back(self) -> None:
        """Handle the signals again, whatever a library has put in the place of this meanwhile.

        Lightning has its own way with SIGTERM: it ends a run without a checkpoint, and of several
        processes that train together the first sends to the others in the midst of a step.
        """
        for number in self._previous if self in _entered else ():
            signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        second = self.requested and number == signal.SIGINT
        self.requested = self._signalled = True
        if (self._at_once or second) and not self._changing:
            raise KeyboardInterrupt


def heeded_signals() -> list[signal.Signals]:
    """The signals that ask for an end: a SIGHUP that is ignored, as by nohup, stays so."""
    hangup = getattr(signal, "SIGHUP", None)
    return [
        number
        for number in SIGNALS
        if number != hangup or signal.getsignal(number) is not signal.SIG_IGN
    ]


def interruption_requested() -> bool:
    """Whether a signal has come to any interruption that is entered."""
    return bool(_entered) and _entered[-1]._signalled


@contextmanager
def signals_held_back() -> Iterator[None]:
    """While entered, signals wait; processes that are started keep them so until they let them in.

    A new process can say what a signal means to it only when its imports are done.
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
    """Take what has waited since this process was started, now that its handlers are there."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
