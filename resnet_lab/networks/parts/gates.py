"""The gates of I, sections 3.1 and 3.2, on option A's shortcut.

With g(x) = sigmoid(W x + b) for each element, W a 1x1 convolution:

    exclusive gating       y = after(g(x) F(x) + (1 - g(x)) s(x))    resnet-110-exclusivegate6
    shortcut-only gating   y = after(F(x) + (1 - g(x)) s(x))         resnet-110-shortcutgate6

The number is -b at the start, so 6 is I's bias of -6: g begins near 0 and the shortcut open.
Where the shape changes, W has the stride and as many outputs as the block (I does not say). The
plain twin has no gate.
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
class Gated(Shortcut):
    """A gate that closes the shortcut as it opens, and opens the branch if it is `exclusive`."""

    exclusive: bool

    @property
    def has_parameters(self) -> bool:
        """It has a gate in each block."""
        return True

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return the gated shortcut."""
        from resnet_lab.networks.gating import Gate, GatedShortcut

        gate = Gate(block.in_channels, block.out_channels, block.stride, -self.number)
        return GatedShortcut(identity, gate, exclusive=self.exclusive)

    def parameters(self, block: BlockTable) -> int:
        """The gate's weights and biases."""
        return (block.in_channels + 1) * block.out_channels


register(
    Gated(
        name="exclusivegate",
        token="exclusivegate",
        said="exclusive gating",
        takes=(0.0, 20.0),
        exclusive=True,
    ),
    Gated(
        name="shortcutgate",
        token="shortcutgate",
        said="shortcut-only gating",
        takes=(0.0, 20.0),
        exclusive=False,
    ),
)
