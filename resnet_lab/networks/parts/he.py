"""He initialisation (He et al. 2015): the variance is gain / fan, for fan-in or fan-out.

Fan-in is inputs times kernel area (Caffe's default, which R used), fan-out is outputs times it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from resnet_lab.networks.part import Initialisation
from resnet_lab.networks.registry import register


@dataclass(frozen=True, kw_only=True)
class He(Initialisation):
    """Preserves variance in the forward (`dim` 1, fan-in) or the backward pass (0, fan-out)."""

    dim: int

    def std(self, shape: tuple[int, ...], gain: float) -> float:
        """Return sqrt(gain / fan)."""
        return math.sqrt(gain / (shape[self.dim] * math.prod(shape[2:])))


register(
    He(name="fan-in", token="fanin", dim=1),
    He(name="fan-out", token="fanout", dim=0),
)
