"""What surrounds a command: its standard streams, its current folder, its user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import PLAIN, ROOT, info, tiny

from resnet_lab.training.train import train

RESNET_LAB = f"{sys.executable} -m resnet_lab"
TRAIN = f"train --network={PLAIN} --recipe.iterations=2 --recipe.batch_size=16"
TRAIN += " --trainer.device=cpu"
HOMELESS = """
import os, pwd, sys
os.environ.pop("HOME", None)
def nobody(*_): raise KeyError("uid not found")
pwd.getpwuid = pwd.getpwnam = nobody
from resnet_lab.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A command of a user whom a container does not know."""


def shell(line: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a line of bash."""
    ended = subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def homeless(*arguments: str) -> tuple[int, str, str]:
    """What `shell` gives of a command of a user without a home directory."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("RESNET")}
    ended = subprocess.run(
        [sys.executable, "-c", HOMELESS, *arguments],
        env={**known, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("closed", [pytest.param(">&-", marks=pytest.mark.slow), ">&- 2>&- <&-"])
def test_a_run_is_finished_although_a_standard_stream_is_closed(closed: str) -> None:
    assert shell(f"{RESNET_LAB} {TRAIN} {closed}") == (0, "", "")
    [run] = Path("runs").iterdir()
    assert info(run)["status"] == "finished"


def test_a_closed_error_stream_is_not_the_output() -> None:
    assert shell(f"{RESNET_LAB} networks nonsense-3 2>&-") == (2, "", "")
    assert shell(f"{RESNET_LAB} networks nonsense-3 2>/dev/full") == (2, "", "")


def test_a_reader_that_goes_away_is_no_failure() -> None:
    many = " ".join(["networks --json", *(f"resnet-{6 * n + 2}" for n in range(3, 200))])
    code, out, err = shell(f"{RESNET_LAB} {many} | head -1; exit ${{PIPESTATUS[0]}}")
    assert (code, out, err) == (0, "[\n", "")


def test_output_that_a_full_disk_does_not_take_is_named() -> None:
    code, _, err = shell(f"{RESNET_LAB} networks plain-20 >/dev/full")
    assert code == 1
    assert err == "resnet-lab: No space left on device: make room, and give the command again\n"


def test_a_current_folder_that_is_gone_is_named() -> None:
    code, out, err = shell(f"mkdir gone && cd gone && rmdir ../gone && {RESNET_LAB} networks")
    assert (code, out) == (2, "")
    assert err.startswith("resnet-lab: the current folder is gone or may not be entered (No such")


@pytest.mark.slow
def test_a_user_without_a_home_directory_can_use_every_command() -> None:
    run = train(tiny(network=PLAIN, iterations=2))
    weights = str(run / "weights" / f"{PLAIN}.pt")
    for line in (
        f"{TRAIN} --seed=1",
        "report runs",
        "claims runs",
        "doctor",
        "doctor runs",
        f"evaluate {weights} --network={PLAIN} --data=digits",
        "networks plain-20",
        "data verify digits",
    ):
        code, _, err = homeless(*line.split())
        assert (code, "Traceback" in err) == (0, False), err
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("data verify cifar10", "data sets lie in ~/.cache/resnet_lab, and no home directory is"),
        (f"{TRAIN} --runs-dir=~/x", "~/x begins with ~, and no home directory is known"),
        (f"{TRAIN} --tracking=wandb", "W&B keeps its settings in the home directory, and none is"),
    ],
)
def test_what_needs_a_home_directory_says_so(line: str, message: str) -> None:
    code, _, err = homeless(*line.split())
    assert code == 2
    told = err.splitlines()[-1]
    assert told.startswith(f"resnet-lab: {message}")
    assert not list(Path.cwd().iterdir())
