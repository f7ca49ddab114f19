"""The answer of a tuning in words: does degradation survive it, by how much, and how surely?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.claim import Outcome
from analysis.claims.degradation import judge
from analysis.claims.evidence import TOO_FEW, Contrast, points_text
from analysis.statistics import together_text
from analysis.tuning import Tuning, degradation, shortcut_effects

UNTESTED = (
    "Not tested: it needs plain networks of two depths with equal seeds, each with two learning "
    "rates at which all of its seeds have come to an end."
)
CAUTION = (
    "Mean validation error over seeds chose the rates; training and test errors, those of the last "
    "step, chose nothing."
)


def answer(tuning: Tuning) -> str:
    """Say in words whether degradation survives tuning, with its numbers and its limits."""
    found = degradation(tuning, "train")
    parts = ["Does degradation survive tuning?"]
    if found:
        outcome, shown = judge(found, [])
        parts += [_verdict(tuning, outcome, shown), _comparison(tuning, shown, len(found))]
    else:
        parts.append(UNTESTED)
    parts += [*_gain(tuning), CAUTION, *_edges(tuning), *_unequal(tuning)]
    parts += [*_incomplete(tuning), *_lost(tuning)]
    return " ".join(parts)


def _verdict(tuning: Tuning, outcome: Outcome, shown: Contrast) -> str:
    """Yes or no; with reserve where a network that lost might do better beyond the grid."""
    plain = tuning.choices[tuning.choices["family"] == "plain"].set_index("short")["edge"]
    limit = ", as far as this grid goes"
    if outcome == "supported":
        return f"Yes{limit if plain[shown.first] else ''}."
    if outcome == "refuted":
        some = plain.drop(shown.first).ne("").any()
        better = "the deepest plain network trains better than every shallower one"
        return f"No{limit if some else ''}: {better}."
    if shown.n < 2:
        return "Undecided: one seed gives no interval."
    if shown.excluded():
        return f"Undecided. {TOO_FEW}."
    return "Undecided: the interval does not exclude 0."


def _comparison(tuning: Tuning, shown: Contrast, comparisons: int) -> str:
    several = comparisons > 1 and shown.n > 1
    together = f" ({together_text(comparisons)})" if several else ""
    tests = [one for one in degradation(tuning, "test") if one.name == shown.name]
    test = "".join(f"; {points_text(one, 'test error')}" for one in tests)
    rate: pd.Series[float] = tuning.choices.set_index("short")["lr"]
    return (
        f"With each network at its own best learning rate ({shown.first} {rate[shown.first]:g}, "
        f"{shown.second} {rate[shown.second]:g}): {points_text(shown, 'training error')}"
        f"{together}{test}."
    )


def _gain(tuning: Tuning) -> list[str]:
    """The deepest residual network against its plain twin, if there is one."""
    found = shortcut_effects(tuning, "train")
    if not found:
        return []
    depths = tuning.choices.set_index("short")["depth"]
    deepest = max(found, key=lambda one: int(depths[one.first]))
    return [f"With shortcuts: {points_text(deepest, 'training error')}."]


def _edges(tuning: Tuning) -> list[str]:
    """Name the networks whose best rate has no neighbour on one side."""
    chosen = tuning.choices
    texts = [
        f"{row.short} ({row.lr:g}, the {row.edge} tried)"
        for row in chosen[chosen["edge"] != ""].itertuples(index=False)
    ]
    if not texts:
        return []
    return [f"The grid is too narrow for {_listed(texts)}: a rate beyond it may be better."]


def _unequal(tuning: Tuning) -> list[str]:
    """Say where one network had more rates to choose from than another."""
    counts = tuning.choices["rates"]
    if counts.nunique() < 2:
        return []
    return [f"Networks chose among unequally many rates, {counts.min()} to {counts.max()}."]


def _incomplete(tuning: Tuning) -> list[str]:
    """Name the rates that were left out because some seed has not come to an end there."""
    table = tuning.rates
    left_out = table[(table["split"] == "validation") & ~table["eligible"]]
    texts = [
        f"{row.short} at {row.lr:g} ({row.n} of {row.seeds} seeds)"
        for row in left_out.itertuples(index=False)
    ]
    return [f"Not complete and left out: {_listed(texts)}."] if texts else []


def _lost(tuning: Tuning) -> list[str]:
    """Name the networks of which no seed was trained to the end at any rate."""
    table = tuning.rates
    eligible = table[(table["split"] == "validation") & table["eligible"]]
    best = eligible.groupby("short", sort=False)["best"].any()
    texts = [str(short) for short in best[~best].index]
    return [f"No best rate: {_listed(texts)} diverged at every one."] if texts else []


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:-1]) + (" and " if len(texts) > 1 else "") + texts[-1]
