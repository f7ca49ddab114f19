"""Modules that scale, shift or drop a whole map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_lab.networks.chance import Chance


class LearntScale(nn.Module):
    """alpha x, with the scalar parameter ``alpha``."""

    def __init__(self, *, initially: float) -> None:
        super().__init__()
        self.initially = initially
        self.alpha = nn.Parameter(torch.empty(()))

    def reset_parameters(self) -> None:
        """Set alpha to its initial value."""
        nn.init.constant_(self.alpha, self.initially)

    def forward(self, x: Tensor) -> Tensor:
        """Scale `x`."""
        return self.alpha * x


class Scaled(nn.Module):
    """A module whose output is multiplied by `factor`."""

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module = module
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return `factor` times the module's output for `x`."""
        scaled: Tensor = self.factor * self.module(x)
        return scaled

    def extra_repr(self) -> str:
        """Show the factor when printed."""
        return f"factor={self.factor}"


class Shift(nn.Module):
    """x + bias, with the scalar parameter ``bias``, initially 0."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(()))

    def reset_parameters(self) -> None:
        """Set the bias to 0."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shift `x`."""
        return x + self.bias


class RandomlyDropped(nn.Module):
    """x, or 0 with chance `rate`, for the whole batch; in evaluation (1 - rate) x."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.chance = Chance()

    def forward(self, x: Tensor) -> Tensor:
        """Keep or drop `x`."""
        if not self.training:
            return (1 - self.rate) * x
        return torch.where(self.chance.happens(self.rate), 0, x)

    def extra_repr(self) -> str:
        """Show the rate when printed."""
        return f"rate={self.rate}"
