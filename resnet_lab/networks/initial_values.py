"""Initial values: a function of (seed, parameter name, shape), never of what was built before.

He et al. 2015, "Delving Deep into Rectifiers": weights of a convolution are normal with mean 0
and variance 2/fan, where fan-in = inputs * kernel area (Caffe's default, which R used) and
fan-out = outputs * kernel area.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from resnet_lab.networks.spec import Init


def set_initial_values(network: nn.Module, *, init: Init, seed: int) -> None:
    """Set every parameter and buffer of `network` in place.

    Convolutions: He-normal with the fan of `init`. Classifier: He-normal, fan-in. Norms: gamma 1,
    beta 0, running mean 0 and variance 1. Biases: 0.
    """
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan = _fan(module.weight, "fan-in" if isinstance(module, nn.Linear) else init)
            _draw(module.weight, math.sqrt(2.0 / fan), seed, f"{name}.weight")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            module.reset_parameters()


def tensor_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the parameter `name`; the same on every machine and Python version."""
    digest = hashlib.sha256(f"initial value/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _fan(weight: Tensor, init: Init) -> int:
    """How many weights (out, in, ...) feed one output, or (fan-out) are fed by one input."""
    return weight[0].numel() if init == "fan-in" else weight[:, 0].numel()


def _draw(weight: Tensor, std: float, seed: int, name: str) -> None:
    """Fill `weight` from its own generator, on the CPU so that devices agree."""
    generator = torch.Generator(device="cpu").manual_seed(tensor_seed(seed, name))
    values = torch.randn(weight.shape, generator=generator, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        weight.copy_(values * std)
