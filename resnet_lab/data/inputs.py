"""Description of the inputs that weights were trained on, stored in the weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnet_lab.data.config import NormaliseKind
from resnet_lab.data.normalisation import Normalisation
from resnet_lab.errors import UserError
from resnet_lab.field_types import check_fields, refusal


@dataclass(frozen=True)
class Inputs:
    """The images that a network was trained on, and how they were normalised.

    data: name of the dataset. protocol: its split, such as "45k/5k". kind: of `normalisation`,
    whose numbers are those of training. image_shape: (channels, height, width) of an input.
    classes: their names in the order of the outputs, if the dataset has names.
    """

    data: str
    protocol: str
    kind: NormaliseKind
    normalisation: Normalisation
    image_shape: tuple[int, int, int]
    num_classes: int
    classes: tuple[str, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain types and tensors, which `torch.load(weights_only=True)` reads."""
        return {
            "data": self.data,
            "protocol": self.protocol,
            "normalise": self.kind,
            "mean": self.normalisation.mean,
            "std": self.normalisation.std,
            "image_shape": list(self.image_shape),
            "num_classes": self.num_classes,
            "classes": None if self.classes is None else list(self.classes),
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Inputs:
        """Read the result of `as_dict`; raise `UserError` for anything else."""
        try:
            found = cls(
                data=said["data"],
                protocol=said["protocol"],
                kind=said["normalise"],
                normalisation=_normalisation(said["mean"], said["std"]),
                image_shape=said["image_shape"],
                num_classes=said["num_classes"],
                classes=said["classes"],
            )
            check_fields(found, refusal("inputs"))
            if len(found.image_shape) != 3:
                raise ValueError(f"image_shape is {found.image_shape}")
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise UserError(f"what it says of its inputs cannot be read: {why}") from error
        return found


def _normalisation(mean: Any, std: Any) -> Normalisation:
    """Check mean and std: shapes (C, H, W) and (C, 1, 1), finite, no std of 0."""
    parts = [mean] if std is None else [mean, std]
    for part in parts:
        sound = isinstance(part, Tensor) and part.layout == torch.strided and not part.is_meta
        if not sound or part.ndim != 3 or not part.is_floating_point() or not part.is_contiguous():
            raise TypeError("mean and std must be tensors of shape (C, H, W)")
        if not part.isfinite().all() or len(part) != len(mean):
            raise ValueError("mean and std must be finite, one for each channel")
    if std is not None and (std.shape[1:] != (1, 1) or not (std > 0).all()):
        raise ValueError("std must be above 0, one for each channel")
    return Normalisation(mean.float(), None if std is None else std.float())
