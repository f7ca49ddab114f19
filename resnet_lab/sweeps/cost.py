"""Cost of a run in multiply-adds, independent of the machine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from resnet_lab.configuration.config import Config
from resnet_lab.networks.complexity import complexity
from resnet_lab.sweeps.distributions import Choices, Distribution
from resnet_lab.sweeps.sweep import Sweep, flags

DECIDE = ("config", "network", "data.name", "data.pixels", "recipe.iterations", "recipe.batch_size")
"""Parameters by which runs of one search can differ in cost."""
MAX_CHOICES = 500
"""Most combinations to evaluate; of more, only the first ones are."""


def multiply_adds(config: Config) -> int | None:
    """Multiply-adds of a run's forward passes over its training batches.

    The backward passes take about twice as many again. None for data whose classes and size are
    not known before they are read.
    """
    data = config.data.dataset
    if data.num_classes is None or data.image_shape is None:
        return None
    channels, side, _ = data.image_shape
    image = sum(
        complexity(
            spec, num_classes=data.num_classes, in_channels=channels, image_size=side
        ).multiply_adds
        for spec in config.specs()
    )
    return image * config.recipe.batch_size * config.recipe.iterations


def cost_choices(sweep: Sweep) -> list[tuple[float, list[str]]]:
    """Return (probability, flags) of every combination of parameters that affect a run's cost.

    A range is represented by its two ends: for a uniform range, the mean of a cost proportional
    to it is then exact. Parameters that do not affect cost have their first value.
    """
    columns = [
        list(_weighted(values))
        if name.replace("-", "_") in DECIDE
        else [(1.0, values.extremes()[0])]
        for name, values in sweep.parameters.items()
    ]
    found = [
        (
            math.prod(weight for weight, _ in point),
            flags(dict(zip(sweep.parameters, (value for _, value in point), strict=True))),
        )
        for point in itertools.islice(itertools.product(*columns), MAX_CHOICES)
    ]
    total = sum(weight for weight, _ in found)
    return [(weight / total, point) for weight, point in found]


def _weighted(values: Distribution) -> Iterator[tuple[float, str]]:
    if isinstance(values, Choices):
        weights = values.probabilities or [1 / len(values.values)] * len(values.values)
        yield from zip(weights, values.values, strict=True)
    else:
        ends = values.extremes()
        yield from ((1 / len(ends), end) for end in ends)
