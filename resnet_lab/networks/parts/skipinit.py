"""SkipInit (De and Smith 2020): y = after(alpha F(x) + s(x)), alpha learnt and 0 at the start.

A residual block is then only its shortcut at the start. The plain twin has the same parameters
but outputs zeros, so it never learns.
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
class SkipInit(Branch):
    """One learnt scalar per block."""

    def module(self, block: BlockTable) -> nn.Module:
        """Return the scaling; its one parameter is called alpha."""
        from resnet_lab.networks.scaling import LearntScale

        return LearntScale(initially=0.0)

    def parameters(self, block: BlockTable) -> int:
        """Alpha."""
        return 1


register(SkipInit(name="skipinit", token="skipinit", zero=True))
