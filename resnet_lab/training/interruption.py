"""Ctrl-C and SIGTERM end a run cleanly: at the next step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interruption:
    """While entered, the first SIGINT or SIGTERM only sets `requested`; a second one is obeyed.

    One that is entered inside another tells that one of a signal when it is left, as what was being
    done may have come to its end before it could obey. Outside the main thread, where Python
    delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._signalled = False
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
            outer = getattr(handler, "__self__", None)
            if self._signalled and isinstance(outer, Interruption):
                outer.requested = outer._signalled = True

    def request(self) -> None:
        """Ask for the end of the run as a first signal does; any thread may."""
        self.requested = True

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = self._signalled = True
