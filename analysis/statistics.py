"""Statistics over seeds, frame to frame.

A seed is the unit of replication: one run of a network with one seed is one observation.
Intervals are two-sided Student t intervals; one observation has none (NaN bounds), never a
zero-width one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, optimize, stats

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of every interval unless told otherwise."""

POWER = 0.8
"""Chance of finding an effect that a "detectable" effect has."""


ALIKE = 1e-9
"""Standard deviation below which values differ by rounding alone."""

FEW = 3
"""Most seeds of which a t interval must exclude a threshold at 99 % to decide."""


def deciding_level(n: int, level: float = LEVEL) -> float:
    """Return the level at which an interval of `n` seeds must exclude a threshold to decide.

    Student's interval holds at its level for Gaussian seeds only. Where one arm is skewed it
    excludes the true mean on one side in up to 17 % of studies, not 2.5 %. At 99 % (up to `FEW`
    seeds) and 99.8 % (more) that is at most 5 %: see `analysis.claims.false_positives`. A `level`
    above 95 %, as of several comparisons, tightens it alike.
    """
    return 1 - (1 - level) * (0.2 if n <= FEW else 0.04)


def rate_interval(count: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a rate of which `count` of `n` were seen."""
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
"""Most observations of which every flip of signs is weighed."""


def sign_flip_p(values: ArrayLike) -> float:
    """Return the two-sided p value of "the values are symmetric around 0", by flipping signs.

    Exact up to `SIGN_FLIPS` values; NaN beyond, where Student's t needs no help. At least
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


def together_text(comparisons: int, level: float = LEVEL) -> str:
    """Say how far intervals are corrected: Bonferroni over `comparisons`, or not at all."""
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
    frame: pd.DataFrame,
    by: Sequence[str],
    value: str,
    level: float = LEVEL,
    method: Literal["t", "bootstrap"] = "t",
) -> pd.DataFrame:
    """Return one row a group of `by`: n, mean, sd (n - 1 in the denominator), low, high.

    NaN values are left out of n; a group with none left has n = 0 and NaN elsewhere.
    `frame` holds one row an observation, so one a seed. `method` makes the interval: see
    `t_interval` and `bootstrap_interval`.
    """
    grouped = frame.groupby(list(by), sort=False, dropna=False)[value]
    table = grouped.agg(n="count", mean="mean", sd="std").reset_index()
    if method == "t":
        table["low"], table["high"] = t_interval(table["mean"], table["sd"], table["n"], level)
    else:
        bounds = [bootstrap_interval(values, level) for _, values in grouped]
        table[["low", "high"]] = np.array(bounds, dtype=float).reshape(-1, 2)
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
    least_sd: float = 0.0,
) -> pd.DataFrame:
    """Return `value` where `arm` is `first` minus where it is `second`, paired by `unit`.

    Runs with the same seed saw the same batches, so their difference is one observation. Units
    that lack either side are left out. One row a group of `by` (one row in all without `by`):
    n, mean, sd, low, high, p (of "no difference", two-sided). Where the differences do not differ
    at all, their sd is `least_sd`, what the images resolve: no interval has zero width.
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
    if least_sd:
        table["sd"] = table["sd"].where(table["sd"].isna() | (table["sd"] > ALIKE), least_sd)
        table["low"], table["high"] = t_interval(table["mean"], table["sd"], table["n"], level)
    table["p"] = t_test(table["mean"], table["sd"], table["n"])
    return table if by else table.drop(columns="all")


def bootstrap_interval(
    values: ArrayLike, level: float = LEVEL, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`; NaN where n < 2.

    All n**n resamples are weighed up to n = 6, so the interval is exact; beyond that `resamples`
    random ones, fixed by `seed`. It assumes no normal distribution, but with few seeds it is too
    narrow: with three it is their range, which covers the centre in 75 % of studies. Claims are
    therefore decided by t intervals.
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    n = len(known)
    if n < 2:
        return np.nan, np.nan
    drawn = _all_resamples(n) if n <= 6 else _random_resamples(n, resamples, seed)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(known[drawn].mean(axis=1), tails, method="inverted_cdf")
    return float(low), float(high)


@cache
def _all_resamples(n: int) -> NDArray[np.int64]:
    return np.array(list(product(range(n), repeat=n)), dtype=np.int64)


def _random_resamples(n: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, size=(resamples, n))


def holm(p: ArrayLike) -> Floats:
    """Return p values adjusted by Holm's step-down rule, in the order given; NaN stays NaN.

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection
    among them at or below alpha, whatever the tests' dependence.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    order = order[~np.isnan(values[order])]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def equivalence_p(mean: ArrayLike, sd: ArrayLike, n: ArrayLike, margin: float) -> Floats:
    """Return the p values of two one-sided t tests of "the mean is within +-`margin`".

    NaN where n < 2. A value of at most 0.025 says the same as a 95 % interval inside the margins.
    """
    below = _one_sided(np.asarray(mean, dtype=float) - margin, sd, n)
    above = _one_sided(-np.asarray(mean, dtype=float) - margin, sd, n)
    return np.maximum(below, above)


