"""Stochastic gradient descent with momentum, as the paper trained (R 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_lab.configuration.optimizers import Groups, Optimizer, register

if TYPE_CHECKING:
    import torch

    from resnet_lab.configuration.recipe import RecipeConfig


class SGD(Optimizer):
    """v <- momentum v + g + weight_decay w; w <- w - lr v. Every parameter decays."""

    name = "sgd"
    settings = ("momentum", "nesterov", "weight_decay")

    def make(self, groups: Groups, recipe: RecipeConfig, device: torch.device) -> Any:
        """Return torch's SGD; fused on CUDA, where one kernel then updates a whole member. On the
        CPU fusing would gain nothing and round differently.
        """
        import torch

        return torch.optim.SGD(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=True if device.type == "cuda" else None,
        )


register(SGD())
