"""Claim 1: the deeper plain network has the higher training error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import (
    Contrast,
    by_depth,
    contrasts,
    final_training_error,
    mean_training_error,
    points_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.convergence import SETTLED_SHARE, error_curves, share_above
from analysis.groups import Group


def degradation(group: Group) -> Finding | None:
    """Compare the deepest plain network with each shallower one, at the end and along training."""
    plain = group.finished[group.finished["family"] == "plain"]
    networks = by_depth(plain)
    if len(networks) < 2:
        return None
    *shallower, deepest = networks
    end = contrasts(final_training_error(plain), deepest, shallower)
    if not end:
        return None
    along = contrasts(mean_training_error(group, plain), deepest, shallower)
    outcome, shown = judge(end, along)
    reason = _reason(outcome, shown, along, len(shallower), share_worse(group, shown))
    return points_finding(outcome, shown, "training error", reason, group)


def judge(end: Sequence[Contrast], along: Sequence[Contrast]) -> tuple[Outcome, Contrast]:
    """Return the outcome and the contrast that shows it.

    `end` holds the deepest network minus each shallower one at the end of training, `along` the
    same averaged over training (empty where no curves were recorded).
    """
    worse = {one.second for one in along if one.low > 0} if along else {o.second for o in end}
    degraded = [one for one in end if one.low > 0 and one.second in worse]
    if degraded:
        return "supported", max(degraded, key=lambda one: one.low)
    if all(one.high < 0 for one in end):
        return "refuted", max(end, key=lambda one: one.high)
    return "undecided", max(end, key=lambda one: one.mean)


def share_worse(group: Group, shown: Contrast) -> float:
    """Return the share of logged points past the first tenth at which `first` is the worse one.

    The mean over seeds; NaN without curves.
    """
    members = group.finished[["run", "network", "seed", "short"]]
    rows = error_curves(group.runs.metrics).merge(members, on=["run", "network"])
    end = float(str(group.settings["iterations"]))
    first, second = (rows[rows["short"] == name] for name in (shown.first, shown.second))
    shares = [
        share_above(first[first["seed"] == seed], second[second["seed"] == seed], end)[0]
        for seed in set(first["seed"]) & set(second["seed"])
    ]
    return float(np.mean(shares)) if shares else np.nan


def _reason(
    outcome: Outcome, shown: Contrast, along: Sequence[Contrast], k: int, share: float
) -> str:
    course = next((one for one in along if one.second == shown.second), None)
    said = {
        "supported": "The deeper plain network fits its own training data worse, so this is not "
        "overfitting",
        "refuted": "The deepest plain network fits the training data better than every shallower "
        "one",
        "undecided": unsettled(
            shown.n, "The interval does not exclude 0, or the curves do not differ on average"
        ),
    }[outcome]
    parts = [said]
    if course is not None:
        parts.append(f"averaged over all of training: {points_text(course, 'training error')}")
    elif np.isfinite(shown.mean):
        parts.append("no training curves were recorded, so only the end was tested")
    if np.isfinite(share):
        parts.append(
            f"it is the worse one at {100 * share:.0f} % of the logged points past the first "
            f"{100 * SETTLED_SHARE:.0f} % of training"
        )
    if k > 1:
        parts.append(f"intervals hold together for {k} comparisons (Bonferroni)")
    return "; ".join(parts) + "."


DEGRADATION = Claim(
    id="1-degradation",
    title="degradation",
    source="R Figures 1, 4 left, 6 left",
    statement="The deeper plain network has the higher training error, at the end and along "
    "training, so degradation is not overfitting.",
    needs="plain networks of two depths, with equal seeds, trained alike",
    rule="Supported if, for some shallower plain network, the paired 95 % t intervals of (deepest "
    "minus shallower) lie above 0 for the final training error and for the training error averaged "
    "over training, Bonferroni-corrected over the shallower networks; refuted if the interval of "
    "the final error lies below 0 for every one of them. At least two seeds. The share of logged "
    "points at which the deeper one is worse is reported beside it and decides nothing.",
    test=degradation,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any difference above 0 points of training error",
)
