"""Claim 4: shortcut C beats B beats A, and all are far above plain."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import (
    Contrast,
    contrast,
    floor_text,
    held_out_error,
    points_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.groups import Group

FAR = 1.0
"""Percentage points of test error by which plain must be worse than every shortcut."""

ARMS = ("none", "A", "B", "C")

FAR_ONES, COMPARISONS = 3, 5
"""Of five contrasts the first three are plain minus a shortcut."""


def shortcuts(group: Group) -> Finding | None:
    """Compare the four arms of the deepest depth that has them all."""
    members = group.finished
    counts = members[members["shortcut"].isin(ARMS)].groupby("depth")["shortcut"].nunique()
    depths = counts[counts == len(ARMS)].index
    if not len(depths):
        return None
    arms = members[members["depth"] == depths.max()]
    plain, a, b, c = (str(arms.loc[arms["shortcut"] == one, "short"].iloc[0]) for one in ARMS)
    values, what = held_out_error(arms)
    alone, joint = (_compared(values, (plain, a, b, c), k) for k in (1, COMPARISONS))
    if len(alone) < COMPARISONS:
        return None
    outcome = judge(alone, joint)
    shown = alone[FAR_ONES]
    reason = _reason(outcome, alone, what) + floor_text(group, values, shown)
    return points_finding(outcome, shown, what, reason, group)


def _compared(
    values: pd.DataFrame, arms: tuple[str, str, str, str], comparisons: int
) -> list[Contrast]:
    """Return plain minus A, B and C, then A minus B and B minus C."""
    plain, a, b, c = arms
    pairs = [(plain, a), (plain, b), (plain, c), (a, b), (b, c)]
    found = [contrast(values, first, second, comparisons) for first, second in pairs]
    return [one for one in found if one is not None]


def judge(alone: Sequence[Contrast], joint: Sequence[Contrast]) -> Outcome:
    """Return the outcome of plain minus A, B, C, then A minus B and B minus C.

    All must hold for support, so each keeps its own level (`alone`); any of `joint`, whose
    intervals hold together, refutes.
    """
    far, order = alone[:FAR_ONES], alone[FAR_ONES:]
    if all(one.low > FAR for one in far) and all(one.low > 0 for one in order):
        return "supported"
    near = any(one.high < FAR for one in joint[:FAR_ONES])
    reversed_order = any(one.high < 0 for one in joint[FAR_ONES:])
    return "refuted" if near or reversed_order else "undecided"


def _reason(outcome: Outcome, alone: Sequence[Contrast], what: str) -> str:
    said = {
        "supported": "C is better than B and B than A, and plain is far worse than all three",
        "refuted": "Two shortcuts stand the other way round, or plain is not far worse",
        "undecided": unsettled(
            min(one.n for one in alone), "The intervals do not settle all five comparisons"
        ),
    }[outcome]
    nearest = min(alone[:FAR_ONES], key=lambda one: one.low if one.n > 1 else one.mean)
    last = points_text(alone[-1], what)
    return f"{said}; {last}; {points_text(nearest, what)} (far: above {FAR:g} point)."


SHORTCUTS = Claim(
    id="4-shortcuts",
    title="shortcuts C, B, A",
    source="R Table 3",
    statement="Projection shortcuts everywhere (C) are better than where the shape changes (B), "
    "these than none (A), and all are far better than plain.",
    needs="a plain network and residual ones with shortcuts A, B and C of one depth, with equal "
    "seeds, trained alike",
    rule="Of test errors: supported if the paired 95 % t intervals of A minus B and of B minus C "
    f"lie above 0 and those of plain minus each of the three above {FAR:g} percentage point; "
    "refuted if one of the first two lies below 0 or one of the others below that margin, "
    "Bonferroni-corrected over the five. At least two seeds.",
    test=shortcuts,
    sweep="sweeps/paper_table3_shortcuts.yaml, with more seeds",
    smallest="any difference between shortcuts; 1 point between plain and each",
)
