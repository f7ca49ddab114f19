"""TAT for leaky ReLU (Zhang et al. 2022): the slope that suits the depth (``plain-56-tat``).

At initialisation a wide layer maps the cosine c of two inputs' representations to C(c) (its C-map,
`resnet_lab.networks.cosine_map`). TAT ("tailored activation transformation", equation 9 and
section 4.1) takes the slope at which L nonlinear layers map c = 0 to 0.9, so that a deep network
still tells inputs apart. L = 20, 54, 108 give a = .181, .448, .584.

A network of `depth` layers has L = depth - 2: one activation for each convolution in its blocks,
in every ordering. The stem's is not counted: c = 0 is meant at the stem's output. Up to L = 12
ReLU itself ends below 0.9, and the slope is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Self

from resnet_lab.networks.cosine_map import cosine_map
from resnet_lab.networks.parts.leaky import LeakyReLU
from resnet_lab.networks.registry import register

TARGET = 0.9
"""Cosine at which the last layer's map of c = 0 ends (Zhang et al. 2022, eta)."""


@dataclass(frozen=True, kw_only=True)
class TailoredLeakyReLU(LeakyReLU):
    """Leaky ReLU whose slope, its `number`, follows from the depth."""

    def at_depth(self, depth: int) -> Self:
        """Return the activation with the slope for L = depth - 2 nonlinear layers."""
        return replace(self, number=tailored_slope(depth - 2))

    @property
    def gradient_growth(self) -> float | None:
        """That of the slope; None before the depth is known."""
        return None if math.isnan(self.number) else super().gradient_growth


@cache
def tailored_slope(layers: int) -> float:
    """Return the slope at which `layers` C-maps take 0 to `TARGET`; 0 where none does."""

    def missed(slope: float) -> float:
        cosine = 0.0
        for _ in range(layers):
            cosine = cosine_map(cosine, slope)
        return cosine - TARGET

    return 0.0 if missed(0.0) <= 0 else _root(missed)


def _root(function: Callable[[float], float]) -> float:
    from scipy.optimize import brentq  # here, as reading a network's name needs no scipy

    return float(brentq(function, 0.0, 1.0, xtol=1e-12))


register(TailoredLeakyReLU(name="tat", token="tat"))
