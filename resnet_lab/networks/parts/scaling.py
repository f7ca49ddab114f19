"""Constant scaling of both terms: y = after(a F(x) + a s(x)), s option A.

``resnet-110-scaling0.5`` is I, Table 1, "constant scaling" with 0.5 and 0.5. The row
with shortcut 0.5 and F 1 is ``resnet-110-lambda0.5``.
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
class Scaling(Shortcut):
    """One factor for the shortcut and the branch."""

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return both terms scaled."""
        from resnet_lab.networks.gating import ScaledSum

        return ScaledSum(identity, self.number)


register(
    Scaling(name="scaling", token="scaling", said="shortcut and branch times", takes=(0.01, 1.0))
)
