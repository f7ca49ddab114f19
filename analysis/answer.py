"""The answer to the laboratory's question from runs, in one sentence and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.contrast import interval_text
from analysis.claims.pair import Pair, pairs_of
from analysis.groups import split_groups
from analysis.search import apart_from_searches
from resnet_lab.runs.frames import Runs


@dataclass(frozen=True)
class Answer:
    """What a study says of its deepest twins.

    `sentence` gives both training errors; `evidence` their difference with interval and n, and how
    many seeds were left out. `pair` are the twins.
    """

    sentence: str
    evidence: str
    pair: Pair


def answer(runs: Runs) -> Answer | None:
    """Return the answer of the largest group of alike runs with finished twins, or None."""
    for group in split_groups(apart_from_searches(runs)):
        pair = deepest(pairs_of(group))
        if pair is not None:
            return Answer(_sentence(pair), _evidence(pair), pair)
    return None


def deepest(pairs: Sequence[Pair]) -> Pair | None:
    """Return the deepest pair with training errors; with option A where there are several."""
    known = [one for one in pairs if one.end is not None]
    order = {"A": 2, "B": 1}
    return max(known, key=lambda one: (one.depth, order.get(_shortcut(one), 0)), default=None)


def _shortcut(pair: Pair) -> str:
    members = pair.members
    return str(members.loc[members["short"] == pair.residual, "shortcut"].iloc[0])


def _sentence(pair: Pair) -> str:
    plain, residual = _errors(pair)
    images = int(str(pair.group.settings["train_images"]))
    return (
        f"{pair.depth} plain layers end at {plain:.1f} % training error on {images:,} images of "
        f"{pair.group.settings['data']}. {_same(pair)} end at {residual:.1f} %."
    )


def _same(pair: Pair) -> str:
    """Name the residual twin; only option A leaves the layers the same."""
    shortcut = _shortcut(pair)
    return (
        "The same layers with shortcuts" if shortcut == "A" else f"With shortcuts {shortcut} they"
    )


def _errors(pair: Pair) -> tuple[float, float]:
    """Return the mean training errors, in percent, of plain and residual over common seeds."""
    assert pair.end is not None
    _, plain, residual = np.array(pair.end.pairs, dtype=float).T
    return float(plain.mean()), float(residual.mean())


def _evidence(pair: Pair) -> str:
    found = pair.end
    assert found is not None
    lost = int((pair.members["status"] == "finished").sum()) - len(pair.trained)
    without = f" Left out: {lost} that learnt nothing." if lost else ""
    return (
        f"{pair.plain} minus {pair.residual}: {found.mean:.1f} points of training error, "
        f"{interval_text(found.low, found.high, found.n, 1)}.{without}"
    )
