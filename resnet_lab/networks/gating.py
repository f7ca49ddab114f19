"""Modules of the shortcuts of I, section 3: constant scaling, gates and dropout.

`identity` is always the shortcut that is scaled: option A's module of the place.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.networks.chance import Chance


class ScaledSum(nn.Module):
    """factor F(x) + factor s(x)."""

    def __init__(self, identity: nn.Module, factor: float) -> None:
        super().__init__()
        self.identity = identity
        self.factor = factor

    def terms(self, x: Tensor, branch: Tensor) -> tuple[Tensor, Tensor]:
        """Return both terms of the addition."""
        return self.factor * branch, self.factor * self.identity(x)

    def extra_repr(self) -> str:
        """Show the factor when printed."""
        return f"factor={self.factor}"


class Gate(nn.Module):
    """g(x) = sigmoid(W x + b), W a 1x1 convolution with the block's stride.

    W begins as He's, fan-in, whatever the network's initialisation; b begins at `bias`, which
    decides whether the gate begins open or closed.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, bias: float) -> None:
        super().__init__()
        self.stride = stride
        self.initially = bias
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(out_channels))

    def reset_parameters(self) -> None:
        """Draw W from torch's generator and set b."""
        std = math.sqrt(2 / self.weight.shape[1])
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, device="cpu") * std)
        nn.init.constant_(self.bias, self.initially)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride)), each in 0 to 1."""
        return F.conv2d(x, self.weight, self.bias, self.stride).sigmoid()


class GatedShortcut(nn.Module):
    """F(x) + (1 - g(x)) s(x); with `exclusive`, g(x) F(x) + (1 - g(x)) s(x)."""

    def __init__(self, identity: nn.Module, gate: Gate, *, exclusive: bool) -> None:
        super().__init__()
        self.identity = identity
        self.gate = gate
        self.exclusive = exclusive

    def terms(self, x: Tensor, branch: Tensor) -> tuple[Tensor, Tensor]:
        """Return both terms of the addition."""
        gate = self.gate(x)
        return gate * branch if self.exclusive else branch, (1 - gate) * self.identity(x)


class DroppedShortcut(nn.Module):
    """m s(x), each element of m 0 with chance `rate` and else 1; in evaluation (1 - rate) s(x).

    Nothing is divided by 1 - rate in training, so the expected factor is 1 - rate in both modes.
    """

    def __init__(self, identity: nn.Module, rate: float) -> None:
        super().__init__()
        self.identity = identity
        self.rate = rate
        self.chance = Chance()

    def forward(self, x: Tensor) -> Tensor:
        """Return the shortcut with elements dropped."""
        shortcut: Tensor = self.identity(x)
        if not self.training:
            return (1 - self.rate) * shortcut
        dropped = self.chance.happens(self.rate, shortcut.numel()).view(shortcut.shape)
        return torch.where(dropped, 0, shortcut)
