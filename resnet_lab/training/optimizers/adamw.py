"""Adam with decoupled weight decay: Loshchilov and Hutter 2019, arXiv 1711.05101."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnet_lab.configuration.optimizers import Groups, Optimizer, register

if TYPE_CHECKING:
    import torch

    from resnet_lab.configuration.recipe import RecipeConfig


class AdamW(Optimizer):
    """w <- w - lr (m / (sqrt(v) + eps) + weight_decay w), m and v unbiased means of g and g^2.

    Their decay rates are recipe.momentum (beta1) and recipe.beta2.
    """

    name = "adamw"
    settings = ("momentum", "weight_decay", "beta2", "eps")

    def make(self, groups: Groups, recipe: RecipeConfig, device: torch.device) -> Any:
        """Return torch's AdamW; fused on CUDA."""
        import torch

        return torch.optim.AdamW(
            groups,
            lr=recipe.lr,
            betas=(recipe.momentum, recipe.beta2),
            eps=recipe.eps,
            weight_decay=recipe.weight_decay,
            fused=True if device.type == "cuda" else None,
        )

    def scaled_gradient(
        self, weight: torch.Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return g / (sqrt(v) + eps), with the v of the next step."""
        assert weight.grad is not None
        beta2, step = group["betas"][1], state.get("step", 0) + 1
        square = weight.grad.square() * (1 - beta2)
        if "exp_avg_sq" in state:
            square += beta2 * state["exp_avg_sq"]
        root: torch.Tensor = (square / (1 - beta2**step)).sqrt()
        return weight.grad / root.add(group["eps"])


register(AdamW())
