"""Shortcuts, the one switch between plain and residual: what a block adds from its input.

R 3.3 names three options where a block changes the shape of its input: A, identity with
stride-2 subsampling and zero padding of channels, no parameters; B, a 1x1 projection there and
identity elsewhere; C, projections everywhere. A plain network has one that returns nothing.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.networks.architecture import BlockTable
from resnet_lab.networks.layers import build_layer
from resnet_lab.networks.spec import NetworkSpec


class NoShortcut(nn.Module):
    """Plain: y = F(x)."""

    def forward(self, x: Tensor) -> None:
        """Return nothing to add."""
        return


class Identity(nn.Module):
    """y = F(x) + x (R Equation 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` itself."""
        return x


class PaddedIdentity(nn.Module):
    """Option A: every `stride`-th pixel, and zeros for the channels that the input lacks.

    The input's channels are in the middle, with equally many zeros on both sides (an odd one last).
    R does not say where the zeros go; akamaster's released weights were trained this way.
    (N, C, H, W) -> (N, C + padding, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.behind = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad."""
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, self.before, self.behind))

    def extra_repr(self) -> str:
        """Show the geometry when printed."""
        return f"stride={self.stride}, zeros={self.before}+{self.behind}"


class Projection(nn.Module):
    """Options B and C: y = F(x) + W x with a 1x1 convolution W (R Equation 2), then the norm.

    In full pre-activation W has no norm: its input is already normalised (I, appendix).
    """

    def __init__(self, spec: NetworkSpec, table: BlockTable) -> None:
        super().__init__()
        for element in table.projection:
            self.add_module(element.name, build_layer(spec, element))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        for layer in self.children():
            x = layer(x)
        return x


def build_shortcut(spec: NetworkSpec, table: BlockTable) -> nn.Module:
    """Return the shortcut of one block."""
    return spec.parts.shortcut.module(table, _identity(spec, table))


def _identity(spec: NetworkSpec, table: BlockTable) -> nn.Module:
    if table.place == "projection":
        return Projection(spec, table)
    if table.place == "padded":
        return PaddedIdentity(table.in_channels, table.out_channels, table.stride)
    return Identity() if table.place == "identity" else NoShortcut()
