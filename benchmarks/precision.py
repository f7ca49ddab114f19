"""Compare the distance of bfloat16's and float32's curves with that of two seeds.

    resnet-lab sweep sweeps/precision_digits.yaml --workers 2
    python benchmarks/precision.py runs/precision_digits [--out DIR]

For each network, over the rows of training loss: the mean distance between the two arithmetics at
the same seed, and between two seeds in float32. And the test error, bfloat16 minus float32, paired
by seed, with its 95 % interval.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from report import save, table

from analysis.statistics import t_interval
from resnet_lab.runs.frames import Runs, load_runs


def main() -> None:
    """Compare, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    runs = load_runs(given.runs)
    found = {network: compare(runs, network) for network in sorted(runs.runs["network"].unique())}
    save("precision", {"networks": found}, given.out, torch.device("cpu"))
    titles = ["", *next(iter(found.values()))]
    print(table(titles, [[network, *values.values()] for network, values in found.items()]))


def compare(runs: Runs, network: str) -> dict[str, Any]:
    """Distances of curves, and the difference of test errors, for one network."""
    members = runs.runs[runs.runs["network"] == network]
    assert set(members["status"]) == {"finished"}, "the sweep is not finished"
    curves = {
        (row.precision, row.seed): _curve(runs.metrics, str(row.run), network)
        for row in members.itertuples()
    }
    seeds = sorted(members["seed"].unique())
    between = [_distance(curves["float32", s], curves["bfloat16", s]) for s in seeds]
    noise = [
        _distance(curves["float32", a], curves["float32", b]) for a, b in combinations(seeds, 2)
    ]
    errors = members.pivot(index="seed", columns="precision", values="test_error")
    differences = errors["bfloat16"] - errors["float32"]
    low, high = t_interval(differences.mean(), differences.std(), len(differences))
    return {
        "n": len(seeds),
        "loss apart, arithmetics": round(sum(between) / len(between), 4),
        "loss apart, seeds": round(sum(noise) / len(noise), 4),
        "test error, difference": round(float(differences.mean()), 3),
        "lower": round(float(low), 3),
        "upper": round(float(high), 3),
    }


def _curve(metrics: pd.DataFrame, run: str, network: str) -> pd.Series:
    """Training loss by step."""
    wanted = (metrics["run"] == run) & (metrics["network"] == network)
    wanted &= (metrics["split"] == "train") & (metrics["metric"] == "loss")
    return metrics[wanted].set_index("step")["value"]


def _distance(one: pd.Series, other: pd.Series) -> float:
    return float((one - other).abs().mean())


if __name__ == "__main__":
    main()
