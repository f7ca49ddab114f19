"""Gain of a Bayesian search over a random one with the same number of runs.

    python benchmarks/search_efficiency.py [--seeds 5] [--runs 80] [--out results/search_digits]

Runs sweeps/search_recipe_digits.yaml by both methods, once a seed of the search. Both draw the
same first ten points for a seed, so they are compared seed by seed. Writes search_efficiency.json
and a table; a second call trains only what is missing in --runs-dir.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from resnet_lab.cli import main as resnet_lab
from resnet_lab.runs.provenance import git_state
from resnet_lab.sweeps.queue import RUN, SLOT, Queue
from resnet_lab.sweeps.storage import open_storage

FILE = Path(__file__).resolve().parents[1] / "sweeps" / "search_recipe_digits.yaml"


def main() -> None:
    """Run the missing searches, then compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="searches of each method")
    parser.add_argument("--runs", type=int, default=80, help="of each search")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/search_efficiency"))
    parser.add_argument("--out", type=Path, default=Path("results/search_digits"))
    given = parser.parse_args()
    searches = [
        Search(method, seed, tuple(search(method, seed, given.runs, given.runs_dir)))
        for seed in range(given.seeds)
        for method in ("bayes", "random")
    ]
    frame = table(searches)
    summary = {**compare(frame), "by_runs": by_runs(searches, given.runs), **provenance()}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "search_efficiency.json").write_text(json.dumps(summary, indent=2) + "\n")
    (given.out / "searches.csv").write_text(frame.to_csv(index=False))
    print(frame.to_string(index=False))
    print(json.dumps(summary, indent=2))


@dataclass(frozen=True)
class Search:
    """One search: for each run, in order, its iterations and its error (None: stopped early)."""

    method: str
    seed: int
    runs: tuple[tuple[int, float | None], ...]

    @property
    def iterations(self) -> int:
        """Iterations of all runs together."""
        return sum(iterations for iterations, _ in self.runs)

    def first(self, count: int) -> Search:
        """The search as it stood after this many runs."""
        return Search(self.method, self.seed, self.runs[:count])

    def best(self, iterations: int) -> float:
        """Lowest final validation error, percent, of the runs within this many iterations."""
        spent = accumulate(cost for cost, _ in self.runs)
        paid = [
            error for total, (_, error) in zip(spent, self.runs, strict=True) if total <= iterations
        ]
        return min((error for error in paid if error is not None), default=100.0)


def search(method: str, seed: int, runs: int, runs_dir: Path) -> list[tuple[int, float | None]]:
    """Run one search to its end; return iterations and final error of each run."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    file = runs_dir / f"{method}.yaml"
    content = {**yaml.safe_load(FILE.read_text()), "method": method, "run_cap": runs}
    file.write_text(yaml.safe_dump(content))
    name = f"{method}_{seed}"
    places = ["--runs-dir", str(runs_dir), "--study", name, "--seed", str(seed)]
    code = resnet_lab(["sweep", str(file), *places])
    assert code == 0, f"{name} ended with {code}"
    return read_search(runs_dir / name, name)


def read_search(folder: Path, name: str) -> list[tuple[int, float | None]]:
    """Iterations and final validation error of each run of a finished search, in order."""
    import optuna

    storage = open_storage(None, folder)
    study = optuna.load_study(study_name=name, storage=storage)
    with contextlib.closing(Queue(study, storage)) as queue:
        trials = sorted(queue.attempts().values(), key=lambda trial: int(trial.user_attrs[SLOT]))
    found = []
    for trial in trials:
        info = json.loads((folder / trial.user_attrs[RUN] / "run.json").read_text())
        ended = trial.state.name == "COMPLETE"
        found.append((int(info["step"]), trial.value if ended else None))
    return found


def table(searches: list[Search]) -> pd.DataFrame:
    """One row a search; `best_at_equal_iterations` after as many as the cheaper of a seed's two."""
    least = {one.seed: one.iterations for one in searches}
    for one in searches:
        least[one.seed] = min(least[one.seed], one.iterations)
    return pd.DataFrame(
        {
            "method": one.method,
            "seed": one.seed,
            "best": one.best(one.iterations),
            "best_at_equal_iterations": one.best(least[one.seed]),
            "runs": len(one.runs),
            "stopped_early": sum(error is None for _, error in one.runs),
            "iterations": one.iterations,
        }
        for one in searches
    )


def by_runs(searches: list[Search], runs: int) -> dict[str, Any]:
    """The gain after the first 20, 40, ... runs of each search."""
    found = {}
    for count in range(20, runs + 1, 20):
        rows = [
            {"method": one.method, "seed": one.seed, "best": one.first(count).best(10**9)}
            for one in searches
        ]
        found[str(count)] = gain(pd.DataFrame(rows), "best")
    return found


def compare(frame: pd.DataFrame) -> dict[str, Any]:
    """How the two methods differ, with as many runs and with as many iterations."""
    shares = frame.groupby("method")["stopped_early"].sum() / frame.groupby("method")["runs"].sum()
    return {
        "n": int(frame["seed"].nunique()),
        "equal_runs": gain(frame, "best"),
        "equal_iterations": gain(frame, "best_at_equal_iterations"),
        "share_stopped_early": shares.round(3).to_dict(),
        "iterations": frame.groupby("method")["iterations"].sum().to_dict(),
    }


def gain(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    """Random's best minus bayes' best, seed by seed, percentage points; 95 % t interval."""
    best = frame.pivot(index="seed", columns="method", values=column)
    gains = (best["random"] - best["bayes"]).to_numpy()
    n = len(gains)
    half = stats.t.ppf(0.975, n - 1) * gains.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
    return {
        "bayes": [round(float(value), 2) for value in best["bayes"]],
        "random": [round(float(value), 2) for value in best["random"]],
        "mean_gain": round(float(gains.mean()), 2),
        "interval": [round(float(gains.mean() - half), 2), round(float(gains.mean() + half), 2)],
        "bayes_better_in": int((gains > 0).sum()),
    }


def provenance() -> dict[str, Any]:
    """Where the numbers come from."""
    packages = ("torch", "pytorch-lightning", "optuna")
    return {
        "sweep": FILE.name,
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in packages},
        "git": git_state(),
    }


if __name__ == "__main__":
    main()
