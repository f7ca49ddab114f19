"""Processes that end with the one that has started them, however that one ends.

    python -m resnet_lab.sweeps.parent_death PID MODULE [ARGUMENTS]

runs a module as `python -m` does, in a process that gets SIGTERM as soon as process PID, which has
started it, has ended.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from resnet_lab.runs.owner import Owner

SECONDS_BETWEEN_LOOKS = 1.0
COMMAND = "RESNET_LAB_COMMAND"
"""Names, in the environment, a signal and the process whose end brings it to all those that it has
started, whatever stands between."""
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
    _watch(lambda: os.getppid() != parent, number)


def end_with_command() -> None:
    """Let this process get a signal as soon as the one has ended that the environment names."""
    with suppress(KeyError, ValueError):
        number, owner = os.environ[COMMAND].split(maxsplit=1)
        _watch(Owner.parse(owner).is_dead, signal.Signals(int(number)))


def command_here(number: signal.Signals) -> dict[str, str]:
    """The variable by which `resnet-lab train`, started from here, gets a signal at this one's end.

    Args:
        number: as in `end_with`.
    """
    return {COMMAND: f"{int(number)} {Owner.here()}"}


def module_command(module: str, *arguments: str) -> list[str]:
    """The command of a module that is to end with this process, which starts it."""
    return [sys.executable, "-m", __name__, str(os.getpid()), module, *arguments]


def _by_the_kernel(number: signal.Signals) -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch(is_over: Callable[[], bool], number: signal.Signals) -> None:
    threading.Thread(target=partial(_look, is_over, number), daemon=True).start()


def _look(is_over: Callable[[], bool], number: signal.Signals) -> None:
    while not is_over():
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), number)


def _run(arguments: Sequence[str]) -> None:
    parent, module = int(arguments[0]), arguments[1]
    end_with(parent, signal.SIGTERM)
    sys.argv = [module, *arguments[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run(sys.argv[1:])
