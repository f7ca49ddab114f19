"""Claim 6: 1202 layers fit the training data and test worse than 110, so they overfit."""

from __future__ import annotations

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    Contrast,
    contrast,
    estimate,
    final_training_error,
    floor_text,
    held_out_error,
    interval_text,
    seeds_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.claims.learning import settled
from analysis.claims.published import published
from analysis.claims.thresholds import FITTED
from analysis.groups import Group, arms

DEEP, SHALLOW = 1202, 110


def overfitting(group: Group) -> Finding | None:
    """Test the deep network's training error, and its test error against the shallow one's."""
    members = group.finished
    for shortcut in arms(members):
        arm = members[members["shortcut"] == shortcut].drop_duplicates("depth").set_index("depth")
        if DEEP not in arm.index or SHALLOW not in arm.index:
            continue
        deep, shallow = (str(arm.loc[depth, "short"]) for depth in (DEEP, SHALLOW))
        values, what = held_out_error(members)
        worse = contrast(values, deep, shallow)
        if worse is not None:
            fit = estimate(final_training_error(members), deep)
            outcome = judge(fit, worse)
            outcome, why = settled(outcome, [worse], group)
            reason = why + _reason(outcome, fit, worse) + floor_text(group, values, worse)
            size = published(group, worse)
            return points_finding(outcome, worse, what, reason, group, published=size)
    return None


def judge(fit: Contrast, worse: Contrast) -> Outcome:
    """Return the outcome of the deep net's training error and of deep minus shallow test error."""
    if fit.below(FITTED) and worse.above(0):
        return "supported"
    return "refuted" if fit.above(FITTED) or worse.below(0) else "undecided"


def _reason(outcome: Outcome, fit: Contrast, worse: Contrast) -> str:
    said = {
        "not under this recipe": "Networks that learn nothing overfit nothing",
        "supported": "The deep network fits its training data and tests worse: it overfits",
        "refuted": "The deep network does not fit its training data, or does not test worse",
        "undecided": unsettled(min(fit.n, worse.n), "The intervals do not settle both comparisons"),
    }[outcome]
    error = f"{fit.mean:.3f} %, {interval_text(fit.low, fit.high, fit.n, 3)}"
    said += f"; {seeds_text(worse, 2)}" if worse.pairs else ""
    return f"{said}; {fit.first} training error {error} (fitted: below {FITTED:g} %)."


OVERFITTING = Claim(
    id="6-overfitting",
    title="1202 layers overfit",
    source="R 4.2, Figure 6 right, Table 6",
    statement="The residual network of 1202 layers has a training error below 0.1 % and a higher "
    "test error than that of 110 layers: it overfits.",
    needs="resnet-1202 and resnet-110, with equal seeds, trained alike",
    rule="Supported if the 95 % t interval of the training error of 1202 layers (mean over the "
    f"last epoch) lies below {FITTED:g} % and the paired interval of the test error of 1202 minus "
    "110 layers above 0; refuted if the first lies above, or the second below 0. At least two "
    "seeds.",
    test=overfitting,
    sweep="sweeps/paper_fig6_110.yaml and sweeps/paper_fig6_1202.yaml, with more seeds",
    smallest="any difference of test error above 0; a training error of 0.1 %",
    overturned={
        "supported": "With stronger regularisation or more data 1202 layers have the lower test "
        "error.",
        "refuted": "Trained for the paper's 64k iterations, 1202 layers fit the training images "
        "and still err more than 110.",
    },
)
