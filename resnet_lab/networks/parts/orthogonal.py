"""Delta-orthogonal initialisation (Xiao et al. 2018): an orthogonal matrix in the kernel's centre.

``plain-56-deltaorthogonal``. The rest of the kernel is 0, so each position is handled alone. A
convolution of stride 1 with at least as many outputs as inputs multiplies every norm by sqrt(gain);
one with fewer outputs has orthonormal rows instead. With a linear activation (``leaky1``, gain 1)
and no norm, all singular values of the Jacobian of a stage of one width are 1. With ReLU they are
not: half the signal is lost, which gain 2 makes up for on average only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Initialisation, WeightPlace
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DeltaOrthogonal(Initialisation):
    """sqrt(gain) times a uniformly random matrix with orthonormal columns, or rows."""

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return the weights of a convolution."""
        return math.sqrt(place.gain) * delta_orthogonal(place.shape, generator)


def delta_orthogonal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return a kernel (out, in, height, width) with a random orthogonal matrix in its centre.

    The matrix is uniform (Haar): the Q of a Gaussian's QR decomposition with R's diagonal positive.
    It is computed in float64, so that float32 has it to the last digit.
    """
    import torch

    outputs, inputs = shape[:2]
    size = (max(outputs, inputs), min(outputs, inputs))
    normal = torch.randn(size, generator=generator, device="cpu", dtype=torch.float64)
    square, triangle = torch.linalg.qr(normal)
    matrix = square * triangle.diagonal().sign()
    values = torch.zeros(shape, device="cpu")
    kept = matrix if outputs >= inputs else matrix.T
    values[:, :, shape[2] // 2, shape[3] // 2] = kept.float()
    return values


register(DeltaOrthogonal(name="deltaorthogonal", token="deltaorthogonal"))
