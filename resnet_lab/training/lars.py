"""LARS as a torch optimizer: You, Gitman and Ginsburg 2017, arXiv 1708.03888, algorithm 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT


class LARS(torch.optim.Optimizer):
    """SGD with momentum and a separate learning rate for every layer.

    One-dimensional parameters (biases, norms) are updated by SGD without weight decay, as is the
    convention. Nothing here synchronises with the device; the learning rate may be a tensor.

    Args:
        params: parameters or groups of them.
        lr: global learning rate.
        momentum: fraction of the last step added to the next.
        weight_decay: for parameters with more than one dimension.
        trust_coefficient: target ratio of a layer's step norm to its weight norm, before lr.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return what `closure` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        direction = parameter.grad
        assert direction is not None
        if parameter.dim() > 1:
            decayed = direction.add(parameter, alpha=group["weight_decay"])
            direction = decayed * trust_ratio(parameter, group)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity: Tensor = state["momentum_buffer"]
        velocity.mul_(group["momentum"]).add_(direction * group["lr"])
        parameter.sub_(velocity)


def trust_ratio(weight: Tensor, group: Mapping[str, Any]) -> Tensor:
    """Return a layer's rate (), 1 if its weights or gradients are all zero."""
    assert weight.grad is not None
    length, slope = weight.detach().norm(), weight.grad.norm()
    ratio = group["trust_coefficient"] * length / (slope + group["weight_decay"] * length)
    return torch.where((length > 0) & (slope > 0), ratio, 1.0)
