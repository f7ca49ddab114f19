"""Dirac initialisation (Zagoruyko and Komodakis 2017): convolutions begin as the identity.

Each output map is a copy of an input map, so no map begins dead; with more outputs than inputs
the inputs are repeated. The stem has He's weights, as its inputs are images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Initialisation, WeightPlace
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Dirac(Initialisation):
    """Weight 1 in the centre of the kernel, 0 elsewhere."""

    def std(self, shape: tuple[int, ...], gain: float) -> float:
        """Return the stem's std."""
        return math.sqrt(gain / math.prod(shape[1:]))

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return an identity for every convolution but the stem."""
        if place.name == "stem.conv":
            return super().weights(place, generator)
        import torch

        outputs, inputs, height, width = place.shape
        values = torch.zeros(place.shape, device="cpu")
        each = torch.arange(outputs)
        values[each, each % inputs, height // 2, width // 2] = 1
        return values


register(Dirac(name="dirac", token="dirac"))
