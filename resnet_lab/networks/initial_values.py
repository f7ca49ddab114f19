"""Initial values: a function of (seed, parameter name, shape), not of construction order.

Convolutions are normal with mean 0 and the std that the network's initialisation gives (He et al.
2015, "Delving Deep into Rectifiers"), for the gain of its activation. Layers of a part set their
own values in `reset_parameters`, as torch's do; their random numbers also depend only on the seed
and the layer's name. No parameter or buffer is left without a value.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks.part import WeightPlace
from resnet_lab.networks.spec import NetworkSpec

CLASSIFIER_GAIN = 2.0


def set_initial_values(network: nn.Module, spec: NetworkSpec, *, seed: int) -> None:
    """Set every parameter and buffer of `network` in place.

    Classifier: He-normal, fan-in. Norms: gamma 1, beta 0, running mean 0 and variance 1. Biases: 0.
    What stands in for a norm may scale weights (Fixup does).

    Raises:
        UserError: a part left a parameter or buffer of its own unset; it is named.
    """
    _unset(network)
    for name, module in reversed(list(network.named_modules())):  # children before parents
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            _set_weights(module, spec, seed, name)
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


@torch.no_grad()
def _set_weights(module: nn.Conv2d | nn.Linear, spec: NetworkSpec, seed: int, name: str) -> None:
    """Set a layer from its own generator; its biases are 0."""
    generator = torch.Generator(device="cpu").manual_seed(tensor_seed(seed, f"{name}.weight"))
    place, init = _place(spec, name, tuple(module.weight.shape)), spec.parts.init
    if isinstance(module, nn.Linear) and not init.classifier:
        std = math.sqrt(CLASSIFIER_GAIN / module.in_features)
        weights = torch.randn(place.shape, generator=generator, device="cpu") * std
    else:
        weights = init.weights(place, generator)
    module.weight.copy_(weights * spec.parts.norm.weight_scale(place))
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _place(spec: NetworkSpec, name: str, shape: tuple[int, ...]) -> WeightPlace:
    return WeightPlace(
        name=name,
        shape=shape,
        gain=spec.parts.activation.gain,
        depth=spec.depth,
        blocks=sum(stage.blocks for stage in spec.stages),
        block_depth=2 if spec.block == "basic" else 3,
    )


def _mark(tensor: Tensor) -> float:
    """A marker value that no initial value equals, to detect tensors left unset."""
    return math.nan if tensor.is_floating_point() else torch.iinfo(tensor.dtype).min


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers by name, without booleans, which have no marker value."""
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
