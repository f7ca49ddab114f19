"""Fixup (Zhang, Dauphin and Ma 2019): residual networks without norm (``resnet-56-fixup``).

All its rules in one part, which stands in for the norm:

1. The classifier and the last convolution of each branch begin as 0.
2. The other convolutions of branches have their initial weights times L^(-1/(2m - 2)), with L
   branches of m convolutions each; the stem and projections are left as they are.
3. A scalar bias, initially 0, precedes each convolution (but the stem, as in the authors' code),
   each activation and the classifier, and a learnt scalar, initially 1, multiplies each branch.
   Convolutions have no bias of their own.

A projection's bias follows it. The weights that are scaled are those of the network's
initialisation, He's by default. Each block but that begins as its shortcut, so the plain twin,
which has the same parameters, puts out nothing but biases and cannot learn by its convolutions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Norm, WeightPlace
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Fixup(Norm):
    """Scalar biases and a rule for initial weights."""

    def module(self, channels: int) -> nn.Module:
        """Return the addition of one scalar."""
        from resnet_lab.networks.scaling import Shift

        return Shift()

    def parameters(self, channels: int) -> int:
        """The scalar."""
        return 1

    def placed(self, sequence: str) -> str:
        """Return a bias before each convolution and activation, in place of the norms."""
        return re.sub("[WA]", r"N\g<0>", sequence.replace("N", ""))

    def weight_scale(self, place: WeightPlace) -> float:
        """Return 0, L^(-1/(2m - 2)) or 1."""
        if place.name == "head.classifier":
            return 0.0
        name = re.fullmatch(r"stage\d+\.block\d+\.conv(\d)", place.name)
        if name is None:
            return 1.0
        if int(name[1]) == place.block_depth:
            return 0.0
        return float(place.blocks ** (-1 / (2 * place.block_depth - 2)))


register(Fixup(name="fixup", token="fixup", said="Fixup", scale=1.0, zero=True))
