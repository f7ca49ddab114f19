"""Euclidean norms without device synchronisation or underflow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def euclidean_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean (Frobenius) norm of each tensor: shape (len(tensors),), float32.

    Squares are summed in `wide_type`, because the square of 1e-25 underflows in float32. The result
    stays on the tensors' device, without synchronisation.
    """
    detached = [tensor.detach() for tensor in tensors]
    return torch.stack(torch._foreach_norm(detached, 2, dtype=wide_type(tensors[0].device))).float()


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in `wide_type`."""
    return tensor.to(wide_type(tensor.device))


def wide_type(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
