"""Claim 1: the deeper plain network has the higher training error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    TOO_FEW,
    Contrast,
    by_depth,
    contrasts,
    final_training_error,
    mean_training_error,
    points_text,
    seeds_text,
    unsettled,
)
from analysis.claims.course import course_text, share_worse
from analysis.claims.findings import points_finding
from analysis.claims.learning import (
    Lost,
    guarded,
    lost_seeds,
    more_lost,
    nothing_learnt,
    rates_finding,
    trained_seeds,
)
from analysis.claims.published import published
from analysis.groups import Group
from analysis.statistics import rate_interval


def degradation(group: Group) -> Finding | None:
    """Compare the deepest plain network with each shallower one, at the end and along training.

    Seeds that diverged or collapsed are compared as rates, the others by their errors.
    """
    plain = group.members[group.members["family"] == "plain"]
    ended = plain[plain["status"].isin(["finished", "diverged"])]
    lost = lost_seeds(group, ended)
    trained = trained_seeds(group, ended)
    rates = [lost[name] for name in by_depth(ended)]
    networks = by_depth(trained)
    if len(rates) < 2 or not _paired(ended):
        return None
    if len(networks) < 2:
        return _only_rates(group, plain, rates)
    *shallower, deepest = networks
    end = contrasts(final_training_error(trained), deepest, shallower)
    along = contrasts(mean_training_error(group, trained), deepest, shallower)
    if not end:
        return _only_rates(group, plain, rates)
    outcome, shown = judge(end, along)
    outcome, why = judge_losses(outcome, shown, rates, nothing_learnt(group, ended))
    share = share_worse(
        group.runs.metrics,
        group.finished,
        (shown.first, shown.second),
        float(str(group.settings["iterations"])),
        "train",
    )
    reason = why + _reason(outcome, shown, along, len(shallower), share)
    size = published(group, shown)
    size = size and replace(size, sd=None)  # its spread is one of test errors
    return points_finding(outcome, shown, "training error", reason, group, published=size)


def _paired(members: pd.DataFrame) -> bool:
    """Whether the deepest network shares a seed with a shallower one."""
    deep = members["short"] == by_depth(members)[-1]
    return bool(members.loc[~deep, "seed"].isin(members.loc[deep, "seed"]).any())


def _only_rates(group: Group, plain: pd.DataFrame, rates: Sequence[Lost]) -> Finding:
    """Return the finding on rates of lost seeds, where too few trained to compare errors."""
    outcome, why = judge_losses("undecided", None, rates, nothing_learnt(group, plain))
    why += "No two networks have finished seeds in common."
    return rates_finding(outcome, rates, why, rates[-1].n)


def judge_losses(
    outcome: Outcome, shown: Contrast | None, rates: Sequence[Lost], nothing: str = ""
) -> tuple[Outcome, str]:
    """Return the outcome of errors and lost seeds together, and text on the lost seeds.

    Args:
        outcome: outcome of the errors of seeds that trained.
        shown: the contrast that shows it; None where there is none.
        rates: lost seeds of every network, the shallowest first.
        nothing: why no verdict is possible, or "".
    """
    if nothing:
        return "not under this recipe", f"{nothing}. "
    *shallower, deepest = rates
    if not any(one.count for one in rates):
        unseen = 100 * rate_interval(0, deepest.n)[1]
        return outcome, "" if outcome != "refuted" else (
            f"None of {deepest.n} seeds of {deepest.network} was lost, which a rate of up to "
            f"{unseen:.0f} % allows: this is about seeds that train. "
        )
    told = f"Seeds lost: {', '.join(one.text for one in rates)}"
    if any(more_lost(deepest, one, len(shallower)) for one in shallower):
        return "supported", f"{told}; the deepest network loses more (Fisher's exact test). "
    if outcome == "refuted" and deepest.count:
        return "undecided", f"{told}; leaving lost seeds out refutes nothing. "
    compared = {one.network: one for one in rates}
    if shown is None or outcome != "supported":
        return outcome, f"{told}. "
    found, _ = guarded(outcome, shown, compared)
    extra = "" if found == outcome else "; the shallower network loses more, so nothing is decided"
    return found, f"{told}{extra}. "


def judge(end: Sequence[Contrast], along: Sequence[Contrast]) -> tuple[Outcome, Contrast]:
    """Return the outcome and the contrast that shows it.

    `end` holds the deepest network minus each shallower one at the end of training, `along` the
    same averaged over training (empty where no curves were recorded).
    """
    worse = {one.second for one in along if one.above(0)} if along else {o.second for o in end}
    degraded = [one for one in end if one.above(0) and one.second in worse]
    if degraded:
        return "supported", max(degraded, key=lambda one: one.low)
    if all(one.below(0) for one in end):
        return "refuted", max(end, key=lambda one: one.high)
    return "undecided", max(end, key=lambda one: one.mean)


def _reason(
    outcome: Outcome, shown: Contrast, along: Sequence[Contrast], k: int, share: float
) -> str:
    course = next((one for one in along if one.second == shown.second), None)
    said = {
        "supported": "The deeper plain network fits its own training data worse, so this is not "
        "overfitting",
        "refuted": "The deepest plain network fits the training data better than every shallower "
        "one",
        "undecided": unsettled(shown.n, _open(shown)),
        "not under this recipe": "Networks that learn nothing are alike at every depth",
    }[outcome]
    parts = [said, seeds_text(shown)] if shown.pairs else [said]
    if course is not None:
        parts.append(f"averaged over all of training: {points_text(course, 'training error')}")
    elif np.isfinite(shown.mean):
        parts.append("no training curves were recorded, so only the end was tested")
    if np.isfinite(share):
        parts.append(course_text(share))
    if k > 1:
        parts.append(f"intervals hold together for {k} comparisons (Bonferroni)")
    return "; ".join(parts) + "."


def _open(shown: Contrast) -> str:
    if shown.excluded():
        return f"{TOO_FEW}; or the curves do not differ on average"
    return "The interval does not exclude 0, or the curves do not differ on average"


DEGRADATION = Claim(
    id="1-degradation",
    title="degradation",
    source="R Figures 1, 4 left, 6 left",
    statement="The deeper plain network has the higher training error, at the end and along "
    "training, so degradation is not overfitting.",
    needs="plain networks of two depths, with equal seeds, trained alike",
    rule="Not under this recipe if no plain network's training error is below 90 % of that of "
    "guessing. Supported if, for some shallower plain network, the paired t intervals of (deepest "
    "minus shallower) lie above 0 for the final training error and for the training error averaged "
    "over training, or if the deepest loses more seeds (Fisher's exact test, two-sided 5 %), "
    "Bonferroni-corrected over the shallower networks; refuted if the interval of the final error "
    "lies below 0 for every one of them and the deepest loses no seed. Lost: diverged, or ended "
    "near guessing where others of the network trained. At least two seeds; an interval decides "
    "if it excludes 0 at 99 % (2 or 3 seeds) or 99.8 % (more). The share of logged points at which "
    "the deeper one is worse decides nothing.",
    test=degradation,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any difference above 0 points of training error",
    overturned={
        "supported": "Trained longer, or each depth at its own best rate, the deepest plain "
        "network ends no worse than the shallower ones.",
        "refuted": "The deepest plain network ends above a shallower one, or loses seeds.",
    },
)
