"""Commands of the project in processes that the fault tests disturb and kill.

They are forked from this process, which has imported everything and computed nothing: a fork starts
in milliseconds, where an import takes seconds. Its output comes back through a pipe.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from resnet_lab.cli import main

SECONDS = 900.0
"""Timeout of a command in seconds, on a busy machine."""
INJECTED = "[the fault]"
"""Line that a process prints when a fault injected into it happens."""


class Command:
    """`resnet-lab ARGUMENTS` in its own process group.

    Args:
        arguments: of the command line.
        folder: the working directory.
        before: called in the new process before the command begins.

    Attributes:
        pid: process id.
        told: its standard output and standard error so far.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path, before: Callable[[], object] = lambda: None
    ) -> None:
        self.told = ""
        self.code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self._ear, mouth = os.pipe()
        os.set_blocking(self._ear, False)
        self.pid = os.fork()
        if self.pid == 0:
            _obey(arguments, folder, mouth, before)
        os.close(mouth)

    def ended(self) -> bool:
        """Whether it has ended; `code` is then its exit code, or minus the killing signal."""
        self._listen()
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self._listen()
                os.close(self._ear)
        return self.code is not None

    def wait(self, seconds: float = SECONDS, met: Callable[[], bool] = lambda: False) -> int | None:
        """Wait until it has ended, or a condition is met; return the exit code, if it has one.

        Raises:
            TimeoutError: neither happened in time; everything was killed.
        """
        deadline = time.monotonic() + seconds
        while not self.ended() and not met():
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"a command did not end within {seconds} s: {self.told}")
            time.sleep(0.002)
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Kill its process group unless it has ended; return whether that killed it."""
        if self.ended():
            return False
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        return self.wait() == -number

    def _listen(self) -> None:
        if self.code is None:
            with suppress(BlockingIOError):
                while part := os.read(self._ear, 1 << 16):
                    self.told += part.decode(errors="replace")


def _obey(arguments: Sequence[str], folder: Path, mouth: int, before: Callable[[], object]) -> None:
    code = 1
    try:
        atexit._clear()  # drop the harness's own exit handlers
        os.setsid()
        os.chdir(folder)
        os.dup2(mouth, 1)
        os.dup2(mouth, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        before()
        code = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def elsewhere(act: Callable[[], Any]) -> Any:
    """Return the result of `act`, run in its own process; JSON values only.

    Raises:
        RuntimeError: `act` raised an exception.
    """
    ear, mouth = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ear)
            with open(mouth, "w") as file:
                json.dump(act(), file)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(mouth)
    with open(ear) as file:
        text = file.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("a look at what a run holds has failed")
    return json.loads(text)


def fork_workers() -> None:
    """In a command: make it fork the workers of its sweep instead of spawning them."""
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment, misc]


def say_injected() -> None:
    """In a command: print that the fault happens now."""
    os.write(2, f"\n{INJECTED}\n".encode())
