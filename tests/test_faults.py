"""The harness of faults runs, with few of them; and the same command gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import ROOT, tiny

from resnet_lab.training.train import train


@pytest.mark.slow
def test_the_harness_finds_nothing_lost() -> None:
    few = ["--kills=3", "--times=1", "--kinds=run,disk", "--files=weights", "--out=found"]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/faults.py"), *few],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    found = json.loads(Path("found/faults.json").read_text())
    kills, disks = found["kinds"]["run"], found["kinds"]["disk"]
    assert (kills["injected"], kills["survived"], kills["lost"]) == (3, 3, 0)
    assert (disks["injected"], disks["survived"], disks["lost"]) == (1, 1, 0)
    assert found["injected"] == found["survived"] == 4
    assert found["equal"] == found["resumes"] >= 1, "the last checkpoint precedes the weights"
    assert ended.stdout.splitlines()[-1].split()[:6] == [
        "all",
        "4",
        "4",
        "0",
        *2 * [str(found["equal"])],
    ]


def test_the_same_command_gives_the_same_bytes() -> None:
    one, other = (train(tiny(folder)) for folder in ("one", "other"))
    files = sorted(path.relative_to(one) for path in one.glob("weights/*.pt"))
    assert len(files) == 2
    for file in (*files, Path("metrics.parquet"), Path("layers.parquet")):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
