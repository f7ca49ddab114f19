"""Claim 4: shortcut C beats B beats A, and all are far above plain."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    Contrast,
    contrast,
    floor_text,
    held_out_error,
    points_text,
    seeds_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.claims.learning import settled
from analysis.claims.published import published
from analysis.claims.thresholds import PUBLISHED_ORDER, SHORTCUT_DEPTH, SHORTCUT_MARGIN
from analysis.groups import Group
from analysis.statistics import seeds_to_decide

FAR = SHORTCUT_MARGIN
ARMS = ("none", "A", "B", "C")

FAR_ONES, COMPARISONS = 3, 5
"""Of the five contrasts the first three are plain minus a shortcut; two test the order."""


def shortcuts(group: Group) -> Finding | None:
    """Compare the four arms of the deepest depth, up to `SHORTCUT_DEPTH`, that has them all."""
    members = group.finished[group.finished["depth"] <= SHORTCUT_DEPTH]
    counts = members[members["shortcut"].isin(ARMS)].groupby("depth")["shortcut"].nunique()
    depths = counts[counts == len(ARMS)].index
    if not len(depths):
        return None
    arms = members[members["depth"] == depths.max()]
    plain, a, b, c = (str(arms.loc[arms["shortcut"] == one, "short"].iloc[0]) for one in ARMS)
    values, what = held_out_error(arms)
    alone, joint = (_compared(values, (plain, a, b, c), k) for k in (1, COMPARISONS))
    if len(alone) <= COMPARISONS:
        return None
    outcome = judge(alone, joint)
    outcome, why = settled(outcome, alone, group)
    shown = alone[FAR_ONES]
    reason = why + _reason(outcome, alone, what) + floor_text(group, values, shown)
    comparison = "" if outcome == "not under this recipe" else _comparison(alone)
    size = published(group, shown)
    return points_finding(outcome, shown, what, reason, group, comparison, size)


def _compared(
    values: pd.DataFrame, arms: tuple[str, str, str, str], comparisons: int
) -> list[Contrast]:
    """Return plain minus A, B and C, then A minus B, B minus C and A minus C."""
    plain, a, b, c = arms
    pairs = [(plain, a), (plain, b), (plain, c), (a, b), (b, c), (a, c)]
    found = [contrast(values, first, second, comparisons) for first, second in pairs]
    return [one for one in found if one is not None]


def judge(alone: Sequence[Contrast], joint: Sequence[Contrast]) -> Outcome:
    """Return the outcome of plain minus A, B, C, then A minus B, B minus C and A minus C.

    All must hold for support, so the intervals of `alone` are uncorrected. Any of the first five of
    `joint`, whose intervals hold jointly, refutes. Equivalent: all are far better than plain and
    differ little among themselves, so that their order is not visible.
    """
    far, order = alone[:FAR_ONES], alone[FAR_ONES:COMPARISONS]
    apart = all(one.above(FAR) for one in far)
    if apart and all(one.above(0) for one in order):
        return "supported"
    near = any(one.below(FAR) for one in joint[:FAR_ONES])
    if near or any(one.below(0) for one in joint[FAR_ONES:COMPARISONS]):
        return "refuted"
    return "equivalent" if apart and alike(alone) else "undecided"


def alike(alone: Sequence[Contrast]) -> bool:
    """Whether A, B and C differ by less than `FAR` points among themselves."""
    return all(one.above(-FAR) and one.below(FAR) for one in alone[FAR_ONES:])


def _comparison(alone: Sequence[Contrast]) -> str:
    if alike(alone):
        return f"A, B and C within {FAR:g} point of each other, so projections are not essential"
    return ""


def _reason(outcome: Outcome, alone: Sequence[Contrast], what: str) -> str:
    said = {
        "equivalent": "Plain is far worse than all three, and which of them is best cannot be seen",
        "not under this recipe": "Networks that learn nothing are alike with any shortcut",
        "supported": "C is better than B and B than A, and plain is far worse than all three",
        "refuted": "Two shortcuts stand the other way round, or plain is not far worse",
        "undecided": unsettled(
            min(one.n for one in alone), "The intervals do not settle all five comparisons"
        ),
    }[outcome]
    nearest = min(alone[:FAR_ONES], key=lambda one: one.low if one.n > 1 else one.mean)
    last = points_text(alone[FAR_ONES + 1], what)
    seeds = "".join(f"{seeds_text(one, 2)}; " for one in alone[FAR_ONES:COMPARISONS] if one.pairs)
    return (
        f"{said}; {seeds}{last}; {points_text(nearest, what)} (far: above {FAR:g} point)"
        f"{_seeds_wanted(outcome, alone)}."
    )


def _seeds_wanted(outcome: Outcome, alone: Sequence[Contrast]) -> str:
    """Return how many seeds the published B minus C would need, where the order is open."""
    one = alone[FAR_ONES + 1]
    if outcome not in ("undecided", "equivalent") or one.n < 2 or not one.sd > 0:
        return ""
    return (
        f"; R Table 3's B minus C is {PUBLISHED_ORDER:g} points: with this spread that takes "
        f"{seeds_to_decide(PUBLISHED_ORDER, one.sd):,} seeds (80 % power)"
    )


SHORTCUTS = Claim(
    id="4-shortcuts",
    title="shortcuts C, B, A",
    source="R Table 3",
    statement="All shortcuts are far better than plain and differ little, so projections are not "
    "essential: everywhere (C) they are slightly better than where the shape changes (B), these "
    "than none (A).",
    needs="a plain network and residual ones with shortcuts A, B and C of one depth, with equal "
    f"seeds, trained alike, of at most {SHORTCUT_DEPTH} layers",
    rule="Of test errors: supported if the paired t intervals of A minus B and of B minus C lie "
    f"above 0 and those of plain minus each of the three above {FAR:g} percentage point; refuted "
    "if one of the first two lies below 0 or one of the others below that margin, "
    "Bonferroni-corrected over the five; equivalent if plain is as far from each and A, B and C "
    f"lie within {FAR:g} point of each other. Deeper networks are another question: with 110 "
    "layers C has 12.22 % and A 6.61 % (I Table 1). At least two seeds; an interval decides if it "
    "does so at 99 % (2 or 3 seeds) or 99.8 % (more).",
    test=shortcuts,
    sweep="sweeps/paper_table3_shortcuts.yaml, with more seeds",
    smallest="any difference between shortcuts; 1 point between plain and each",
    overturned={
        "supported": "Other seeds turn the order of A, B and C round.",
        "equivalent": "Two of the shortcuts are seen more than 1 point apart.",
        "refuted": "With as many seeds as R's small differences ask for, the order or the distance "
        "from plain returns.",
    },
)
