"""Fuzz every reader with damaged, foreign and hostile input, and count crashes.

    python benchmarks/bad_input.py [--share 1.0] [--seed 0] [--only WORD] [--out DIR]

Feeds many inputs to the targets of tests/bad_inputs.py; the test suite feeds them few.
Each target runs in a process of its own with a limit on its memory, so that a fault of a library in
C counts as a crash as well. Writes bad_input.json; exit code 1 if anything crashed.
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
import traceback
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
MEMORY = 12 * 2**30
"""Limit on the address space of a target's process, bytes, against decompression bombs."""
PACKAGES = (
    "hypothesis",
    "jsonargparse",
    "numpy",
    "optuna",
    "pandas",
    "pillow",
    "pyarrow",
    "pyyaml",
)


def main() -> int:
    """Feed the targets, print and save the tally."""
    given = _arguments()
    if given.target:
        print(json.dumps(feed(given.target, given.share, given.seed)))
        return 0
    sys.path.insert(0, str(TESTS))
    from bad_inputs import SECONDS, TARGETS

    began, found = time.perf_counter(), {}
    for name in TARGETS:
        if given.only in name:
            found[name] = in_a_process(name, given)
            print(line(name, found[name]), flush=True)
    from resnet_lab.runs.provenance import provenance

    summary = {
        "inputs": sum(one["inputs"] for one in found.values()),
        "crashes": sum(one["crashes"] for one in found.values()),
        "targets": found,
        "seconds": round(time.perf_counter() - began, 1),
        "limit_seconds": SECONDS,
        "limit_bytes": MEMORY,
        "command": " ".join(["python", "benchmarks/bad_input.py", *sys.argv[1:]]),
        **provenance("cpu"),
        **{package: version(package) for package in PACKAGES},
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "bad_input.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"{summary['inputs']:,} inputs, {summary['crashes']} crashes")
    return int(summary["crashes"] > 0)


def line(name: str, one: dict[str, Any]) -> str:
    """Return one target's numbers as a line of text."""
    return (
        f"{name:<42} {one['inputs']:>7,} inputs  {one['accepted']:>6,} accepted  "
        f"{one['refused']:>7,} refused  {one['crashes']} crashes  {one['seconds']:>6.1f} s"
    )


def in_a_process(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Feed a target in its own process; if the process dies, that is a crash."""
    command = [sys.executable, __file__, "--target", name]
    result = subprocess.run(
        [*command, f"--share={given.share}", f"--seed={given.seed}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit_memory,
    )
    if result.returncode == 0:
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found
    died = {"error": f"its process ended with code {result.returncode}"}
    return {
        "inputs": 0,
        "accepted": 0,
        "refused": 0,
        "crashes": 1,
        "seconds": 0.0,
        "faults": [died],
    }


def limit_memory() -> None:
    """Limit this process's address space, unless a tighter limit is set."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def feed(name: str, share: float, seed: int) -> dict[str, Any]:
    """Feed a target in this process and count the results."""
    sys.path.insert(0, str(TESTS))
    import hypothesis
    from bad_inputs import ACCEPTED, REFUSED, TARGETS, time_limit

    target = TARGETS[name]
    counts: Counter[str] = Counter()
    faults: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        strategy, reader = target.make(Path(folder))
        began = time.perf_counter()

        @hypothesis.settings(
            max_examples=max(1, round(target.many * share)),
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.seed(seed)
        @hypothesis.given(strategy)
        def try_one(value: Any) -> None:
            try:
                with time_limit():
                    counts[reader(value)] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                counts["crashes"] += 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                fault = {"error": repr(error)[:500], "input": repr(value)[:2000]}
                faults.setdefault(f"{place.filename}:{place.lineno}", fault)

        try_one()
        seconds = round(time.perf_counter() - began, 1)
        os.chdir("/")
    return {
        "inputs": counts.total(),
        "accepted": counts[ACCEPTED],
        "refused": counts[REFUSED],
        "crashes": counts["crashes"],
        "seconds": seconds,
        "faults": [{"place": place, **fault} for place, fault in faults.items()],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of each target's inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--only", default="", help="targets whose name has this in it")
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    parser.add_argument("--target", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
