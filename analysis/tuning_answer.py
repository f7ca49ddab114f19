"""Answer of a tuning in words: whether degradation survives, by how much, how certainly."""

from __future__ import annotations

import pandas as pd

from analysis.claims.claim import Outcome
from analysis.claims.contrast import TOO_FEW, Contrast, points_text
from analysis.claims.project.degradation import judge
from analysis.statistics import together_text
from analysis.text import listed
from analysis.tuning import Tuning, degradation, point_text, shortcut_effects

UNTESTED = (
    "Not tested: it needs plain networks of two depths with equal seeds, each with two learning "
    "rates at which all of its seeds have come to an end."
)
CAUTION = (
    "Mean validation error over seeds chose the rates; training and test errors, those of the last "
    "step, chose nothing."
)


def answer(tuning: Tuning) -> str:
    """Return in words whether degradation survives tuning, with numbers and limits."""
    found = degradation(tuning, "train")
    parts = ["Does degradation survive tuning?"]
    if found:
        outcome, shown = judge(found, [])
        parts += [_yes_or_no(tuning, outcome, shown), _comparison(tuning, shown, len(found))]
    else:
        parts.append(_said(tuning, UNTESTED))
    parts += [*_gain(tuning), _said(tuning, CAUTION), *_edges(tuning), *_unequal(tuning)]
    parts += [*_incomplete(tuning), *_lost(tuning)]
    return " ".join(parts)


def _said(tuning: Tuning, text: str) -> str:
    """Return a sentence on learning rates, reworded for the settings that this tuning varies."""
    if tuning.settings == ("lr",):
        return text
    return text.replace("learning rates", "recipes").replace("the rates", "the recipes")


def _yes_or_no(tuning: Tuning, outcome: Outcome, shown: Contrast) -> str:
    """Return yes or no, qualified where the worse network might improve beyond the grid."""
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
    point = {str(row["short"]): point_text(row, tuning.settings) for _, row in _rows(tuning)}
    kind = "learning rate" if tuning.settings == ("lr",) else "recipe"
    between = ", " if tuning.settings == ("lr",) else "; "
    return (
        f"With each network at its own best {kind} ({shown.first} {point[shown.first]}{between}"
        f"{shown.second} {point[shown.second]}): {points_text(shown, 'training error')}"
        f"{together}{test}."
    )


def _rows(tuning: Tuning) -> list[tuple[object, pd.Series]]:
    return list(tuning.choices.iterrows())


def _gain(tuning: Tuning) -> list[str]:
    """Return the sentence on the deepest residual network against its plain twin, if any."""
    found = shortcut_effects(tuning, "train")
    if not found:
        return []
    depths = tuning.choices.set_index("short")["depth"]
    deepest = max(found, key=lambda one: int(depths[one.first]))
    return [f"With shortcuts: {points_text(deepest, 'training error')}."]


def _edges(tuning: Tuning) -> list[str]:
    """Name the networks whose best point has no neighbour on one side."""
    alone = tuning.settings == ("lr",)
    texts = [
        f"{row['short']} ({row['lr']:g}, the {row['edge']} tried)"
        if alone
        else f"{row['short']} ({row['edge']})"
        for _, row in _rows(tuning)
        if row["edge"]
    ]
    if not texts:
        return []
    what = "a rate" if alone else "a value"
    return [f"The grid is too narrow for {listed(texts)}: {what} beyond it may be better."]


def _unequal(tuning: Tuning) -> list[str]:
    """Report networks that had more rates to choose from than others."""
    counts = tuning.choices["rates"]
    if counts.nunique() < 2:
        return []
    what = "rates" if tuning.settings == ("lr",) else "recipes"
    return [f"Networks chose among unequally many {what}, {counts.min()} to {counts.max()}."]


def _incomplete(tuning: Tuning) -> list[str]:
    """Name the rates left out because some seed has not ended there."""
    table = tuning.rates
    left_out = table[(table["split"] == "validation") & ~table["eligible"]]
    texts = [
        f"{row['short']} at {point_text(row, tuning.settings)} ({row['n']} of {row['seeds']} seeds)"
        for _, row in left_out.iterrows()
    ]
    return [f"Not complete and left out: {listed(texts)}."] if texts else []


def _lost(tuning: Tuning) -> list[str]:
    """Name the networks without a finished seed at any rate."""
    table = tuning.rates
    eligible = table[(table["split"] == "validation") & table["eligible"]]
    best = eligible.groupby("short", sort=False)["best"].any()
    texts = [str(short) for short in best[~best].index]
    return [f"No best rate: {listed(texts)} diverged at every one."] if texts else []
