"""Start and end of a process: skip garbage collection during imports and teardown at exit.

With torch and Lightning both take seconds.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable garbage collection inside the context: importing creates almost no cyclic garbage.

    Collection takes a fifth of the import time of torch and Lightning.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def end_with_the_reader() -> None:
    """Let this script end silently, as Unix tools do, when its output pipe is closed.

    That happens after `| head`. Has no effect in a notebook.
    """
    if hasattr(signal, "SIGPIPE") and "ipykernel" not in sys.modules:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


_exit_code: int | None = None


def leave(code: int) -> NoReturn:
    """End this process after exit handlers and flushing output, without module teardown.

    Teardown of torch's and Lightning's modules takes more than a second.

    Args:
        code: exit code.

    Raises:
        SystemExit: always.
    """
    global _exit_code
    _exit_code = code
    sys.exit(code)


@atexit.register  # registered first, so it runs after the handlers of modules imported later
def _skip_teardown() -> None:
    if (code := _exit_code) is None:  # the process did not end through `leave`
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120  # Python's own exit code for output that could not be written
    os._exit(code)
