"""Numbers that claims compare: one value a member, and paired contrasts between networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from analysis.claims.claim import ALPHA
from analysis.convergence import time_averages
from analysis.groups import Group
from analysis.statistics import (
    deciding_level,
    mean_interval,
    noise_floor,
    paired,
    sign_flip_p,
    t_interval,
)

ONE_SEED = "One seed gives no interval: train more seeds"


TOO_FEW = (
    "The interval excludes the threshold, but by too little for so few seeds: where seeds are "
    "skewed, that is seen by chance too often"
)


def unsettled(n: int, why: str) -> str:
    """Return why nothing is decided: no interval where n = 1, else `why`."""
    return ONE_SEED if n < 2 else why


@dataclass(frozen=True)
class Contrast:
    """`first` minus `second`, paired by seed; `low` and `high` are NaN where n = 1.

    `sd` is the standard deviation of the differences over seeds. The intervals of `comparisons`
    contrasts hold jointly. `pairs` holds each common seed with its two values, in the order of
    seeds. `images` is the number of images that the errors were measured on (0: the values are no
    errors, or the number is unknown).
    """

    first: str
    second: str
    mean: float
    low: float
    high: float
    n: int
    sd: float = float("nan")
    comparisons: int = 1
    pairs: tuple[tuple[int, float, float], ...] = ()
    images: int = 0

    @property
    def name(self) -> str:
        """The comparison in words."""
        return f"{self.first} minus {self.second}"

    @property
    def correlation(self) -> float:
        """Pearson's correlation of the pairs; NaN with fewer than three, or without spread."""
        _, first, second = np.array(self.pairs, dtype=float).reshape(-1, 3).T
        if len(first) < 3 or not (np.ptp(first) and np.ptp(second)):
            return float("nan")
        return float(np.corrcoef(first, second)[0, 1])

    def above(self, threshold: float) -> bool:
        """Whether the seeds show a mean above `threshold`; see `deciding_level`."""
        return self.low > threshold and (
            self._decides(threshold) or self._outweighs(threshold, above=True)
        )

    def below(self, threshold: float) -> bool:
        """Whether the seeds show a mean below `threshold`; see `deciding_level`."""
        return self.high < threshold and (
            self._decides(threshold) or self._outweighs(threshold, above=False)
        )

    def _decides(self, threshold: float) -> bool:
        """Whether this holds for skewed seeds too: by a stricter interval and a sign-flip test."""
        level = 1 - ALPHA / self.comparisons
        far = abs(self.mean - threshold) > (self.high - self.mean) * _strictness(self.n, level)
        if 2.0 ** (1 - len(self.pairs)) > 1 - level:
            return far  # too few to flip signs: no p value would be small enough
        p = sign_flip_p([first - second - threshold for _, first, second in self.pairs])
        return far and not p > 1 - level

    def _outweighs(self, threshold: float, *, above: bool) -> bool:
        """Whether every seed of one network has too large an error for the other network's mean.

        Errors are never below 0, so at most a share m / a of seeds with mean m reach a (Markov's
        inequality). All n reach it with probability (m / a)^n at most, however skewed they are. The
        other network's mean is taken as its worst seed, and as one image at least.
        """
        if not self.images or not self.pairs:
            return False
        _, first, second = zip(*self.pairs, strict=True)
        large, small, by = (first, second, threshold) if above else (second, first, -threshold)
        most = max(*small, 100 / self.images) + by
        chance = 1 - deciding_level(self.n, 1 - ALPHA / self.comparisons)
        return bool(min(large) > 0 and (max(most, 0) / min(large)) ** self.n <= chance / 2)

    def excluded(self, threshold: float = 0.0) -> bool:
        """Whether the interval excludes `threshold`, whether or not that decides."""
        return self.low > threshold or self.high < threshold


@cache
def _strictness(n: int, level: float) -> float:
    """Return the width of the deciding interval over that of the shown one; NaN where n < 2."""
    usual, strict = (
        float(t_interval(0.0, 1.0, n, one)[1]) for one in (level, deciding_level(n, level))
    )
    return strict / usual


def contrast(
    values: pd.DataFrame, first: str, second: str, comparisons: int = 1
) -> Contrast | None:
    """Compare two networks' `value` by seed; None where they share no seed.

    `comparisons` > 1 widens the interval (Bonferroni), so that this many hold jointly at
    1 - ALPHA.
    """
    images = _images(values, (first, second))
    least = 100 / images / np.sqrt(6) if images else 0.0  # two errors rounded to an image each
    pairs = paired(values, "network", first, second, "value")
    if pairs.empty:
        return None
    row = mean_interval(pairs["first"] - pairs["second"], 1 - ALPHA / comparisons, least)
    known = tuple((int(seed), float(one), float(two)) for seed, one, two in pairs.itertuples())
    found = _contrast(first, second, row, comparisons)
    return replace(found, pairs=known, images=images)


def _images(values: pd.DataFrame, networks: Sequence[str]) -> int:
    """Return the number of images that the errors were measured on; 0 where unknown."""
    if "images" not in values:
        return 0
    own = values.loc[values["network"].isin(networks), "images"]
    return 0 if own.empty else int(own.min())


def estimate(values: pd.DataFrame, network: str) -> Contrast:
    """Return one network's mean `value` over seeds with its interval; `second` is empty."""
    images = _images(values, (network,))
    least = 100 / images / np.sqrt(12) if images else 0.0
    row = mean_interval(values.loc[values["network"] == network, "value"], 1 - ALPHA, least)
    return replace(_contrast(network, "", row), images=images)


