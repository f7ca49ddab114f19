"""Leaky ReLU; the name gives the slope: ``plain-56-leaky0.25``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Activation
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class LeakyReLU(Activation):
    """max(0, z) + a min(0, z) with slope a: 0 is ReLU, 1 the identity."""

    @property
    def gain(self) -> float:
        """2 / (1 + a^2), He et al. 2015, Equation 15."""
        return 2 / (1 + self.number**2)

    @property
    def gradient_growth(self) -> float | None:
        """sqrt((1 + a^2) / (1 + a^2 - (1 - a)^2 / pi)), as Yang et al. 2019 derive ReLU's."""
        square = 1 + self.number**2
        return math.sqrt(square / (square - (1 - self.number) ** 2 / math.pi))

    @property
    def slope(self) -> float:
        """The number in its name."""
        return self.number

    def module(self, channels: int) -> nn.Module:
        """Return torch's module."""
        from torch import nn

        return nn.LeakyReLU(self.number)


register(LeakyReLU(name="leaky", token="leaky", takes=(0.0, 1.0)))
