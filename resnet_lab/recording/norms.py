"""Euclidean norms that neither wait for the device nor vanish with what they measure."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def euclidean_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean (Frobenius) norm of each tensor: shape (len(tensors),), float32.

    Squares are summed in float64 where the device has it, because a gradient of 1e-25 squares to
    nothing in float32. The result stays on the tensors' device, and nothing waits for it.
    """
    wide = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    detached = [tensor.detach() for tensor in tensors]
    return torch.stack(torch._foreach_norm(detached, 2, dtype=wide)).float()