def _one_sided(mean: Floats, sd: ArrayLike, n: ArrayLike) -> Floats:
    """Return the p value of "the mean is 0 or more" against "it is below 0"."""
    two_sided = t_test(mean, sd, n)
    return np.where(mean < 0, two_sided / 2, 1 - two_sided / 2)


def power(effect: float, sd: float, n: int, level: float = LEVEL) -> float:
    """Return how often n differences with a true mean `effect` have their interval above 0.

    `sd` is that of one difference between seeds. Noncentral t; 0 where n < 2.
    """
    if n < 2:
        return 0.0
    if sd == 0:
        return float(effect > 0)
    critical = stats.t.ppf(0.5 + level / 2, n - 1)
    return float(stats.nct.sf(critical, n - 1, effect / sd * np.sqrt(n)))


def spread_interval(sd: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the true standard deviation of which `n` Gaussian seeds show `sd`.

    NaN bounds where n < 2. Three seeds know it within 0.52 to 6.3 times what they show.
    """
    if n < 2:
        return np.nan, np.nan
    tails = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], n - 1)
    low, high = sd * np.sqrt((n - 1) / tails)
    return float(low), float(high)


def detectable(sd: float, n: int, level: float = LEVEL, wanted: float = POWER) -> float:
    """Return the smallest true mean that n differences find with a power of `wanted`.

    In the unit of `sd`, that of one difference between seeds; NaN where n < 2. `level` is that of
    the interval that has to exclude 0: for a verdict that is `deciding_level(n)`.
    """
    return float(sd) * _detectable_in_sd(n, level, wanted) if n > 1 else np.nan


@cache
def _detectable_in_sd(n: int, level: float, wanted: float) -> float:
    highest = 2 * stats.t.ppf(0.5 + level / 2, n - 1)
    found = optimize.brentq(lambda effect: power(effect, 1.0, n, level) - wanted, 0.0, highest)
    return float(found)


def seeds_needed(effect: float, sd: float, level: float = LEVEL, wanted: float = POWER) -> int:
    """Return the fewest seeds that find a true mean of `effect` with a power of `wanted`.

    At most 1,000; a ValueError where `effect` is not positive.
    """
    return _fewest(effect, lambda n: power(effect, sd, n, level) >= wanted)


def seeds_to_decide(effect: float, sd: float, level: float = LEVEL, wanted: float = POWER) -> int:
    """Return what `seeds_needed` does for a verdict, whose interval holds at `deciding_level`."""
    return _fewest(effect, lambda n: power(effect, sd, n, deciding_level(n, level)) >= wanted)


def _fewest(effect: float, enough: Callable[[int], bool]) -> int:
    if effect <= 0:
        raise ValueError(f"effect is {effect}: give a positive one")
    return next((n for n in range(2, 1000) if enough(n)), 1000)


def noise_floor(first: ArrayLike, second: ArrayLike, images: ArrayLike) -> Floats:
    """Return the standard error of a difference of two test errors that the test set gives alone.

    100 sqrt((p (1 - p) + q (1 - q)) / images) for error rates p and q; all errors in percent. It
    assumes that the two networks' mistakes are independent. On the same images they coincide more
    often than that, so the true standard error is smaller: this is an upper bound. More seeds do
    not lower it, as all see the same test images.
    """
    p, q = (np.asarray(one, dtype=float) / 100 for one in (first, second))
    return np.asarray(
        100 * np.sqrt((p * (1 - p) + q * (1 - q)) / np.asarray(images, dtype=float)), dtype=float
    )