def _contrast(first: str, second: str, row: pd.Series[float], comparisons: int = 1) -> Contrast:
    return Contrast(
        first=first,
        second=second,
        mean=float(row["mean"]),
        low=float(row["low"]),
        high=float(row["high"]),
        n=int(row["n"]),
        sd=float(row["sd"]),
        comparisons=comparisons,
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


def final_error(members: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return network, seed, value (percent) and images: each member's error at the last step.

    A training error is a mean over the last epoch, or over all images seen in a shorter run.
    """
    if split == "train":
        images = training_images(members)
    else:
        images = members.get(f"{split}_images", pd.Series(0, index=members.index))
    return _values(members, members[f"{split}_error"], images)


def final_training_error(members: pd.DataFrame) -> pd.DataFrame:
    """Return `final_error` of the training images."""
    return final_error(members, "train")


def held_out_error(members: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return `final_error` of the held-out images, and its name.

    That is the test error, or where there are no test images the validation error.
    """
    split = "test" if members["test_error"].notna().any() else "validation"
    return final_error(members, split), f"{split} error"


def mean_training_error(group: Group, members: pd.DataFrame) -> pd.DataFrame:
    """Return network, seed and value: the running training error averaged over all of training.

    The time average (trapezoid rule over iterations) of the logged curve, in percent; members
    without at least two logged points are absent.
    """
    means = time_averages(group.runs.metrics).set_index(["run", "network"])["value"]
    keys = pd.MultiIndex.from_frame(members[["run", "network"]])
    values = means.reindex(keys).to_numpy(dtype=float)
    return _values(members, pd.Series(values, index=members.index), training_images(members))


def training_images(members: pd.DataFrame) -> pd.Series[int]:
    """Return the number of images in each member's final training error; 0 where unknown.

    Frames without `train_images` have it in a protocol with two counts ("1294/143").
    """
    written = members["protocol"].astype(str).str.extract(r"^(\d+)(k?)/")
    counts = pd.to_numeric(written[0]) * np.where(written[1] == "k", 1000, 1)
    if "train_images" in members:
        counts = members["train_images"].where(members["train_images"] > 0, counts)
    seen = members["iterations"] * members["batch_size"]
    known = counts.fillna(0)
    return known.where(known < seen, seen).astype(int)


def _values(
    members: pd.DataFrame, value: pd.Series[float], images: pd.Series[int] | None = None
) -> pd.DataFrame:
    frame = pd.DataFrame({"network": members["short"], "seed": members["seed"], "value": value})
    if images is not None:
        frame["images"] = images
    return frame.dropna(subset=["value"])


def interval_text(low: float, high: float, n: int, digits: int = 1) -> str:
    """Return ``95 % interval [48.1, 56.5], n = 3``, or that one run has no interval."""
    return _interval_text(low, high, n, f".{digits}f")


def interval_of(found: Contrast, form: str = ".3g", scale: Callable[[float], float] = float) -> str:
    """Return a contrast's interval as text, its bounds by `scale` and in a format such as .3g."""
    return _interval_text(scale(found.low), scale(found.high), found.n, form)


def _interval_text(low: float, high: float, n: int, form: str) -> str:
    if n < 2:
        return "n = 1, no interval"
    return f"{100 * (1 - ALPHA):g} % interval [{low:{form}}, {high:{form}}], n = {n}"


def points_text(found: Contrast, what: str) -> str:
    """Return a contrast of errors in percentage points as one line."""
    if at_floor(found):
        return f"{found.name} {what} {found.mean:.2f} points, {_floor_text(found)}"
    digits = 1 if abs(found.mean) >= 0.995 else 2
    interval = interval_text(found.low, found.high, found.n, digits)
    return f"{found.name} {what} {found.mean:.{digits}f} points, {interval}"


def at_floor(found: Contrast) -> bool:
    """Whether every seed of both networks is right on every image."""
    values = [value for _, *both in found.pairs for value in both]
    return bool(values) and found.images > 0 and max(values) < 50 / found.images


def _floor_text(found: Contrast) -> str:
    seeds = f"all {found.n} seeds of both" if found.n > 1 else "the one seed of both"
    return f"{seeds} 0 of {found.images:,} images, n = {found.n}"


def seeds_text(found: Contrast, digits: int = 1) -> str:
    """Return every seed of both networks, and how the pairs correlate; "" where not known."""
    if not found.pairs:
        return ""
    seeds, *sides = zip(*found.pairs, strict=True)
    texts = [
        f"{name} {', '.join(f'{value:.{digits}f}' for value in side)}"
        for name, side in zip((found.first, found.second), sides, strict=True)
    ]
    r = found.correlation
    paired = "" if np.isnan(r) else f" (correlation of the pairs {r:.2f})"
    named = ", ".join(map(str, seeds))
    return f"seed{'s' * (len(seeds) > 1)} {named}: {'; '.join(texts)}{paired}"


def bound(value: float) -> float | None:
    """Return an interval's bound; None where there is no interval."""
    return None if np.isnan(value) else float(value)


def floor_text(group: Group, values: pd.DataFrame, found: Contrast) -> str:
    """Return the text on the standard error that the test set alone causes; "" where unknown.

    `values` are those of `held_out_error`; see `noise_floor` for the formula and its assumption.
    """
    images = group.settings.get("test_images")
    if not images:
        return ""
    means = values.groupby("network")["value"].mean()
    floor = float(noise_floor(means[found.first], means[found.second], int(str(images))))
    return (
        f" The test set's own noise floor: {int(str(images)):,} images give a difference at these "
        f"errors a standard error of at most {floor:.2f} points, whatever the number of seeds."
    )


def left_out(group: Group) -> str:
    """Return a sentence that names the members that did not finish, or an empty string."""
    missing = group.members[group.members["status"] != "finished"]
    texts = [
        f"{row.short} seed {row.seed} ({row.status})" for row in missing.itertuples(index=False)
    ]
    return f" Left out: {', '.join(texts)}." if texts else ""
