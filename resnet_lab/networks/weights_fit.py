"""Check that weights belong to a network: tensors fit, and choices without tensors agree.

Networks that differ only in a shortcut without projections, the place of a stride or the order of
norm and ReLU have the same tensors. These choices are compared too, as stated by the file or
implied by the code that wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_lab.errors import UserError
from resnet_lab.networks.network import Network
from resnet_lab.networks.part import Activation, Branch, Ordering, Padding
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.networks.weights_file import listed

_CONVOLUTION = re.compile(r"stage(\d+)\.block(\d+)\.conv(\d)\.weight")
_PROJECTION = re.compile(r"stage(\d+)\.block(\d+)\.shortcut\.conv\.weight")


def check_fit(
    path: Path,
    network: Network,
    tensors: Mapping[str, Tensor],
    said: NetworkSpec | None,
    authors: str | None,
) -> None:
    """Raise `UserError` unless `tensors` are weights of `network`.

    Args:
        path: of the file, for the message.
        network: to load them into.
        tensors: by our names.
        said: the network that the file names, or None.
        authors: the project whose code wrote the file, if not ours.
    """
    problems = _problems(network.state_dict(), tensors)
    if problems:
        hint = _hint(network, tensors, said, authors)
        raise UserError(f"{path}: these weights do not fit {network.spec.name}: {hint}{problems}")
    if said is not None and not same_function(said, network.spec):
        raise UserError(
            f"{path} holds the weights of {said.name}, not of {network.spec.name}: "
            f"give --network {said.name}"
        )
    if authors is not None:
        _check_implied(path, network.spec, authors)


def same_function(one: NetworkSpec, other: NetworkSpec) -> bool:
    """Whether two networks with equal weights compute the same function (`init` is ignored)."""
    return replace(one, init=other.init) == other


# What other projects' code implies


def _check_implied(path: Path, spec: NetworkSpec, authors: str) -> None:
    """Refuse a network that has the same tensors as theirs but computes another function."""
    theirs = _implied(spec)
    if theirs == spec:
        return
    reasons = {
        "shortcut": "whose blocks have shortcuts (option A, which has no parameters)",
        "ordering": "whose blocks have the order of R, activation after addition",
        "stride_in": "whose stride is in the 3x3 convolution of a bottleneck",
    }
    reasons |= {
        axis: f"which have {getattr(theirs.parts, axis).label}"
        for axis in ("activation", "padding", "branch")
    }
    told = [reason for field, reason in reasons.items() if _differ(field, spec, theirs)]
    raise UserError(
        f"{path}: these are {authors}'s weights, {' and '.join(told)}: {spec.name} would do "
        f"something else with them; give --network {theirs.name}"
    )


def _differ(field: str, one: NetworkSpec, other: NetworkSpec) -> bool:
    return bool(getattr(one, field) != getattr(other, field))


def _implied(spec: NetworkSpec) -> NetworkSpec:
    """The network that torchvision's and akamaster's code would build from the same tensors."""
    stride_in = "3x3" if spec.block == "bottleneck" else spec.stride_in
    shortcut = spec.shortcut if spec.parts.shortcut.has_parameters else "A"
    return replace(
        spec,
        stride_in=stride_in,
        shortcut=shortcut,
        ordering=Ordering.default,
        activation=Activation.default,
        padding=Padding.default,
        branch=Branch.default,
    )


# Tensors


def _problems(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """Name the tensors that are missing, unexpected or of another shape; "" if there are none."""
    missing = [
        name for name in expected if name not in tensors and "num_batches_tracked" not in name
    ]
    unexpected = [name for name in tensors if name not in expected]
    differing = [
        f"{name} (expected {_described(expected[name])}, found {_described(tensor)})"
        for name, tensor in tensors.items()
        if name in expected and not _fits(tensor, expected[name])
    ]
    problems = {"missing": missing, "unexpected": unexpected, "different": differing}
    return "; ".join(f"{kind}: {listed(names)}" for kind, names in problems.items() if names)


def _fits(tensor: Tensor, expected: Tensor) -> bool:
    same_kind = tensor.is_floating_point() == expected.is_floating_point()
    has_values = tensor.layout == torch.strided and not tensor.is_meta
    return tensor.shape == expected.shape and same_kind and has_values


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


# Which network it is, from its tensors


def _hint(
    network: Network,
    tensors: Mapping[str, Tensor],
    said: NetworkSpec | None,
    authors: str | None,
) -> str:
    """Suggest the network to ask for, as far as the file or its tensors tell; else ""."""
    if said is not None and not same_function(said, network.spec):
        return f"they are {said.name}'s, so give --network {said.name}; "
    found = _network_of(tensors, network.spec, authors)
    if found is None:
        return ""
    if not same_function(found.spec, network.spec):
        return f"they fit {found.spec.name}, so give --network {found.spec.name}; "
    sizes = [
        (found.num_classes, network.num_classes, "number of classes"),
        (found.in_channels, network.in_channels, "number of the images' channels"),
    ]
    other = [f"{what} is {theirs}, not {ours}" for theirs, ours, what in sizes if theirs != ours]
    return f"their {' and their '.join(other)}; " if other else ""


def _network_of(
    tensors: Mapping[str, Tensor], asked: NetworkSpec, authors: str | None
) -> Network | None:
    """Return the network nearest to `asked` that all `tensors` fit, or None."""
    try:
        spec = replace(asked, **_fields_of(tensors, asked))
        spec = _implied(spec) if authors is not None else spec
        classes, channels = (
            len(tensors["head.classifier.weight"]),
            tensors["stem.conv.weight"].shape[1],
        )
        with torch.device("meta"):
            found = Network(spec, num_classes=classes, in_channels=channels)
    except (UserError, KeyError, IndexError, TypeError):
        return None
    shapes = {name: tensor.shape for name, tensor in found.state_dict().items()}
    fits = all(shapes.get(name) == tensor.shape for name, tensor in tensors.items())
    counters = {name for name in shapes if name.endswith("num_batches_tracked")}
    return found if fits and shapes.keys() - counters <= tensors.keys() else None


def _fields_of(tensors: Mapping[str, Tensor], asked: NetworkSpec) -> dict[str, Any]:
    """The network's fields as its tensors determine them; `asked` decides the rest."""
    convolutions = [found.groups() for name in tensors if (found := _CONVOLUTION.fullmatch(name))]
    blocks = {(stage, block) for stage, block, _ in convolutions}
    bottleneck = any(k == "3" for _, _, k in convolutions)
    layout = "cifar" if len({stage for stage, _ in blocks}) == 3 else "imagenet"
    stem = tensors["stem.conv.weight"].shape
    block = "bottleneck" if bottleneck else "basic"
    return {
        "depth": 2 + (3 if bottleneck else 2) * len(blocks),
        "layout": layout,
        "block": block,
        "shortcut": _shortcut_of(tensors, asked, block),
        "ordering": _ordering_of(tensors, asked),
        "stride_in": asked.stride_in if bottleneck else "1x1",
        "stem": "7x7" if stem[2] == 7 else "3x3",
        "width": stem[0] / (16 if layout == "cifar" else 64),
        "norm": _norm_of(tensors, asked),
    }


def _shortcut_of(tensors: Mapping[str, Tensor], asked: NetworkSpec, block: str) -> str:
    """Option B has projections only in the first block of a stage, C in all blocks."""
    projected = [found.groups() for name in tensors if (found := _PROJECTION.fullmatch(name))]
    if not projected:
        return "A" if asked.parts.shortcut.has_parameters else asked.shortcut
    everywhere = any(number != "1" for _, number in projected)
    everywhere |= block == "basic" and ("1", "1") in projected
    return "C" if everywhere else "B"


def _ordering_of(tensors: Mapping[str, Tensor], asked: NetworkSpec) -> str:
    if asked.ordering == "preactivation" or "head.norm.weight" in tensors:
        return "preactivation" if "head.norm.weight" in tensors else "original"
    return asked.ordering


def _norm_of(tensors: Mapping[str, Tensor], asked: NetworkSpec) -> str:
    if "stem.norm.running_mean" in tensors:
        return "batch"
    if "stem.norm.weight" in tensors:
        return "group"
    return "none" if asked.norm in ("batch", "group") else asked.norm
