"""The numbers that claims compare: one value a member, and paired contrasts between networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.claims.claim import ALPHA
from analysis.groups import Group
from analysis.statistics import paired_differences


@dataclass(frozen=True)
class Contrast:
    """`first` minus `second`, paired by seed; `low` and `high` are NaN where n = 1."""

    first: str
    second: str
    mean: float
    low: float
    high: float
    n: int

    @property
    def name(self) -> str:
        """The comparison in words."""
        return f"{self.first} minus {self.second}"


def contrast(
    values: pd.DataFrame, first: str, second: str, comparisons: int = 1
) -> Contrast | None:
    """Compare two networks' `value` by seed; None where they share no seed.

    `comparisons` > 1 widens the interval (Bonferroni), so that as many of them hold together at
    1 - ALPHA.
    """
    level = 1 - ALPHA / comparisons
    table = paired_differences(values, "network", first, second, "value", level=level)
    if table.empty or table["n"].iloc[0] == 0:
        return None
    row = table.iloc[0]
    return Contrast(
        first, second, float(row["mean"]), float(row["low"]), float(row["high"]), int(row["n"])
    )


def contrasts(
    values: pd.DataFrame, first: str, seconds: Sequence[str], together: bool = True
) -> list[Contrast]:
    """Compare `first` with each of `seconds`; `together` makes the intervals hold jointly."""
    comparisons = len(seconds) if together else 1
    found = [contrast(values, first, second, comparisons) for second in seconds]
    return [one for one in found if one is not None]


def by_depth(members: pd.DataFrame) -> list[str]:
    """Return the short names of one arm's networks, the shallowest first."""
    return list(members.sort_values("depth", kind="stable")["short"].unique())


def final_training_error(members: pd.DataFrame) -> pd.DataFrame:
    """Return network, seed and value: each member's training error at the end, in percent."""
    return _values(members, members["train_error"])


def mean_training_error(group: Group, members: pd.DataFrame) -> pd.DataFrame:
    """Return network, seed and value: the running training error averaged over all of training.

    The time average (trapezoid rule over iterations) of the logged curve, in percent; members
    without at least two logged points are absent.
    """
    metrics = group.runs.metrics
    curves = metrics[(metrics["split"] == "train") & (metrics["metric"] == "error")]
    curves = curves[np.isfinite(curves["value"])].sort_values("step")
    means = {key: _time_average(part) for key, part in curves.groupby(["run", "network"])}
    keys = zip(members["run"], members["network"], strict=True)
    values = [means.get(key, np.nan) for key in keys]
    return _values(members, pd.Series(values, index=members.index, dtype=float))


def _time_average(curve: pd.DataFrame) -> float:
    steps = curve["step"].to_numpy(dtype=float)
    if len(steps) < 2 or steps[0] == steps[-1]:
        return np.nan
    return float(np.trapezoid(curve["value"], steps) / (steps[-1] - steps[0]))


def _values(members: pd.DataFrame, value: pd.Series[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"network": members["short"], "seed": members["seed"], "value": value})
    return frame.dropna(subset=["value"])


def interval_text(low: float, high: float, n: int, digits: int = 1) -> str:
    """Return ``95 % interval [48.1, 56.5], n = 3``, or that one run has no interval."""
    if n < 2:
        return "n = 1, no interval"
    return f"{1 - ALPHA:.0%} interval [{low:.{digits}f}, {high:.{digits}f}], n = {n}".replace(
        "%", " %"
    )


def points_text(found: Contrast, what: str) -> str:
    """Return a contrast of errors in percentage points as one line."""
    digits = 1 if abs(found.mean) >= 0.995 else 2
    interval = interval_text(found.low, found.high, found.n, digits)
    return f"{found.name} {what} {found.mean:.{digits}f} points, {interval}"


def bound(value: float) -> float | None:
    """Return an interval's bound, None where there is no interval."""
    return None if np.isnan(value) else float(value)


def left_out(group: Group) -> str:
    """Return a sentence that names the members that did not finish, or an empty string."""
    missing = group.members[group.members["status"] != "finished"]
    texts = [
        f"{row.short} seed {row.seed} ({row.status})" for row in missing.itertuples(index=False)
    ]
    return f" Left out: {', '.join(texts)}." if texts else ""
