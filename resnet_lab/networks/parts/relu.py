"""ReLU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Activation
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class ReLU(Activation):
    """max(0, z)."""

    @property
    def gradient_growth(self) -> float:
        """sqrt(pi / (pi - 1)) = 1.2112 (Yang et al. 2019)."""
        return math.sqrt(math.pi / (math.pi - 1))

    @property
    def slope(self) -> float:
        """0."""
        return 0.0

    def module(self, channels: int) -> nn.Module:
        """Return torch's module."""
        from torch import nn

        return nn.ReLU()


register(ReLU(name="relu", token="relu"))
