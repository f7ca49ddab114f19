"""Processes that end with the one that has started them, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

SECONDS_BETWEEN_LOOKS = 1.0
_PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: signal.Signals) -> None:
    """Let this process get a signal as soon as its parent has ended.

    Args:
        parent: the process that has started this one; it may have ended meanwhile.
        number: SIGTERM for an end in order, SIGKILL for one at once.
    """
    if sys.platform == "linux" and _by_the_kernel(number):
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
        return
    threading.Thread(target=_watch, args=(parent, number), daemon=True).start()


def _by_the_kernel(number: signal.Signals) -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch(parent: int, number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), number)
