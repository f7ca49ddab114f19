"""Claim 11: full pre-activation helps at great depth."""

from __future__ import annotations

from analysis.claims.claim import Claim, Finding
from analysis.claims.contrast import (
    TOO_FEW,
    contrast,
    floor_text,
    held_out_error,
    seeds_text,
    unsettled,
)
from analysis.claims.findings import judge, points_finding
from analysis.claims.learning import settled
from analysis.claims.published import published
from analysis.claims.thresholds import GREAT_DEPTH
from analysis.groups import Group, arms


def preactivation(group: Group) -> Finding | None:
    """Compare the deepest network that was trained with both orderings."""
    members = group.finished
    deep = members[(members["family"] == "residual") & (members["depth"] >= GREAT_DEPTH)]
    for shortcut in arms(deep):
        arm = deep[deep["shortcut"] == shortcut]
        by_ordering = {
            ordering: part.drop_duplicates("depth").set_index("depth")["short"]
            for ordering, part in arm.groupby("ordering")
        }
        if not {"original", "preactivation"} <= set(by_ordering):
            continue
        original, pre = by_ordering["original"], by_ordering["preactivation"]
        common = original.index.intersection(pre.index)
        if len(common):
            depth = common.max()
            return _finding(group, str(pre.loc[depth]), str(original.loc[depth]))
    return None


def _finding(group: Group, pre: str, original: str) -> Finding | None:
    values, what = held_out_error(group.finished)
    found = contrast(values, original, pre)
    if found is None:
        return None
    outcome, why = settled(judge(found), [found], group)
    said = {
        "not under this recipe": "Networks that learn nothing are alike in either ordering",
        "supported": "Pre-activation has the lower error",
        "refuted": "Pre-activation has the higher error",
        "undecided": unsettled(
            found.n, TOO_FEW if found.excluded() else "The interval does not exclude 0"
        ),
    }[outcome]
    seeds = f"; {seeds_text(found, 2)}" if found.pairs else ""
    reason = f"{why}{said}{seeds}." + floor_text(group, values, found)
    size = published(group, found)
    return points_finding(outcome, found, what, reason, group, published=size)


PREACTIVATION = Claim(
    id="11-preactivation",
    title="pre-activation helps at great depth",
    source="I Tables 2, 3",
    statement="At great depth a residual network with full pre-activation has the lower test "
    "error.",
    needs=f"a residual network of at least {GREAT_DEPTH} layers with the original ordering and "
    "with full pre-activation, with equal seeds, trained alike",
    rule="Of the deepest such network: supported if the paired 95 % t interval of (original minus "
    "pre-activation) test error lies above 0, refuted if below. At least two seeds.",
    test=preactivation,
    sweep="sweeps/identity_mappings_table2.yaml",
    smallest="any difference above 0 points of test error",
    overturned={
        "supported": "At greater depth, or on more seeds, the original ordering errs as little.",
        "refuted": "Under I's recipe pre-activation is seen to be the better one.",
    },
    across="ordering",
)
