"""Split of the training images into a training and a validation part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_lab.data.config import DataConfig, default_validation_size
from resnet_lab.data.randomness import derived_generator
from resnet_lab.errors import UserError


@dataclass(frozen=True)
class Split:
    """Disjoint, ascending positions (int64) in the training data that together cover it."""

    train: Tensor
    validation: Tensor

    @property
    def label(self) -> str:
        """Short form of the protocol, shown beside every result: "45k/5k", "50k", "1294/143"."""
        parts = (self.train, self.validation) if len(self.validation) else (self.train,)
        return "/".join(_short(len(part)) for part in parts)


def split_training_data(count: int, config: DataConfig) -> Split:
    """Split `count` training images as `config` says.

    The held-out images are drawn at random (not stratified) by `config.split_seed` alone, so
    that runs with different seeds validate on the same images.

    Raises:
        UserError: the validation part would leave nothing to train on.
    """
    held_out = 0 if config.protocol == "full" else _validation_size(count, config)
    order = torch.randperm(count, generator=derived_generator("split", config.split_seed))
    return Split(train=order[held_out:].sort().values, validation=order[:held_out].sort().values)


def _validation_size(count: int, config: DataConfig) -> int:
    size = config.validation_size or default_validation_size(config.name, count)
    assert size is not None
    if size >= count:
        raise UserError(
            f"data: a validation part of {size} leaves nothing of the {count} training images "
            f"of {config.name}; set a smaller validation_size, or protocol 'full'"
        )
    return size


def _short(count: int) -> str:
    return f"{count // 1000}k" if count and count % 1000 == 0 else str(count)
