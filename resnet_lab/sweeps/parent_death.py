"""End child processes when their parent ends, even if it is killed.

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

from resnet_lab.runs.owner import Owner

SECONDS_BETWEEN_LOOKS = 1.0
COMMAND = "RESNET_LAB_COMMAND"
"""Environment variable with a signal and a process: when that process ends, all its descendants
that read the variable get the signal."""
_PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: signal.Signals) -> None:
    """Send this process a signal as soon as its parent has ended.

    Args:
        parent: id of the parent process; it may have ended meanwhile.
        number: SIGTERM for a clean end, SIGKILL for an immediate one.
    """
    if sys.platform == "linux" and _by_the_kernel(number):
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
        return
    _watch(lambda: os.getppid() != parent, number)


def end_with_command() -> None:
    """Send this process a signal as soon as the process named in the environment has ended."""
    with suppress(KeyError, ValueError):
        number, owner = os.environ[COMMAND].split(maxsplit=1)
        _watch(Owner.parse(owner).is_dead, signal.Signals(int(number)))


def command_here(number: signal.Signals) -> dict[str, str]:
    """Environment that signals a `resnet-lab train` started from here when this process ends.

    Args:
        number: as in `end_with`.
    """
    return {COMMAND: f"{int(number)} {Owner.here()}"}


def module_command(module: str, *arguments: str) -> list[str]:
    """Command that runs a module in a child process that ends with this one."""
    return [sys.executable, "-m", __name__, str(os.getpid()), module, *arguments]


def _by_the_kernel(number: signal.Signals) -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch(is_over: Callable[[], bool], number: signal.Signals) -> None:
    def look() -> None:
        while not is_over():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), number)

    threading.Thread(target=look, daemon=True).start()


def _run(arguments: Sequence[str]) -> None:
    parent, module = int(arguments[0]), arguments[1]
    end_with(parent, signal.SIGTERM)
    sys.argv = [module, *arguments[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run(sys.argv[1:])
