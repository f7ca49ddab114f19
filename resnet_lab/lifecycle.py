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
    """While entered, no cyclic garbage is looked for: importing makes next to none.

    Looking takes a fifth of the time in which torch and Lightning are imported.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def end_with_the_reader() -> None:
    """Let this script end as Unix tools do, without a word, when nobody reads it any more.

    That is so after `| head`. A notebook is no script.
    """
    if hasattr(signal, "SIGPIPE") and "ipykernel" not in sys.modules:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


_exit_code: int | None = None


def leave(code: int) -> NoReturn:
    """End this process: exit handlers are called and output is written, but no module taken down.

    Taking down the modules of torch and Lightning one by one takes more than a second.

    Args:
        code: exit code.

    Raises:
        SystemExit: always.
    """
    global _exit_code
    _exit_code = code
    sys.exit(code)


@atexit.register  # on import, and so called after the handlers of whatever is imported later
def _skip_teardown() -> None:
    if (code := _exit_code) is None:  # the process ends in another way
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120  # as Python's own: what was printed did not arrive
    os._exit(code)
