"""What a run costs: multiply-adds, whatever machine it runs on."""

from __future__ import annotations

from resnet_lab.configuration.config import Config
from resnet_lab.data.dataset import DATASETS
from resnet_lab.networks.complexity import complexity


def multiply_adds(config: Config) -> int | None:
    """Multiply-adds of a run's forward passes over its training batches.

    The backward passes take about twice as many again. None for data whose classes and size are
    not known before they are read.
    """
    data = DATASETS.get(config.data.name)
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
