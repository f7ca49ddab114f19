"""Claim 13: a plain network's training error follows the rate at which its gradients explode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import Contrast, contrast, estimate, interval_of, left_out, unsettled
from analysis.claims.dose import DOSES, Doses, doses_in
from analysis.claims.findings import value_finding
from analysis.claims.learning import nothing_learnt
from analysis.claims.thresholds import FLAT
from analysis.groups import Group

UNIT = "points per % of growth a layer"


def dose_response(group: Group) -> Finding | None:
    """Test the slope of training error over the predicted growth, against the twins' slope."""
    doses = doses_in(group)
    if doses is None:
        return None
    slopes = doses.slopes()
    plain, twin = f"plain-{doses.depth}", f"resnet-{doses.depth}"
    against = contrast(slopes, plain, twin)
    if against is None:
        return None
    alone = estimate(slopes, plain)
    nothing = nothing_learnt(group, group.members[group.members["depth"] == doses.depth])
    outcome = "not under this recipe" if nothing else judge(alone, against)
    said = {
        "supported": "Training error rises with the predicted growth, and more than the twins'",
        "refuted": "Training error falls with the predicted growth",
        "undecided": unsettled(alone.n, "The intervals do not settle both comparisons"),
        "not under this recipe": nothing,
    }[outcome]
    reason = (
        f"{said}. {_means(doses, 'plain')}; {_means(doses, 'residual')}. {plain} minus {twin}: "
        f"{against.mean:.3g} {UNIT}, {interval_of(against)}.{_trend(doses)}{left_out(group)}"
    )
    finding = value_finding(outcome, alone, "slope of training error", UNIT, reason)
    evidence = f"{plain} training error rises by {alone.mean:.3g} {UNIT}, {interval_of(alone)}"
    twins = f"{twin}'s by {round(estimate(slopes, twin).mean, 2) + 0.0:.2f}"
    return replace(finding, evidence=evidence, comparison=f"{twins}; predicted before training")


def judge(alone: Contrast, against: Contrast) -> Outcome:
    """Return the outcome of the plain networks' slope, and of their slope minus their twins'."""
    if alone.above(FLAT) and against.above(FLAT):
        return "supported"
    return "refuted" if alone.below(FLAT) else "undecided"


def _means(doses: Doses, family: str) -> str:
    """Return the mean training error at each dose, as text."""
    means = doses.errors(family).mean()
    texts = [f"{error:.1f} % at {growth:.3f}" for growth, error in means.items()]
    return f"{family} training error by predicted growth a layer: {', '.join(texts)}"


def _trend(doses: Doses) -> str:
    """Return Page's trend test of the plain networks' errors, seeds as blocks, as text."""
    errors = doses.errors("plain").to_numpy()
    if len(errors) < 2:
        return ""
    found = stats.page_trend_test(np.round(errors, 6), method="exact")
    return (
        f" Page's test of rising errors over {errors.shape[1]} doses, seeds as blocks: exact "
        f"p = {found.pvalue:.2g}, n = {len(errors)}."
    )


DOSE = Claim(
    id="13-dose",
    title="degradation follows the explosion rate",
    source="measured by this project; growth: Yang et al. 2019",
    statement="The training error of a deep plain batch-norm network rises with the rate at which "
    "theory says that its gradients explode at initialisation; that of its residual twin does not "
    "rise as much.",
    needs=f"a plain batch-norm network and its residual twin with at least {DOSES} activations of "
    "known growth (ReLU, leaky ReLU of several slopes), with equal seeds, trained alike",
    rule="For each seed the slope of a least-squares line: final training error over the predicted "
    "growth a layer (natural logarithm, in percent), of the deepest such networks. Supported if "
    "the 95 % t interval over seeds of the plain networks' slope lies above 0 and the paired one "
    "of plain minus residual slope too, refuted if the first lies below 0. Linear networks (slope "
    "1), whose error has another cause, are left out. At least two seeds.",
    test=dose_response,
    sweep="sweeps/why_dose.yaml",
    smallest="any slope above 0 points per % of growth",
    overturned={
        "supported": "Something else that lowers the explosion by as much, such as another "
        "initialisation, leaves the error where it is.",
        "refuted": "At greater depth, or trained longer, the error rises with the growth.",
    },
    across="activation",
)
