"""What one run of a search may cost: every choice that decides it, with its probability."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from resnet_lab.sweeps.distributions import Choices, Distribution
from resnet_lab.sweeps.sweep import Sweep, flags

DECIDE = ("config", "network", "data.name", "recipe.iterations", "recipe.batch_size")
"""Parameters by which runs of one search can differ in cost."""
MOST = 500
"""Choices that are looked at; of more, the first ones stand for all."""


def cost_choices(sweep: Sweep) -> list[tuple[float, list[str]]]:
    """Return (probability, flags) of every combination of what decides the cost of a run.

    A range is represented by its two ends, so that the mean of what is proportional to it is exact
    where it is uniform. What decides nothing has its first value.
    """
    columns = [
        list(_weighted(values)) if name.replace("-", "_") in DECIDE else [(1.0, _first(values))]
        for name, values in sweep.parameters.items()
    ]
    found = [
        (
            math.prod(weight for weight, _ in point),
            flags(dict(zip(sweep.parameters, (value for _, value in point), strict=True))),
        )
        for point in itertools.islice(itertools.product(*columns), MOST)
    ]
    total = sum(weight for weight, _ in found)
    return [(weight / total, point) for weight, point in found]


def _weighted(values: Distribution) -> Iterator[tuple[float, str]]:
    if isinstance(values, Choices):
        weights = values.probabilities or [1 / len(values.values)] * len(values.values)
        yield from ((weight, one) for weight, one in zip(weights, values.values, strict=True))
    else:
        ends = values.extremes()
        yield from ((1 / len(ends), end) for end in ends)


def _first(values: Distribution) -> str:
    return values.extremes()[0]
