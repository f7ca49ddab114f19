"""Inject faults of every kind into real runs, and check that the runs recover.

    python benchmarks/faults.py [--kills 200] [--times 3] [--kinds run,sweep,...] [--seed 0]
                                [--out results/reliability]

After each fault the same command resumes. Its result is compared, byte for byte, with that of an
undisturbed run: weights, metrics, recordings, final numbers. Nothing reported as saved may be lost,
no row may be duplicated, and the status must be true. Prints the tally and writes faults.json; exit
code 1 if anything was lost or did not resume.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import optuna  # noqa: F401  # these are imported before anything is forked
    import sklearn.datasets  # noqa: F401
    import torch
    from fault_commands import elsewhere
    from fault_damage import damage
    from fault_disks import FILES, full_disks, read_only
    from fault_kills import kill_groups, kill_runs, kill_sweeps
    from fault_runs import Ground, Tally, rows_once
    from fault_services import restarts, wandb_failures
    from fault_trainings import clock_jumps, nan_losses, out_of_memory, two_processes
    from report import save, table

    import resnet_lab.cli.study
    import resnet_lab.cli.sweep
    import resnet_lab.cli.train
    import resnet_lab.training.train  # noqa: F401

Kind = Callable[[Ground, int], Tally]
KINDS: dict[str, tuple[str, Kind]] = {
    "run": ("SIGKILL of a run", kill_runs),
    "sweep": ("SIGKILL over a sweep", kill_sweeps),
    "group": ("SIGKILL of a worker of two ranks", kill_groups),
    "disk": ("disk full, each kind of file", full_disks),
    "damage": ("file cut off, bit flipped, or missing", damage),
    "readonly": ("read-only runs directory", read_only),
    "two": ("two processes on one run", two_processes),
    "nan": ("NaN loss", nan_losses),
    "memory": ("out of memory", out_of_memory),
    "clock": ("clock jumps", clock_jumps),
    "postgresql": ("PostgreSQL restarted in mid-sweep", restarts),
    "wandb": ("W&B server fails in mid-run", wandb_failures),
}
TITLES = ("fault", "injected", "survived", "lost", "resumes", "equal", "seconds")


def main() -> int:
    """Inject the faults, print and save the tally."""
    given = _arguments()
    ground = Ground(given.seed)
    found, seconds = {}, {}
    try:
        reference = ground.reference
        if not elsewhere(lambda: rows_once(reference)):
            raise RuntimeError("the undisturbed run holds a row twice")
        for kind in given.kinds:
            began = time.perf_counter()
            inject = KINDS[kind][1]
            if kind == "disk" and given.files:
                inject = partial(full_disks, files=given.files)
            found[kind] = inject(ground, _times(kind, given))
            seconds[kind] = round(time.perf_counter() - began, 1)
            print(line(kind, found[kind], seconds[kind]), flush=True)
    finally:
        ground.close()
    print("\n" + tally_table(found, seconds))
    total = {name: sum(getattr(t, name) for t in found.values()) for name in TITLES[1:6]}
    contents = {
        "seed": given.seed,
        **total,
        "kinds": {
            kind: {"what": KINDS[kind][0], **asdict(tally), "seconds": seconds[kind]}
            for kind, tally in found.items()
        },
        **{package: version(package) for package in ("optuna", "pyarrow", "numpy")},
    }
    save("faults", contents, given.out, torch.device("cpu"))
    return int(total["survived"] < total["injected"] or total["equal"] < total["resumes"])


def line(kind: str, tally: Tally, seconds: float) -> str:
    """Return the tally of one kind as text, with each failure."""
    told = (
        f"{KINDS[kind][0]}: {tally.survived} of {tally.injected} survived, {tally.lost} lost, "
        f"{tally.equal} of {tally.resumes} resumes equal ({seconds:.0f} s)"
    )
    return "\n  ".join([told, *tally.faults])


def tally_table(found: dict[str, Tally], seconds: dict[str, float]) -> str:
    """Return the tally as a table, by kind and in total."""
    rows = [
        [KINDS[kind][0], *(getattr(tally, name) for name in TITLES[1:6]), seconds[kind]]
        for kind, tally in found.items()
    ]
    sums = [sum(row[place] for row in rows) for place in range(1, len(TITLES))]
    return table(TITLES, [*rows, ["all", *sums]])


def _times(kind: str, given: argparse.Namespace) -> int:
    """Return the number of faults of a kind; a quarter of the kills are in sweeps."""
    sweeps = given.kills // 4
    return int({"run": given.kills - sweeps, "sweep": sweeps}.get(kind, given.times))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="over runs and sweeps")
    parser.add_argument("--times", type=int, default=3, help="of each other fault and file")
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--files", type=_files, help=f"of a full disk: {', '.join(FILES)}")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and places")
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    return parser.parse_args()


def _kinds(text: str) -> list[str]:
    return _known(text, KINDS)


def _files(text: str) -> list[str]:
    return _known(text, FILES)


def _known(text: str, known: Iterable[str]) -> list[str]:
    names = text.split(",")
    if set(names) - set(known):
        raise argparse.ArgumentTypeError(f"known: {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
