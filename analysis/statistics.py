"""Statistics over seeds, frame to frame.

A seed is the unit of replication: one run of a network with one seed is one observation.
Intervals are two-sided Student t intervals; one observation has none (NaN bounds), never a
zero-width one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, optimize, stats

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of every interval unless told otherwise."""

POWER = 0.8
"""Power at which an effect counts as "detectable"."""


ALIKE = 1e-9
"""Standard deviation below which values differ by rounding alone."""

FEW = 3
"""Up to this number of seeds a t interval must exclude a threshold at 99 % to decide."""


def deciding_level(n: int, level: float = LEVEL) -> float:
    """Return the level at which an interval of `n` seeds must exclude a threshold to decide.

    Student's interval holds at its level for Gaussian seeds only. Where one arm is skewed it
    excludes the true mean on one side in up to 17 % of studies, not 2.5 %. At 99 % (up to `FEW`
    seeds) and 99.8 % (more) that is at most 5 %: see `analysis.claims.false_positives`. A `level`
    above 95 %, as of several comparisons, tightens it alike.
    """
    return 1 - (1 - level) * (0.2 if n <= FEW else 0.04)


def rate_interval(count: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a rate observed as `count` of `n`."""
    if n < 1:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, count, n - count + 1) if count else 0.0
    high = stats.beta.isf(tail, count + 1, n - count) if count < n else 1.0
    return float(low), float(high)


def rates_p(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return Fisher's exact two-sided p value of two rates, each as (count, n)."""
    table = [[count, n - count] for count, n in (first, second)]
    return float(stats.fisher_exact(table).pvalue)


SIGN_FLIPS = 12
"""Largest number of observations for which every flip of signs is enumerated."""


def sign_flip_p(values: ArrayLike) -> float:
    """Return the two-sided p value of "the values are symmetric around 0", by flipping signs.

    Exact up to `SIGN_FLIPS` values; NaN beyond, where Student's t suffices. At least
    2 / 2**n, so fewer than six values can never reach 0.05.
    """
    known = np.asarray(values, dtype=float)
    if not 1 <= len(known) <= SIGN_FLIPS:
        return np.nan
    signs = np.array(list(product((-1.0, 1.0), repeat=len(known))))
    sums, seen = np.abs(signs @ known), abs(known.sum())
    return float(np.mean(sums >= seen * (1 - 1e-12)))


def t_interval(
    mean: ArrayLike, sd: ArrayLike, n: ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Return the t intervals of means of `n` observations each; NaN bounds where n < 2."""
    mean, sd, n = (np.asarray(one, dtype=float) for one in (mean, sd, n))
    error = sd / np.sqrt(np.where(n < 2, np.nan, n))
    half = stats.t.ppf(0.5 + level / 2, np.where(n < 2, np.nan, n - 1)) * error
    return mean - half, mean + half


def together_text(comparisons: int, level: float = LEVEL) -> str:
    """Return the text on the intervals' correction: Bonferroni over `comparisons`, or none."""
    if comparisons < 2:
        return "not corrected: one comparison"
    each = 1 - (1 - level) / comparisons
    return (
        f"corrected for {comparisons} comparisons: together {100 * level:g} %, "
        f"each {100 * each:.4g} %"
    )


@cache
def median_variance(n: int) -> float:
    """Return the variance of the median of `n` normal values, in units of that of their mean.

    1 for one value, 1.346 for 3, 1.434 for 5, towards pi / 2 for many. `n` is odd: the median is
    then the (n + 1) / 2-th smallest, whose density is integrated.
    """
    assert n % 2, "an even number of values has no middle one"
    middle = stats.beta((n + 1) / 2, (n + 1) / 2)

    def moment(x: float) -> float:
        return float(x**2 * middle.pdf(stats.norm.cdf(x)) * stats.norm.pdf(x))

    return float(n * integrate.quad(moment, -np.inf, np.inf)[0])


def summarise(
    frame: pd.DataFrame, by: Sequence[str], value: str, level: float = LEVEL
) -> pd.DataFrame:
    """Return one row a group of `by`: n, mean, sd (n - 1 in the denominator), low, high.

    NaN values are left out of n; a group with none left has n = 0 and NaN elsewhere.
    `frame` holds one row an observation, so one a seed. The interval is that of `t_interval`.
    """
    grouped = frame.groupby(list(by), sort=False, dropna=False)[value]
    table = grouped.agg(n="count", mean="mean", sd="std").reset_index()
    table["low"], table["high"] = t_interval(table["mean"], table["sd"], table["n"], level)
    return table


def mean_interval(
    values: pd.Series[float], level: float = LEVEL, least_sd: float = 0.0
) -> pd.Series[float]:
    """Return n, mean, sd, low and high of observations, one a seed.

    Where they do not differ, their sd is `least_sd`, the resolution of the images, so that no
    interval has zero width.
    """
    row = summarise(values.to_frame("value").assign(all=0), ["all"], "value", level).iloc[0]
    if least_sd and row["sd"] <= ALIKE:
        row["sd"] = least_sd
        row["low"], row["high"] = t_interval(row["mean"], least_sd, row["n"], level)
    return row


def paired(
    frame: pd.DataFrame, arm: str, first: object, second: object, value: str
) -> pd.DataFrame:
    """Return `value` where `arm` is `first` and where it is `second`, a row a common seed.

    Runs with the same seed saw the same batches, so their difference is one observation. Columns
    first and second; seeds that lack either side are left out.
    """
    sides = [frame[frame[arm] == one].set_index("seed")[value].dropna() for one in (first, second)]
    for side in sides:
        if side.index.has_duplicates:
            raise ValueError(f"more than one {value} a seed in {arm} {first!r} or {second!r}")
    pairs = pd.concat(sides, axis=1, join="inner", keys=["first", "second"])
    return pairs.sort_index()


def power(effect: float, sd: float, n: int, level: float = LEVEL) -> float:
    """Return the probability that n differences of true mean `effect` have an interval above 0.

    `sd` is that of one difference between seeds. Noncentral t; 0 where n < 2.
    """
    if n < 2:
        return 0.0
    if sd == 0:
        return float(effect > 0)
    critical = stats.t.ppf(0.5 + level / 2, n - 1)
    return float(stats.nct.sf(critical, n - 1, effect / sd * np.sqrt(n)))


def spread_interval(sd: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the true standard deviation, given `sd` of `n` Gaussian seeds.

    NaN bounds where n < 2. For three seeds it reaches from 0.52 to 6.3 times `sd`.
    """
    if n < 2:
        return np.nan, np.nan
    tails = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], n - 1)
    low, high = sd * np.sqrt((n - 1) / tails)
    return float(low), float(high)


def detectable(sd: float, n: int, level: float = LEVEL, wanted: float = POWER) -> float:
    """Return the smallest true mean that n differences detect with a power of `wanted`.

    In the unit of `sd`, that of one difference between seeds; NaN where n < 2. `level` is that of
    the interval that has to exclude 0: for a verdict that is `deciding_level(n)`.
    """
    return float(sd) * _detectable_in_sd(n, level, wanted) if n > 1 else np.nan


@cache
def _detectable_in_sd(n: int, level: float, wanted: float) -> float:
    highest = 2 * stats.t.ppf(0.5 + level / 2, n - 1)
    found = optimize.brentq(lambda effect: power(effect, 1.0, n, level) - wanted, 0.0, highest)
    return float(found)


def seeds_to_decide(effect: float, sd: float, level: float = LEVEL) -> int:
    """Return the fewest seeds whose verdict detects a true mean `effect` with a power of `POWER`.

    A verdict's interval holds at `deciding_level`. At most 1,000; a ValueError where `effect` is
    not positive.
    """
    if effect <= 0:
        raise ValueError(f"effect is {effect}: give a positive one")
    counts = range(2, 1000)
    enough = (n for n in counts if power(effect, sd, n, deciding_level(n, level)) >= POWER)
    return next(enough, 1000)


def noise_floor(first: ArrayLike, second: ArrayLike, images: ArrayLike) -> Floats:
    """Return the standard error of a difference of test errors due to the test set alone.

    100 sqrt((p (1 - p) + q (1 - q)) / images) for error rates p and q; all errors in percent. It
    assumes that the networks' mistakes are independent. On the same images they coincide more
    often than that, so the true standard error is smaller: this is an upper bound. More seeds do
    not lower it, as all see the same test images.
    """
    p, q = (np.asarray(one, dtype=float) / 100 for one in (first, second))
    return np.asarray(
        100 * np.sqrt((p * (1 - p) + q * (1 - q)) / np.asarray(images, dtype=float)), dtype=float
    )
