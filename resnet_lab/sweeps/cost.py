"""What a run costs: multiply-adds, whatever machine it runs on."""

from __future__ import annotations

from resnet_lab.configuration.config import Config
from resnet_lab.networks.complexity import complexity

SHAPES: dict[str, tuple[int, int, int]] = {
    "digits": (10, 1, 8),
    "cifar10": (10, 3, 32),
    "cifar100": (100, 3, 32),
    "imagenet": (1000, 3, 224),
}
"""Classes, channels and side of the images of data sets that are always the same."""


def multiply_adds(config: Config) -> int | None:
    """Multiply-adds of a run's forward passes over its training batches.

    The backward passes take about twice as many again. None for data whose classes and size are
    not known before they are read.
    """
    if config.data.name not in SHAPES:
        return None
    classes, channels, side = SHAPES[config.data.name]
    image = sum(
        complexity(spec, num_classes=classes, in_channels=channels, image_size=side).multiply_adds
        for spec in config.specs()
    )
    return image * config.recipe.batch_size * config.recipe.iterations
