"""Waiting time outside training.

python benchmarks/startup.py [--repeat 5] [--stages help,first_step,sweep,demo] [--out DIR]

help        resnet-lab --help
first_step  resnet-lab train on digits with one iteration, from the command to its end; and
            python -c "import torch, pytorch_lightning"
sweep       twelve runs of 192 iterations on digits by two workers: the command's seconds over
            the training's (the sum of the runs' seconds, shared by the workers)
demo        what `make demo` does after set-up: nine runs, and the report
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from report import save, table

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "experiments" / "digits.yaml"
TWELVE = """
program: resnet-lab
name: twelve
method: grid
metric: {name: validation_error, goal: minimize}
parameters:
  config: {value: CONFIG}
  network: {values: ["plain-20-x0.5", "resnet-20-x0.5"]}
  seed: {values: [0, 1, 2, 3, 4, 5]}
"""


def main() -> None:
    """Measure, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--stages", default="help,first_step,sweep,demo")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    stages = {"help": help_, "first_step": first_step, "sweep": sweep, "demo": demo}
    found: dict[str, dict[str, Any]] = {}
    for name in given.stages.split(","):
        found.update(stages[name](given.repeat))
    save("startup", found, given.out, torch.device("cpu"))
    rows = [[k, median(v["values"]), min(v["values"]), max(v["values"])] for k, v in found.items()]
    print(table(["", "median", "lowest", "highest"], rows))


def help_(repeat: int) -> dict[str, dict[str, Any]]:
    """Seconds of `--help`."""
    return {"--help, s": {"values": [_lab(["--help"], Path.cwd()) for _ in range(repeat)]}}


def first_step(repeat: int) -> dict[str, dict[str, Any]]:
    """Seconds of a run of one iteration, and of its imports alone."""
    runs, imports = [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            short = ["--recipe.iterations", "1", "--recipe.drops", "[]", "--recipe.warmup_steps"]
            network = ["--network", "plain-20-x0.5", "--trainer.progress", "false"]
            runs.append(
                _lab(["train", "--config", str(DIGITS), *short, "0", *network], Path(folder))
            )
        imports.append(
            _timed([sys.executable, "-c", "import torch, pytorch_lightning"], Path.cwd())
        )
    return {
        "run of one iteration, s": {"values": runs},
        "plain Python that imports torch and Lightning, s": {"values": imports},
    }


def sweep(repeat: int) -> dict[str, dict[str, Any]]:
    """Percent by which a sweep of twelve short runs is longer than its training."""
    overheads, walls = [], []
    workers = 2
    for _ in range(max(1, repeat // 2)):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "twelve.yaml"
            file.write_text(TWELVE.replace("CONFIG", str(DIGITS)), encoding="utf-8")
            wall = _lab(["sweep", str(file), "--workers", str(workers)], Path(folder))
            training = _training_seconds(Path(folder) / "runs") / workers
        walls.append(wall)
        overheads.append(round(100 * (wall / training - 1), 1))
    return {
        "sweep of twelve runs, s": {"values": walls},
        "sweep over its training, percent": {"values": overheads},
    }


def demo(repeat: int) -> dict[str, dict[str, Any]]:
    """Seconds of the demonstration after set-up."""
    walls, training = [], []
    for _ in range(max(1, repeat // 3)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            file = str(ROOT / "sweeps" / "demo_digits.yaml")
            wall = _lab(["sweep", file, "--workers", "2"], ROOT, runs=place, OMP_NUM_THREADS="1")
            wall += _lab(
                ["report", str(place / "demo_digits"), "--out", str(place / "report")], ROOT
            )
            walls.append(wall)
            training.append(_training_seconds(place))
    return {
        "demo, s": {"values": walls},
        "seconds of training in its runs": {"values": training},
    }


def _training_seconds(runs: Path) -> float:
    known = [json.loads(path.read_text()) for path in runs.rglob("run.json")]
    assert all(one["status"] == "finished" for one in known)
    return round(sum(one["provenance"]["wall_seconds"] for one in known), 1)


def _lab(arguments: list[str], folder: Path, runs: Path | None = None, **environment: str) -> float:
    where = ["--runs-dir", str(runs)] if runs else []
    return _timed([sys.executable, "-m", "resnet_lab", *arguments, *where], folder, **environment)


def _timed(command: list[str], folder: Path, **environment: str) -> float:
    known = {
        **os.environ,
        **environment,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    begun = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, env=known, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - begun, 2)


if __name__ == "__main__":
    main()
