"""The numbers that claims compare: one value a member, and paired contrasts between networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.claims.claim import ALPHA
from analysis.convergence import time_averages
from analysis.groups import Group
from analysis.statistics import noise_floor, paired_differences, summarise

ONE_SEED = "One seed gives no interval: train more seeds"


def unsettled(n: int, why: str) -> str:
    """Say why nothing is decided: n = 1 has no interval; with more seeds it is `why`."""
    return ONE_SEED if n < 2 else why


@dataclass(frozen=True)
class Contrast:
    """`first` minus `second`, paired by seed; `low` and `high` are NaN where n = 1.

    `sd` is that of the differences between seeds; the intervals of `comparisons` contrasts hold
    together.
    """

    first: str
    second: str
    mean: float
    low: float
    high: float
    n: int
    sd: float = float("nan")
    comparisons: int = 1

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
    return _contrast(first, second, row, comparisons)


def estimate(values: pd.DataFrame, network: str) -> Contrast:
    """Return one network's mean `value` over seeds with its interval; `second` is empty."""
    own = values[values["network"] == network]
    return _contrast(network, "", summarise(own, ["network"], "value", 1 - ALPHA).iloc[0])


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


def final_training_error(members: pd.DataFrame) -> pd.DataFrame:
    """Return network, seed and value: each member's training error at the end, in percent."""
    return _values(members, members["train_error"])


def held_out_error(members: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return network, seed and value (percent) at the last step, and what it is an error of.

    That is the test error, or where there are no test images the validation error.
    """
    tested = members["test_error"].notna().any()
    split = "test" if tested else "validation"
    return _values(members, members[f"{split}_error"]), f"{split} error"


def mean_training_error(group: Group, members: pd.DataFrame) -> pd.DataFrame:
    """Return network, seed and value: the running training error averaged over all of training.

    The time average (trapezoid rule over iterations) of the logged curve, in percent; members
    without at least two logged points are absent.
    """
    means = time_averages(group.runs.metrics).set_index(["run", "network"])["value"]
    keys = pd.MultiIndex.from_frame(members[["run", "network"]])
    values = means.reindex(keys).to_numpy(dtype=float)
    return _values(members, pd.Series(values, index=members.index))


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


def floor_text(group: Group, values: pd.DataFrame, found: Contrast) -> str:
    """Say how large a difference of test errors the test set alone makes; "" where unknown.

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
