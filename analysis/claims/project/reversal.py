"""Claim 2: residual networks reverse the degradation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    Contrast,
    by_depth,
    contrast,
    contrasts,
    final_training_error,
    points_text,
    seeds_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.claims.learning import settled
from analysis.claims.thresholds import REVERSAL_MARGIN
from analysis.groups import Group, arms

MARGIN = REVERSAL_MARGIN
CANNOT = "degradation removed; which residual depth is better cannot be seen"


def reversal(group: Group) -> Finding | None:
    """Compare the deepest residual network with its plain twin and with shallower residual ones."""
    residual, deepest, twin = _matched(group.finished)
    if deepest is None or twin is None:
        return None
    shallower = by_depth(residual)[: by_depth(residual).index(deepest)]
    values = final_training_error(group.finished)
    against_plain = contrast(values, deepest, twin)
    against_residual = contrasts(values, deepest, shallower, together=False)
    if against_plain is None or not against_residual:
        return None
    outcome = judge(against_plain, against_residual, contrasts(values, deepest, [twin, *shallower]))
    compared = [against_plain, *against_residual]
    outcome, why = settled(outcome, compared, group)
    reason = why + _reason(outcome, against_plain, against_residual)
    comparison = _comparison(outcome, against_plain, against_residual)
    return points_finding(
        outcome, against_plain, "training error", reason, group, comparison=comparison
    )


def _matched(members: pd.DataFrame) -> tuple[pd.DataFrame, str | None, str | None]:
    """Return one residual arm, its deepest network that has a plain twin, and that twin."""
    plain = members[members["family"] == "plain"].drop_duplicates("depth").set_index("depth")
    for shortcut in arms(members):
        arm = members[(members["family"] == "residual") & (members["shortcut"] == shortcut)]
        common = arm[arm["depth"].isin(plain.index)].sort_values("depth")
        if not common.empty and arm["depth"].nunique() > 1:
            last = common.iloc[-1]
            return arm, str(last["short"]), str(plain.loc[last["depth"], "short"])
    return members.iloc[:0], None, None


def judge(plain: Contrast, residual: Sequence[Contrast], joint: Sequence[Contrast]) -> Outcome:
    """Return the outcome of the deepest residual network against its twin and shallower ones.

    `residual` begins with the shallowest one. All must hold for support, so their intervals are
    uncorrected. Any of `joint` (the same contrasts, the twin's first, with intervals that hold
    jointly) refutes. Equivalent: the degradation is removed, and no depth is better.
    """
    if joint[0].above(0) or any(one.above(MARGIN) for one in joint[1:]):
        return "refuted"
    if not removed(plain, residual):
        return "undecided"
    if residual[0].below(0):
        return "supported"
    return "equivalent" if all(one.above(-MARGIN) for one in residual) else "undecided"


def removed(plain: Contrast, residual: Sequence[Contrast]) -> bool:
    """Whether the deepest is better than its twin, and worse than no shallower one by `MARGIN`."""
    return plain.below(0) and all(one.below(MARGIN) for one in residual)


def _comparison(outcome: Outcome, plain: Contrast, residual: Sequence[Contrast]) -> str:
    if outcome == "supported":
        return f"deeper is better: {points_text(residual[0], 'training error')}"
    if outcome == "equivalent" or (outcome == "undecided" and removed(plain, residual)):
        return CANNOT
    return ""


def _reason(outcome: Outcome, plain: Contrast, residual: Sequence[Contrast]) -> str:
    worst = max(residual, key=lambda one: one.high if one.n > 1 else one.mean)
    said = {
        "supported": "With shortcuts the deep network trains better than its plain twin and than "
        "the shallowest residual network, and no worse than the others",
        "equivalent": "With shortcuts the deep network trains better than its plain twin, and as "
        "well as shallower residual networks",
        "not under this recipe": "Networks that learn nothing are alike at every depth",
        "refuted": "The deep residual network is worse than its plain twin, or than a shallower "
        "residual network",
        "undecided": unsettled(plain.n, "The intervals do not settle both comparisons"),
    }[outcome]
    parts = [said, *(text for text in (seeds_text(one) for one in (plain, *residual)) if text)]
    parts.append(f"{points_text(worst, 'training error')} (not worse: below {MARGIN:g} point)")
    return "; ".join(parts) + "."


REVERSAL = Claim(
    id="2-reversal",
    title="reversed by shortcuts",
    source="R Figures 4 right, 6 middle; Tables 2, 6",
    statement="Residual networks reverse the degradation: the deeper residual network trains "
    "better than shallower residual ones and than the plain network of its depth.",
    needs="residual networks of two depths, the deeper with its plain twin, with equal seeds, "
    "trained alike",
    rule="Supported if the paired t intervals of the final training error of (deepest residual "
    "minus its plain twin) and of (deepest minus shallowest residual) lie below 0 and that of "
    f"(deepest minus shallower residual) below {MARGIN:g} percentage point for every shallower "
    f"one; equivalent if the second lies within +-{MARGIN:g} point instead: the degradation is "
    "removed, and which depth is better cannot be seen; refuted if the first lies above 0 or one "
    "of the others above that margin, Bonferroni-corrected over all of them. At least two seeds; "
    "an interval decides if it does so at 99 % (2 or 3 seeds) or 99.8 % (more).",
    test=reversal,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any gain over the plain twin; 1 point of training error between depths",
    overturned={
        "supported": "A deeper residual network ends more than 1 point above a shallower one, or "
        "no longer below its plain twin.",
        "equivalent": "Away from the floor one depth is seen to train better.",
        "refuted": "Trained longer, the deepest residual network catches up.",
    },
)
