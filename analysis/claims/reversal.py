"""Claim 2: residual networks reverse the degradation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import (
    Contrast,
    by_depth,
    contrast,
    contrasts,
    final_training_error,
    points_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.groups import Group, arms

MARGIN = 1.0
"""Percentage points of training error by which a deeper residual network may be worse than a
shallower one and still count as not worse."""


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
    reason = _reason(outcome, against_plain, against_residual)
    return points_finding(outcome, against_plain, "training error", reason, group)


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

    All of `plain` and `residual` must hold for support, so each keeps its own level; any of `joint`
    (the same contrasts, the twin's first, with intervals that hold together) refutes.
    """
    if plain.high < 0 and all(one.high < MARGIN for one in residual):
        return "supported"
    if joint[0].low > 0 or any(one.low > MARGIN for one in joint[1:]):
        return "refuted"
    return "undecided"


def _reason(outcome: Outcome, plain: Contrast, residual: Sequence[Contrast]) -> str:
    worst = max(residual, key=lambda one: one.high if one.n > 1 else one.mean)
    said = {
        "supported": "With shortcuts the deep network trains better than its plain twin, and no "
        "worse than shallower residual networks",
        "refuted": "The deep residual network is worse than its plain twin, or than a shallower "
        "residual network",
        "undecided": unsettled(plain.n, "The intervals do not settle both comparisons"),
    }[outcome]
    return f"{said}; {points_text(worst, 'training error')} (not worse: below {MARGIN:g} point)."


REVERSAL = Claim(
    id="2-reversal",
    title="reversed by shortcuts",
    source="R Figures 4 right, 6 middle; Tables 2, 6",
    statement="Residual networks reverse the degradation: the deeper residual network trains no "
    "worse than shallower residual ones and better than the plain network of its depth.",
    needs="residual networks of two depths, the deeper with its plain twin, with equal seeds, "
    "trained alike",
    rule="Supported if the paired 95 % t interval of the final training error of (deepest residual "
    "minus its plain twin) lies below 0 and that of (deepest minus shallower residual) lies below "
    f"{MARGIN:g} percentage point for every shallower one; refuted if the first lies above 0 or "
    "one of the others above that margin, Bonferroni-corrected over all of them. At least two "
    "seeds.",
    test=reversal,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any gain over the plain twin; 1 point of training error between depths",
)
