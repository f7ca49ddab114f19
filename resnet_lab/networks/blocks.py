"""Residual blocks, basic and bottleneck, in every ordering (I Figure 4).

Every block is y = after(branch(F(enter(x))) + s(x)); a plain block has no s. The shape table
gives these layers and their order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from resnet_lab.networks.architecture import BlockTable
from resnet_lab.networks.layers import build_layer
from resnet_lab.networks.scaling import LearntScale
from resnet_lab.networks.shortcuts import Projection, build_shortcut
from resnet_lab.networks.spec import NetworkSpec


class Block(nn.Module):
    """Children ``conv1, norm1, activation1, conv2, ..., branch, shortcut``."""

    def __init__(self, spec: NetworkSpec, table: BlockTable) -> None:
        super().__init__()
        for element in table.own:
            self.add_module(element.name, build_layer(spec, element))
        self.branch = _branch(spec, table)
        self.shortcut = build_shortcut(spec, table)
        self._enter, self._residual, self._after = (
            tuple(element.name for element in elements)
            for elements in (table.enter, table.residual, table.after)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        branch, shortcut = self.paths(x)
        return self.after(branch if shortcut is None else branch + shortcut)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return branch(F(x)) and s(x), the terms of the addition; s(x) is None in a plain block.

        Projections take the pre-activated input if there is one; identities take the block's input.
        """
        entered = self._through(self._enter, x)
        seen = entered if isinstance(self.shortcut, Projection) else x
        branch: Tensor = self.branch(self._through(self._residual, entered))
        terms = getattr(self.shortcut, "terms", None)
        if callable(terms):
            both: tuple[Tensor, Tensor | None] = terms(seen, branch)
            return both
        return branch, self.shortcut(seen)

    def after(self, total: Tensor) -> Tensor:
        """Apply the layers that follow the addition."""
        return self._through(self._after, total)

    def _through(self, names: Sequence[str], x: Tensor) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x


def _branch(spec: NetworkSpec, table: BlockTable) -> nn.Module:
    """Return what is done to F(x): the norm's scalar if it has one, then the branch's part."""
    scale, part = spec.parts.norm.scale, spec.parts.branch.module(table)
    if scale is None:
        return part or nn.Identity()
    scalar = LearntScale(initially=scale)
    return nn.Sequential(OrderedDict(scale=scalar, part=part)) if part else scalar
