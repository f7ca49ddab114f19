"""Processes that end with their parent, and signals that reach what is around."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_runs import ROOT

from resnet_lab.runs.owner import Owner
from resnet_lab.training.interruption import Interruption

CHILD = """
import os, signal, sys, time
from resnet_lab.runs.owner import Owner
from resnet_lab.sweeps import parent_death
parent_death.SECONDS_BETWEEN_LOOKS = 0.05
if sys.argv[1] == "elsewhere":
    sys.platform = "elsewhere"
parent_death.end_with(int(sys.argv[3]), getattr(signal, sys.argv[2]))
print(Owner.here(), flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], *sys.argv[2:], str(os.getpid())])
"""


@pytest.mark.parametrize("platform", ["here", "elsewhere"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_a_process_ends_with_its_parent_that_is_killed(platform: str, number: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, platform, number],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = Owner.parse(parent.stdout.readline())
    assert not child.is_dead()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while not child.is_dead():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_whose_parent_has_ended_already_ends() -> None:
    program = [sys.executable, "-c", CHILD, "here", "SIGKILL", "1"]
    ended = subprocess.run(program, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert ended.returncode == -signal.SIGKILL


def test_a_signal_inside_is_told_outside_but_no_request() -> None:
    with Interruption() as outer:
        with Interruption() as inner:
            inner.request()
        assert not outer.requested
        with Interruption(), Interruption():
            signal.raise_signal(signal.SIGTERM)
        assert outer.requested
