"""Modules that multiply a whole map by one factor."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
