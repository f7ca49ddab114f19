"""Dropout on the shortcut (I, section 3.1): y = after(F(x) + m s(x)).

``resnet-110-dropshortcut0.5`` has option A's shortcut with a rate of 0.5.

The elements of m are 0 with the chance that the name gives, and else 1; in evaluation m is its
expectation. I says of a rate of 0.5 that it imposes a scale of expectation 0.5 on the shortcut, so
nothing is divided by it in training. The masks are a function of seed, block and step.
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
class DropShortcut(Shortcut):
    """Option A's shortcut, some of its elements dropped."""

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return the shortcut with dropout."""
        from resnet_lab.networks.gating import DroppedShortcut

        return DroppedShortcut(identity, self.number)


register(
    DropShortcut(
        name="dropshortcut", token="dropshortcut", said="dropout on the shortcut", takes=(0.0, 1.0)
    )
)
