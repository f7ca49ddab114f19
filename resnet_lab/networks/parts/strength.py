"""A scaled shortcut: y = after(F(x) + lambda s(x)), s option A (``resnet-56-lambda0.5``).

lambda 0 is the plain network and 1 the residual one, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Shortcut
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    from torch import nn

    from resnet_lab.networks.architecture import BlockTable


@dataclass(frozen=True, kw_only=True)
class Strength(Shortcut):
    """The constant scaling of I, section 3.1, applied to the shortcut only."""

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return the scaled identity, or no shortcut for strength 0."""
        from resnet_lab.networks.scaling import Scaled
        from resnet_lab.networks.shortcuts import NoShortcut

        if self.number in (0, 1):
            return identity if self.number else NoShortcut()
        return Scaled(identity, self.number)


register(Strength(name="lambda", token="lambda", said="shortcut times", takes=(0.0, 1.0)))
