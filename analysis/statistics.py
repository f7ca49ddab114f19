"""Statistics over seeds, frame to frame.

A seed is the unit of replication: one run of a network with one seed is one observation.
Intervals are two-sided Student t intervals; one observation has none (NaN bounds), never a
zero-width one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of every interval unless told otherwise."""


def t_interval(
    mean: ArrayLike, sd: ArrayLike, n: ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Return the t intervals of means of `n` observations each; NaN bounds where n < 2."""
    mean, sd, n = (np.asarray(one, dtype=float) for one in (mean, sd, n))
    error = sd / np.sqrt(np.where(n < 2, np.nan, n))
    half = stats.t.ppf(0.5 + level / 2, np.where(n < 2, np.nan, n - 1)) * error
    return mean - half, mean + half


def t_test(mean: ArrayLike, sd: ArrayLike, n: ArrayLike) -> Floats:
    """Return the two-sided p values of "the mean is 0"; NaN where n < 2.

    Without any spread a p value is 0, or 1 where the mean is exactly 0.
    """
    mean, sd, n = (np.asarray(one, dtype=float) for one in (mean, sd, n))
    enough = np.where(n < 2, np.nan, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / (sd / np.sqrt(enough))
    p = 2 * stats.t.sf(np.where((sd == 0) & (mean == 0), 0.0, t), enough - 1)
    return np.asarray(np.where(np.isnan(enough), np.nan, p), dtype=float)


def summarise(
    frame: pd.DataFrame, by: Sequence[str], value: str, level: float = LEVEL
) -> pd.DataFrame:
    """Return one row a group of `by`: n, mean, sd (n - 1 in the denominator), low, high.

    NaN values are left out of n; a group with none left has n = 0 and NaN elsewhere.
    `frame` holds one row an observation, so one a seed.
    """
    grouped = frame.groupby(list(by), sort=False, dropna=False)[value]
    table = grouped.agg(n="count", mean="mean", sd="std").reset_index()
    table["low"], table["high"] = t_interval(table["mean"], table["sd"], table["n"], level)
    return table


def paired_differences(
    frame: pd.DataFrame,
    arm: str,
    first: object,
    second: object,
    value: str,
    by: Sequence[str] = (),
    unit: str = "seed",
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return `value` where `arm` is `first` minus where it is `second`, paired by `unit`.

    Runs with the same seed saw the same batches, so their difference is one observation. Units
    that lack either side are left out. One row a group of `by` (one row in all without `by`):
    n, mean, sd, low, high, p (of "no difference", two-sided).
    """
    index = [*by, unit]
    sides = [frame[frame[arm] == side].set_index(index)[value].dropna() for side in (first, second)]
    for side in sides:
        if side.index.has_duplicates:
            raise ValueError(f"more than one {value} a {unit} in {arm} {first!r} or {second!r}")
    pairs = pd.concat(sides, axis=1, join="inner", keys=["first", "second"]).reset_index()
    pairs["difference"] = pairs["first"] - pairs["second"]
    if not by:
        pairs["all"] = 0
    table = summarise(pairs, by or ["all"], "difference", level)
    table["p"] = t_test(table["mean"], table["sd"], table["n"])
    return table if by else table.drop(columns="all")
