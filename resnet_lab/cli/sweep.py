"""resnet-lab sweep"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnet_lab.cli.parsing import Parser, parse_config


def run(arguments: Sequence[str]) -> int:
    """Train all runs of a sweep file; 1 if one failed or the sweep was interrupted."""
    parser = Parser("sweep", "Train all the runs of a sweep file, skipping what is finished.")
    parser.add_argument("file", metavar="FILE", help="such as sweeps/demo_digits.yaml")
    parser.add_argument("--runs-dir", default="runs", help="default: runs")
    parser.add_argument("--study", help="folder below runs-dir; default: the sweep's name")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument("--count", type=int, help="train at most this many runs now")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and train nothing")
    given = parser.parse_args(arguments)
    from resnet_lab.runs.directory import RunDirectory
    from resnet_lab.sweeps.local import run_sweep
    from resnet_lab.sweeps.space import read_sweep

    sweep = read_sweep(Path(given.file))
    places = [f"--runs-dir={given.runs_dir}", f"--study={given.study or sweep.name}"]
    places += [f"--data-dir={given.data_dir}"] if given.data_dir else []
    # Every run is parsed before the first is trained, so that no mistake costs a night.
    configs = [parse_config([*point, *places], "sweep") for point in sweep.points()]
    runs = [RunDirectory.of(config) for config in configs]
    if given.dry_run:
        for config, place in zip(configs, runs, strict=True):
            state = "finished" if place.is_finished() else "to do"
            print(f"{state:<9} {config.recipe.iterations:>9,} iterations  {place.path}")
        return 0
    remaining = [c for c, place in zip(configs, runs, strict=True) if not place.is_finished()]
    outcome = run_sweep(configs if given.count is None else remaining[: given.count])
    print(f"{sum(place.is_finished() for place in runs)} of {len(configs)} runs finished")
    for name, error in outcome.failed:
        print(f"failed: {name}: {error}")
    if outcome.interrupted:
        print("interrupted: the same command continues")
    return int(bool(outcome.failed) or outcome.interrupted)
