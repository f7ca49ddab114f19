"""Layer-wise adaptive rate scaling: You, Gitman and Ginsburg 2017, arXiv 1708.03888."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnet_lab.configuration.optimizers import Groups, Optimizer, register

if TYPE_CHECKING:
    import torch

    from resnet_lab.configuration.recipe import RecipeConfig


class LARS(Optimizer):
    """v <- momentum v + lr r (g + weight_decay w); w <- w - v (algorithm 1).

    A layer's own rate r is trust_coefficient |w| / (|g| + weight_decay |w|). One-dimensional
    parameters (biases, norms) take r = 1 and do not decay, as is the convention.
    """

    name = "lars"
    settings = ("momentum", "weight_decay", "trust_coefficient")

    def make(self, groups: Groups, recipe: RecipeConfig, device: torch.device) -> Any:
        """Return a LARS optimizer of these groups."""
        from resnet_lab.training import lars

        return lars.LARS(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            trust_coefficient=recipe.trust_coefficient,
        )

    def scaled_gradient(
        self, weight: torch.Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return r g."""
        from resnet_lab.training import lars

        assert weight.grad is not None
        return weight.grad * lars.trust_ratio(weight, group)


register(LARS())
