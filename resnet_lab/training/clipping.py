"""Gradient clipping that never couples one network with another."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.utils import clip_grad_norm_


def clip_gradients(network: nn.Module, limit: float, scope: Literal["layer", "network"]) -> None:
    """Scale gradients down so that no norm exceeds `limit`.

    Args:
        network: the network whose gradients are scaled in place.
        limit: largest Euclidean norm.
        scope: "layer" limits each parameter tensor separately, "network" all of them together.
    """
    parameters = [p for p in network.parameters() if p.grad is not None]
    if scope == "network":
        clip_grad_norm_(parameters, limit)
        return
    for parameter in parameters:
        clip_grad_norm_([parameter], limit)
