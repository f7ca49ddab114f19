"""Time and memory to load, judge and report a thousand runs.

    python benchmarks/many_runs.py [--runs 1000] [--repeat 3] [--stages load,claims,report]
                                   [--folder DIR] [--out DIR]

Writes synthetic run directories with the writers that training uses: one network a run, plain and
residual of 56 and 62 layers, ten learning rates, equal seeds; 2,000 metric rows and 50 recordings
of every quantity of every layer. Nothing is trained and the numbers mean nothing. Each stage is
then measured in fresh processes; their files have just been written and lie in the system's cache.
A --folder that holds the runs already is used as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

NETWORKS = ("plain-56", "resnet-56", "plain-62", "resnet-62")
RATES = tuple(round(0.01 * 1.5**k, 4) for k in range(10))
RECORDINGS = 50
METRIC_ROWS = 2000
ITERATIONS = 64_000
STAGES = ("load", "claims", "report")
TITLES = ["stage", "seconds, median", "lowest", "highest", "CPU seconds", "peak memory, MB"]


def main() -> None:
    """Write the runs, measure every stage, print the table and save it."""
    given = _arguments()
    if given.measure:
        print(json.dumps(measure(given.measure, given.folder)))
    elif given.write:
        for number in range(given.runs):
            write_run(given.folder, number)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _compare(given, given.folder or Path(temporary))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="run directories")
    parser.add_argument("--repeat", type=int, default=3, help="processes a stage")
    parser.add_argument("--stages", default=",".join(STAGES), help="load, claims, report")
    parser.add_argument("--folder", type=Path, help="keep the runs here; default: a temporary one")
    parser.add_argument("--out", type=Path, help="folder for many_runs.json")
    parser.add_argument("--measure", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(given: argparse.Namespace, folder: Path) -> None:
    there = len(list(folder.glob("*/run.json"))) if folder.is_dir() else 0
    if there == 0:
        _again("--write", "--runs", str(given.runs), "--folder", str(folder))
    elif there != given.runs:
        sys.exit(f"{folder} holds {there} runs, not {given.runs}: give another --folder or --runs")
    found = {name: _repeated(name, folder, given.repeat) for name in given.stages.split(",")}
    summary = {"runs": given.runs, "bytes": _size(folder), **_machine(), "stages": found}
    print(table(found))
    print(json.dumps({key: value for key, value in summary.items() if key != "stages"}))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(summary, indent=2) + "\n"
        (given.out / "many_runs.json").write_text(text, encoding="utf-8")


def _again(*arguments: str) -> str:
    """Run this file in a new process: a forked child's peak memory starts at its parent's."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _repeated(stage: str, folder: Path, repeat: int) -> dict[str, Any]:
    parts = ["--measure", stage, "--folder", str(folder)]
    results = [json.loads(_again(*parts)) for _ in range(repeat)]
    numbers = ("seconds", "cpu_seconds", "peak_mb")
    return {**{key: [one[key] for one in results] for key in numbers}, "rows": results[-1]["rows"]}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the measurements as aligned text, one line a stage."""
    lines = ["".join(f"{title:>18}" for title in TITLES)]
    for stage, one in found.items():
        times = one["seconds"]
        cells = [f"{value:.2f}" for value in (median(times), min(times), max(times))]
        cells = [stage, *cells, f"{median(one['cpu_seconds']):.2f}"]
        cells.append(f"{median(one['peak_mb']):.0f}")
        lines.append("".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


# One stage, in its own process


def measure(stage: str, folder: Path) -> dict[str, Any]:
    """Return the seconds of one stage alone, without imports, and the process's peak memory."""
    from resnet_lab.runs.frames import load_runs

    loading = _Clock()
    runs = load_runs(folder)
    spent = loading.read()
    if stage != "load":
        work = _work(stage)
        clock = _Clock()
        work(runs)
        spent = clock.read()
    rows = {name: len(getattr(runs, name)) for name in ("runs", "metrics", "layers")}
    return {**spent, "peak_mb": round(_peak_megabytes(), 1), "rows": rows}


def _work(stage: str) -> Callable[[Any], object]:
    """Return the stage's function of loaded runs; imports everything that it needs."""
    if stage == "claims":
        from analysis.claims import evaluate_claims

        return evaluate_claims
    from analysis.report import write_report

    def report(runs: Any) -> None:
        with tempfile.TemporaryDirectory() as out:
            write_report(runs, Path(out))

    return report


