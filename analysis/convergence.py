"""Speed of learning from logged curves: averages over time, steps to an error.

Curves are rows of `load_runs(...).metrics`: run, network, step, split, metric, value. The running
training error is a mean over the mini-batches since the last row.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEMBER = ["run", "network"]
EARLY_SHARE = 0.25
"""Share of training that counts as its early stage."""

SETTLED_SHARE = 0.1
"""Share of training after which curves are compared point by point."""


def error_curves(metrics: pd.DataFrame, split: str = "train") -> pd.DataFrame:
    """Return the finite error rows of one split (percent), ordered by step."""
    rows = metrics[(metrics["split"] == split) & (metrics["metric"] == "error")]
    finite = rows["value"].abs() < np.inf
    return rows[finite].sort_values("step", kind="stable")


def time_average(curve: pd.DataFrame) -> float:
    """Return one curve's average over its steps (trapezoid rule); NaN with fewer than two."""
    steps = curve["step"].to_numpy(dtype=float)
    if len(steps) < 2 or steps[0] == steps[-1]:
        return np.nan
    return float(np.trapezoid(curve["value"], steps) / (steps[-1] - steps[0]))


def time_averages(metrics: pd.DataFrame, split: str = "train") -> pd.DataFrame:
    """Return run, network and value: each member's error averaged over all of training."""
    rows = [(*key, time_average(one)) for key, one in error_curves(metrics, split).groupby(MEMBER)]
    return pd.DataFrame(rows, columns=[*MEMBER, "value"])


def first_crossing(steps: Floats, values: Floats, level: float) -> float:
    """Return the step at which interpolated values first reach `level` or less; else NaN."""
    reached = np.flatnonzero(values <= level)
    if not len(reached):
        return np.nan
    at = int(reached[0])
    if at == 0 or values[at] == level:
        return float(steps[at])
    before, after = values[at - 1], values[at]
    share = (before - level) / (before - after)
    return float(steps[at - 1] + share * (steps[at] - steps[at - 1]))


def early_speed(first: pd.DataFrame, second: pd.DataFrame, end: float) -> float:
    """Return log(steps of `first` / steps of `second`) to an error that both reach early.

    That error is the higher of the two minima in the first quarter of the `end` steps. It is
    symmetric, so equal networks have an average of 0. Below 0 the first learns faster. NaN where a
    curve has no row after step 0 in that quarter.
    """
    early = [one[(one["step"] > 0) & (one["step"] <= end * EARLY_SHARE)] for one in (first, second)]
    if any(one.empty for one in early):
        return np.nan
    level = max(float(one["value"].min()) for one in early)
    fast, slow = (first_crossing(_steps(one), _values(one), level) for one in early)
    return float(np.log(fast / slow))


def share_above(first: pd.DataFrame, second: pd.DataFrame, end: float) -> tuple[float, int]:
    """Return the share of common steps at which `first` is above `second`, and their number.

    The first tenth of the `end` steps is left out; NaN and 0 where no steps remain.
    """
    values = [one.groupby("step")["value"].last() for one in (first, second)]
    pairs = pd.concat(values, axis=1, join="inner", keys=["first", "second"])
    pairs = pairs[pairs.index > end * SETTLED_SHARE]
    worse = pairs["first"] > pairs["second"]
    return (float(worse.mean()), len(pairs)) if len(pairs) else (np.nan, 0)


def _steps(curve: pd.DataFrame) -> Floats:
    return curve["step"].to_numpy(dtype=float)


def _values(curve: pd.DataFrame) -> Floats:
    return curve["value"].to_numpy(dtype=float)
