"""Euclidean norms without device synchronisation or underflow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def euclidean_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean (Frobenius) norm of each tensor: shape (len(tensors),), float32.

    Squares are summed in float64 where the device has it, because the square of 1e-25
    underflows in float32. The result stays on the tensors' device, without synchronisation.
    """
    wide = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    detached = [tensor.detach() for tensor in tensors]
    return torch.stack(torch._foreach_norm(detached, 2, dtype=wide)).float()
