"""Stochastic depth (Huang et al. 2016): y = after(b F(x) + s(x)), ``resnet-110-stochdepth0.5``.

b is 0 or 1 for the whole batch: block l of L is dropped with chance p l / L, which rises to the
number p of the name at the last block. In evaluation F(x) is multiplied by its chance to be kept.
The expected number of blocks kept is L - p (L + 1) / 2; for p = 1/2 that is (3 L - 1) / 4, 40.25 of
54. What is dropped is a function of seed, block and step.

A dropped block is computed and not used, so that every step has the same kernels (unlike Huang et
al. it costs the same, and its norms go on averaging). In a plain network a dropped block passes
nothing on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Branch
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    from torch import nn

    from resnet_lab.networks.architecture import BlockTable


@dataclass(frozen=True, kw_only=True)
class StochasticDepth(Branch):
    """Branches dropped at random, later ones more often."""

    def module(self, block: BlockTable) -> nn.Module:
        """Return the module that keeps or drops F(x)."""
        from resnet_lab.networks.scaling import RandomlyDropped

        return RandomlyDropped(self.number * block.index / block.blocks)


register(
    StochasticDepth(
        name="stochdepth", token="stochdepth", said="stochastic depth", takes=(0.0, 1.0)
    )
)
