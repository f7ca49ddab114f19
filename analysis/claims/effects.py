"""The effects that claims test, as a frame: every comparison, on training and on test images.

What a table or a notebook takes; the verdicts come from the claims themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.claims.evidence import (
    by_depth,
    contrast,
    final_training_error,
    held_out_error,
    mean_training_error,
)
from analysis.groups import Group, arms
from analysis.statistics import holm, noise_floor, t_test

COLUMNS = ["effect", "comparison", "measure", "mean", "sd", "n", "low", "high", "p", "p_holm"]
COLUMNS += ["noise_floor", "comparisons"]


def effects(group: Group) -> pd.DataFrame:
    """Return the degradation effects and the residual gains of one group of alike runs.

    degradation: the deepest plain network minus each shallower one; residual gain: each plain
    network minus the residual one of its depth. Each as final training error, training error
    averaged over training, and held-out error at the last step, paired by seed, in percentage
    points. Columns: effect, comparison, measure, mean, sd, n, low, high (intervals hold together
    for an effect's comparisons, Bonferroni), p (two-sided), p_holm (adjusted within effect and
    measure), noise_floor (points, see `noise_floor`; NaN for training errors) and comparisons, for
    how many the interval is corrected.
    """
    members = group.finished
    held_out, what = held_out_error(members)
    measures = {
        "final training error": final_training_error(members),
        "mean training error": mean_training_error(group, members),
        what: held_out,
    }
    pairs = {"degradation": _depths(members), "residual gain": _twins(members)}
    rows = [
        row
        for effect, compared in pairs.items()
        for measure, values in measures.items()
        for row in _rows(effect, measure, values, compared, _images(group, measure))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _images(group: Group, measure: str) -> float:
    """Return how many test images a measure was taken on; NaN of any other measure."""
    images = group.settings.get("test_images")
    return float(str(images)) if measure == "test error" and images else np.nan


def _depths(members: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the deepest plain network with each shallower one."""
    *shallower, deepest = by_depth(members[members["family"] == "plain"]) or [""]
    return [(deepest, one) for one in shallower]


def _twins(members: pd.DataFrame) -> list[tuple[str, str]]:
    """Return each plain network with the residual ones of its depth."""
    plain = members[members["family"] == "plain"].drop_duplicates("depth").set_index("depth")
    return [
        (str(plain.loc[depth, "short"]), str(short))
        for shortcut in arms(members)
        for depth, short in members[members["shortcut"] == shortcut]
        .drop_duplicates("depth")[["depth", "short"]]
        .itertuples(index=False)
        if depth in plain.index
    ]


def _rows(
    effect: str,
    measure: str,
    values: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    images: float,
) -> list[tuple[object, ...]]:
    compared = [contrast(values, first, second, len(pairs)) for first, second in pairs]
    found = [one for one in compared if one is not None]
    p = t_test([one.mean for one in found], [one.sd for one in found], [one.n for one in found])
    means = values.groupby("network")["value"].mean()
    floors = [noise_floor(means[one.first], means[one.second], images) for one in found]
    return [
        (
            *(effect, one.name, measure, one.mean, one.sd, one.n, one.low, one.high),
            *(*rest, one.comparisons),
        )
        for one, *rest in zip(found, p, holm(p), map(float, floors), strict=True)
    ]
