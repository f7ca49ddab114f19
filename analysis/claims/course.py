"""Comparison along training: the share of logged points at which one network is worse."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.convergence import error_curves, share_above


def share_worse(
    metrics: pd.DataFrame, members: pd.DataFrame, names: tuple[str, str], end: float, split: str
) -> float:
    """Return the share of logged points, after the first tenth, at which the first is worse.

    The mean over the common seeds; NaN without curves.

    Args:
        metrics: rows of logged curves.
        members: columns run, network, seed and short, of the members that count.
        names: short names of the two networks.
        end: iterations of the whole training.
        split: the split whose error is compared.
    """
    rows = error_curves(metrics, split)
    rows = rows.merge(members[["run", "network", "seed", "short"]], on=["run", "network"])
    first, second = (rows[rows["short"] == name] for name in names)
    shares = [
        share_above(first[first["seed"] == seed], second[second["seed"] == seed], end)[0]
        for seed in set(first["seed"]) & set(second["seed"])
    ]
    return float(np.mean(shares)) if shares else float("nan")


def course_text(share: float) -> str:
    """Return the share of logged points at which the network is worse, in words."""
    if share in (0.0, 1.0):
        return f"{'worse' if share else 'not worse'} at every point after warm-up"
    return f"worse at {100 * share:.0f} % of points after warm-up"
