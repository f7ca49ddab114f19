"""Weights in files: our own, torchvision's and akamaster's, translated by name.

A file of ours says which network it holds, and what the inputs of that network are. It says so
where PyTorch keeps what it knows of a state dict besides tensors, so `torch.load` returns a plain
state dict.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from resnet_lab.errors import UserError
from resnet_lab.files import user_path, write_bytes
from resnet_lab.networks.network import Network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.networks.weights_file import classifier_of, read_state, refuse_twice, unknown
from resnet_lab.networks.weights_fit import check_fit

WeightsFormat = Literal["resnet_lab", "torchvision", "akamaster"]

# The name of the classifier tells the formats apart.
_FORMATS: dict[str, WeightsFormat] = {
    "head.classifier": "resnet_lab",
    "fc": "torchvision",
    "linear": "akamaster",
}
_DESCRIPTION = 1  # the version of what a file says beside its tensors
_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Weights:
    """A weights file as it was read.

    path: of the file. format: whose names its tensors have. tensors: by our names, on the CPU.
    network: that the file names, None if it names none. inputs: what it says of the inputs, as it
    was given to `save_weights`; None if nothing.
    """

    path: Path
    format: WeightsFormat
    tensors: Mapping[str, Tensor]
    network: NetworkSpec | None = None
    inputs: Mapping[str, Any] | None = None

    @property
    def authors(self) -> str | None:
        """Whose code wrote the file, if not ours."""
        return None if self.format == "resnet_lab" else self.format

    def check(self, spec: NetworkSpec) -> None:
        """Raise `UserError` unless these are weights of `spec`, for any classes and channels."""
        classes = self._size("head.classifier.weight", 0)
        channels = self._size("stem.conv.weight", 1)
        with torch.device("meta"):
            network = Network(spec, num_classes=classes, in_channels=channels)
        check_fit(self.path, network, self.tensors, self.network, self.authors)

    def _size(self, name: str, dimension: int) -> int:
        """A size of a tensor; 1 where there is none, which `check_fit` will say."""
        shape = self.tensors[name].shape if name in self.tensors else ()
        return shape[dimension] if len(shape) > dimension else 1

    def set_in(self, network: Network) -> None:
        """Set all parameters and buffers of `network`; see `load_weights`."""
        check_fit(self.path, network, self.tensors, self.network, self.authors)
        network.load_state_dict({**network.state_dict(), **self.tensors})


def save_weights(
    network: Network, path: str | Path, *, inputs: Mapping[str, Any] | None = None
) -> None:
    """Write the state dict of `network` to `path`, whole or not at all (temporary file, rename).

    The file says which network it holds. `inputs`, plain types and tensors, says what else it takes
    to evaluate it: `Data.inputs().as_dict()` of the data that it was trained on.
    """
    path = user_path(path)
    state: Any = network.state_dict()  # an OrderedDict, whose _metadata is stored with it
    for name, tensor in list(state.items()):
        state[name] = tensor.detach().cpu()
    said = {"description": _DESCRIPTION, "network": network.spec.name}
    state._metadata["resnet_lab"] = said if inputs is None else {**said, "inputs": dict(inputs)}
    buffer = io.BytesIO()
    torch.save(state, buffer)  # by itself it hides why a file cannot be written
    write_bytes(path, buffer.getbuffer())


def load_weights(path: str | Path, network: Network) -> WeightsFormat:
    """Set all parameters and buffers of `network` from `path`; return the format found there.

    Accepted: files of `save_weights`; torchvision's state dicts of resnet18 to resnet152;
    akamaster's; each also as the one state dict inside a checkpoint, under any key, and with the
    prefixes of DataParallel, torch.compile or a Lightning module. Batch norms' counters of batches
    may be missing, as in files from before PyTorch 0.4.1. Raises `UserError` for a file that is
    missing, damaged, no weights, or those of another network, even one with the same tensors;
    the network is then unchanged.
    """
    weights = read_weights(path)
    weights.set_in(network)
    return weights.format


def read_weights(path: str | Path) -> Weights:
    """Read a weights file of any known format. Raises `UserError` for a file that is none."""
    path = user_path(path)
    tensors, said = read_state(path)
    classifier = classifier_of(list(tensors))
    if classifier is None:
        raise unknown(path, list(tensors))
    names = [_translated(name) for name in tensors]
    refuse_twice(path, names)
    translated = dict(zip(names, tensors.values(), strict=True))
    network, inputs = _description(path, said)
    return Weights(path, _FORMATS[classifier], translated, network, inputs)


def _description(path: Path, said: Any) -> tuple[NetworkSpec | None, Mapping[str, Any] | None]:
    """Read what `save_weights` has written beside the tensors; files of others have nothing."""
    if said is None:
        return None, None
    version = dict.get(said, "description") if isinstance(said, dict) else None
    if not isinstance(version, int) or version != _DESCRIPTION:
        raise UserError(
            f"{path}: what it says of its network cannot be read: it is of another version, or "
            f"damaged; this version reads description {_DESCRIPTION}"
        )
    inputs = dict.get(said, "inputs")
    try:
        network = NetworkSpec.parse(str(dict.get(said, "network")))
        return network, None if inputs is None else dict(dict.items(inputs))
    except (UserError, TypeError) as error:
        raise UserError(f"{path}: what it says of its network cannot be read: {error}") from error


def _translated(name: str) -> str:
    """Return our name of a tensor that torchvision or akamaster names `name`; ours stay."""
    path, dot, tensor = name.rpartition(".")
    if not dot:
        return name
    block = _BLOCK.fullmatch(path)
    if block is not None:
        stage, index, inside = block.groups()
        return f"stage{stage}.block{int(index) + 1}.{_translated_inside(inside)}.{tensor}"
    ours = {"conv1": "stem.conv", "bn1": "stem.norm", "fc": "head.classifier"}
    return f"{ours.get(path, 'head.classifier' if path == 'linear' else path)}.{tensor}"


def _translated_inside(path: str) -> str:
    """Translate a module's path inside a block: bn2 -> norm2, downsample.0 -> shortcut.conv."""
    projection = {"0": "shortcut.conv", "1": "shortcut.norm"}
    parent, _, child = path.rpartition(".")
    if parent in ("downsample", "shortcut"):
        return projection.get(child, path)
    return re.sub(r"^bn(\d)$", r"norm\1", path)
