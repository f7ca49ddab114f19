"""Initial values: a function of (seed, parameter name, shape), never of what was built before.

Convolutions are normal with mean 0 and the std that the network's initialisation gives (He et al.
2015, "Delving Deep into Rectifiers"), for the gain of its activation. Layers that a part brings
along set their own values in `reset_parameters`, as torch's do; what it draws at random comes from
the seed and the layer's name too. No parameter or buffer is left without a value.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec

CLASSIFIER_GAIN = 2.0


def set_initial_values(network: nn.Module, spec: NetworkSpec, *, seed: int) -> None:
    """Set every parameter and buffer of `network` in place.

    Classifier: He-normal, fan-in. Norms: gamma 1, beta 0, running mean 0 and variance 1. Biases: 0.

    Raises:
        UserError: a part left a parameter or buffer of its own unset; it is named.
    """
    _unset(network)
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            _draw(module.weight, _std(module, spec), seed, f"{name}.weight")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            module.reset_parameters()
        elif callable(reset := getattr(module, "reset_parameters", None)):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(tensor_seed(seed, name))
                reset()
    _check_set(network, spec)


def tensor_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the parameter `name`; the same on every machine and Python version."""
    digest = hashlib.sha256(f"initial value/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _std(module: nn.Conv2d | nn.Linear, spec: NetworkSpec) -> float:
    if isinstance(module, nn.Linear):
        return math.sqrt(CLASSIFIER_GAIN / module.in_features)
    return spec.parts.init.std(tuple(module.weight.shape), spec.parts.activation.gain)


def _draw(weight: Tensor, std: float, seed: int, name: str) -> None:
    """Fill `weight` from its own generator, on the CPU so that devices agree."""
    generator = torch.Generator(device="cpu").manual_seed(tensor_seed(seed, name))
    values = torch.randn(weight.shape, generator=generator, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        weight.copy_(values * std)


def _mark(tensor: Tensor) -> float:
    """What no initial value is."""
    return math.nan if tensor.is_floating_point() else torch.iinfo(tensor.dtype).min


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers by name; truth values, which have no mark, are left out."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return [(name, one) for name, one in named if one.dtype != torch.bool]


@torch.no_grad()
def _unset(network: nn.Module) -> None:
    for _, tensor in _tensors(network):
        tensor.fill_(_mark(tensor))


@torch.no_grad()
def _check_set(network: nn.Module, spec: NetworkSpec) -> None:
    for name, tensor in _tensors(network):
        mark = _mark(tensor)
        left = tensor.isnan() if mark != mark else tensor == mark
        if bool(left.any()):
            owner = type(network.get_submodule(name.rpartition(".")[0])).__name__
            raise UserError(
                f"{spec.name}: {name} has no initial value; give {owner} a method "
                "reset_parameters that sets all its parameters and buffers"
            )
