"""Claim 9: the early layers of a deep plain batch-norm network freeze after the first steps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import Contrast, contrast, estimate, interval_text, unsettled
from analysis.claims.findings import factor_finding
from analysis.groups import Group, arms
from analysis.layer_dynamics import FROZEN_BELOW, STEM

FIRST, LAST = 16, 100
"""The steps whose recordings are looked at: after the first ones, and before convergence or a lower
learning rate can make updates small as well."""

DEEP = 20
"""Only plain networks with more layers are said to freeze."""

SMALLEST = 1e-300
"""Stands for a relative update of exactly 0, which has no logarithm."""


def stem_update(group: Group) -> pd.DataFrame:
    """Return network, seed and value: the log of the stem's relative update after the first steps.

    The median over recordings from step `FIRST` to `LAST`; of all members, as a network may
    diverge later.
    """
    rows = group.runs.layers
    rows = rows[(rows["quantity"] == "relative_update") & (rows["name"] == STEM)]
    rows = group.of(rows[rows["step"].between(FIRST, LAST)])
    medians = rows.groupby(["short", "seed"])["value"].median().clip(lower=SMALLEST)
    values = medians.map(np.log).dropna().rename_axis(["network", "seed"])
    return values.rename("value").reset_index()


def freeze(group: Group) -> Finding | None:
    """Test whether the stem of the deepest plain network stands still, and its twin's does not."""
    if group.settings["norm"] != "batch":
        return None
    values = stem_update(group)
    members = group.members[group.members["short"].isin(values["network"])]
    plain = members[(members["family"] == "plain") & (members["depth"] > DEEP)]
    if plain.empty:
        return None
    deepest = plain.sort_values("depth").iloc[-1]
    twins = members[members["depth"] == deepest["depth"]]
    for shortcut in arms(twins):
        twin = str(twins.loc[twins["shortcut"] == shortcut, "short"].iloc[0])
        against = contrast(values, str(deepest["short"]), twin)
        if against is not None:
            return _finding(estimate(values, str(deepest["short"])), against)
    return None


def judge(level: Contrast, against: Contrast) -> Outcome:
    """Return the outcome of the plain stem's log relative update and its distance to the twin's."""
    if level.high < np.log(FROZEN_BELOW) and against.high < 0:
        return "supported"
    return "refuted" if level.low > np.log(FROZEN_BELOW) else "undecided"


def _finding(level: Contrast, against: Contrast) -> Finding:
    outcome = judge(level, against)
    said = {
        "supported": "The stem of the plain network stands still, that of its twin moves more",
        "refuted": "The stem of the plain network keeps moving",
        "undecided": unsettled(
            min(level.n, against.n), "The intervals do not settle both comparisons"
        ),
    }[outcome]
    reason = f"{said}; {against.name}: {_decades_text(against)}."
    return factor_finding(outcome, level, "relative update", _level_text(level), reason)


def _level_text(level: Contrast) -> str:
    mean, low, high = (float(np.exp(one)) for one in (level.mean, level.low, level.high))
    interval = "n = 1, no interval"
    if level.n > 1:
        interval = f"95 % interval [{low:.1e}, {high:.1e}], n = {level.n}"
    return f"{level.first} stem's relative update {mean:.1e} at steps {FIRST} to {LAST}, {interval}"


def _decades_text(found: Contrast) -> str:
    mean, low, high = (one / np.log(10) for one in (found.mean, found.low, found.high))
    return f"{mean:.1f} decades, {interval_text(low, high, found.n)}"


FREEZE = Claim(
    id="9-freeze",
    title="early layers freeze",
    source="measured by this project",
    statement="In a deep plain batch-norm network the early layers freeze after the first steps; "
    "those of its residual twin do not.",
    needs=f"recordings at steps {FIRST} to {LAST} of a plain batch-norm network of more than "
    f"{DEEP} layers and of its residual twin, with equal seeds, trained alike",
    rule="A stem's level is the median of its relative update lr |g| / |w| at the recorded steps "
    f"{FIRST} to {LAST}. Supported if, in the deepest plain network, its 95 % t interval over "
    f"seeds (on the logarithm) lies below {FROZEN_BELOW:g} and the paired interval of plain over "
    "residual twin lies below 1; refuted if the first lies above. At least two seeds.",
    test=freeze,
    sweep="sweeps/cifar10_freeze.yaml, with more seeds",
    smallest=f"a relative update of {FROZEN_BELOW:g}",
)
