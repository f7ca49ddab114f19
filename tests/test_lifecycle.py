"""Ending a process at once loses nothing that was printed or registered."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_lab.lifecycle import no_garbage_collection

LEAVING = """
import atexit, sys
from resnet_lab.lifecycle import leave
class Taken:
    def __del__(self): print("taken down")
sys.kept = Taken()
atexit.register(print, "handled")
print("out", end="")
print("error", end="", file=sys.stderr)
leave(3)
"""


def test_leaving_prints_and_calls_exit_handlers_but_takes_no_object_down() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "outhandled\n", "error")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(("code", "told"), [(0, 120), (3, 3)])
def test_leaving_does_not_succeed_where_the_output_is_lost(code: int, told: int) -> None:
    program = f"from resnet_lab.lifecycle import leave; print('out'); leave({code})"
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", program], stdout=full, env=buffered)
    assert ended.returncode == told


def test_garbage_is_collected_again_after_an_import_even_one_that_fails() -> None:
    with no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), no_garbage_collection():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
