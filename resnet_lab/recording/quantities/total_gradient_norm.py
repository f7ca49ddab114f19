"""Norm of a network's whole gradient, the one that clip_scope "network" limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.moments import BeforeUpdate


def total_gradient_norm(now: BeforeUpdate) -> Tensor:
    """Return the norm of the gradients of all parameters, norms and biases included: shape (1,)."""
    import torch

    from resnet_lab.recording.norms import euclidean_norms

    weights = {f"{site.name}.weight" for site in now.sites}
    others = [
        parameter.grad
        for name, parameter in now.network.named_parameters()
        if name not in weights and parameter.grad is not None
    ]
    norms = [now.gradient_norms, euclidean_norms(others)] if others else [now.gradient_norms]
    return euclidean_norms([torch.cat(norms)])


register(
    Quantity(
        name="total_gradient_norm",
        at="network",
        needs="gradients",
        label="total gradient norm",
        formula="Euclidean norm of the gradients of all parameters together, before any clipping; "
        "runs recorded before it existed lack it",
        measure=total_gradient_norm,
        place=90,
    )
)
