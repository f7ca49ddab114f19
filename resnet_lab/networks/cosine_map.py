"""C-map of leaky ReLU layers: the cosine of two inputs' representations, one layer on.

For a wide layer of independent Gaussian weights, scaled as He et al. scale them, followed by leaky
ReLU of slope a (Martens et al. 2021, arXiv 2110.01765; Zhang et al. 2022, arXiv 2203.08120):

    C(c)  = c + (1 - a)^2 / (pi (1 + a^2)) (sqrt(1 - c^2) - c arccos c)
    C'(c) = 1 - (1 - a)^2 / (pi (1 + a^2)) arccos c

c is the cosine of the two representations before the layer, after the previous activation and not
centred. C' is the factor by which the layer, on the way back, multiplies the correlation of the two
inputs' gradients. It imports no torch.
"""

from __future__ import annotations

import math


def cosine_map(cosine: float, slope: float = 0.0) -> float:
    """C(c): the cosine after the layer.

    >>> round(cosine_map(0.0), 3)
    0.318
    """
    angle = math.acos(cosine)
    return min(1.0, cosine + _bend(slope) * (math.sin(angle) - cosine * angle))


def gradient_map(cosine: float, slope: float = 0.0) -> float:
    """C'(c): the factor of the gradients' correlation; 1/2 for ReLU at c = 0."""
    return 1 - _bend(slope) * math.acos(cosine)


def _bend(slope: float) -> float:
    return (1 - slope) ** 2 / (math.pi * (1 + slope**2))