class _Clock:
    """Wall-clock seconds, and CPU seconds of all threads of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _machine() -> dict[str, Any]:
    from resnet_lab.runs.provenance import provenance

    packages = ("numpy", "pandas", "pyarrow", "matplotlib")
    known = provenance("cpu")
    return {
        "processor": known["processor"],
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": known["python"],
        **{name: version(name) for name in packages},
        "git": known["git"],
    }


# Synthetic runs


def write_run(folder: Path, number: int) -> Path:
    """Write the run directory of one number, finished, through the project's own writers."""
    import numpy as np

    from resnet_lab.configuration.config import Config
    from resnet_lab.configuration.recipe import RecipeConfig
    from resnet_lab.data.config import DataConfig
    from resnet_lab.networks.spec import NetworkSpec
    from resnet_lab.recording.schedule import recording_steps
    from resnet_lab.runs.directory import RunDirectory

    cell, seed = number % (len(NETWORKS) * len(RATES)), number // (len(NETWORKS) * len(RATES))
    spec = NetworkSpec.parse(NETWORKS[cell % len(NETWORKS)])
    recipe = RecipeConfig(iterations=ITERATIONS, lr=RATES[cell // len(NETWORKS)])
    data = DataConfig("cifar10")
    config = Config(spec.name, seed=seed, data=data, recipe=recipe, runs_dir=str(folder))
    run = RunDirectory.of(config)
    run.create(config)
    random = np.random.default_rng(number)
    error = (30.0 if spec.family == "plain" else 5.0) + spec.depth / 10 + random.normal()
    run.metrics.extend(_metric_rows(spec.name, error))
    for step in recording_steps(ITERATIONS, config.recording)[:RECORDINGS]:
        run.layers.extend(_recording(spec, step, random))
    run.write(_described(config, run.path.name, error))
    run.flush()
    return run.path


def _metric_rows(network: str, error: float) -> dict[str, list[Any]]:
    """Training error, loss and learning rate, and validation error, at equally many steps."""
    kinds = [("train", "error"), ("train", "loss"), ("train", "lr"), ("validation", "error")]
    count = METRIC_ROWS // len(kinds)
    steps = [ITERATIONS * (k + 1) // count for k in range(count) for _ in kinds]
    share = [step / ITERATIONS for step in steps]
    scale = [1.0, 0.02, 0.001, 1.0] * count
    return {
        "network": [network] * len(steps),
        "step": steps,
        "epoch": [step / 352 for step in steps],
        "split": [split for split, _ in kinds] * count,
        "metric": [metric for _, metric in kinds] * count,
        "value": [s * (90 - (90 - error) * x) for s, x in zip(scale, share, strict=True)],
    }


def _recording(spec: Any, step: int, random: Any) -> dict[str, list[Any]]:
    """One recording: every quantity of every layer, as the recorder writes them."""
    rows = list(_sites(spec))
    norms = [1.2 ** (spec.depth - layer) for _, layer, *_ in rows]
    return {
        "network": [spec.name] * len(rows),
        "step": [step] * len(rows),
        "quantity": [row[0] for row in rows],
        "layer": [row[1] for row in rows],
        "name": [row[2] for row in rows],
        "stage": [row[3] for row in rows],
        "block": [row[4] for row in rows],
        "value": list(norms * random.uniform(0.9, 1.1, len(rows))),
    }


def _sites(spec: Any) -> Iterator[tuple[str, int, str, int, int]]:
    from resnet_lab.networks.complexity import layer_table

    table = layer_table(spec, num_classes=10, in_channels=3, image_size=32)
    weights = ("gradient_norm", "weight_norm", "relative_update", "update_norm", "update_angle")
    for quantity in weights:
        yield from ((quantity, one.index, one.name, one.stage, one.block) for one in table)
    yield ("total_gradient_norm", 0, "", 0, 0)
    convs = [one for one in table if one.kind == "conv"]
    yield from (("response_std", one.index, one.name, one.stage, one.block) for one in convs)
    ends = [one for one in convs if one.index % 2]
    for one in ends:
        name = one.name.rpartition(".")[0]
        yield ("activation_gradient_norm", one.index, name, one.stage, one.block)
        if spec.family == "residual" and one.block:
            yield ("variance_ratio", one.index, name, one.stage, one.block)


def _described(config: Any, name: str, error: float) -> dict[str, Any]:
    """The contents of run.json, as training writes them."""
    from resnet_lab.networks.complexity import complexity
    from resnet_lab.runs.provenance import now

    (spec,) = config.specs()
    size = complexity(spec, num_classes=10, in_channels=3, image_size=32)
    splits = {"train": 0.0, "validation": 1.0, "test": 1.5}
    errors = {f"{split}_error": error + more for split, more in splits.items()}
    member = {
        "network": spec.name,
        "family": spec.family,
        "depth": spec.depth,
        "shortcut": spec.shortcut,
        "status": "finished",
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "final": {**errors, **{f"{split}_loss": error / 40 for split in splits}},
        "diverged_at": None,
        "warmup_ended_at": None,
        "drop_steps": [],
    }
    return {
        "run": config.run_id(),
        "name": name,
        "study": None,
        "status": "finished",
        "error": None,
        "seed": config.seed,
        "iterations": ITERATIONS,
        "step": ITERATIONS,
        "networks": [member],
        "data": {
            "name": "cifar10",
            "protocol": "45k/5k",
            "counts": {"train": 45_000, "validation": 5_000, "test": 10_000},
            "split_seed": 0,
            "normalise": "pixel-mean",
            "augment": "paper",
            "test_view": "centre",
            "image_shape": [3, 32, 32],
            "num_classes": 10,
        },
        "provenance": {"created": now(), "device": "none: synthetic", "wall_seconds": 1.0},
    }


if __name__ == "__main__":
    main()
