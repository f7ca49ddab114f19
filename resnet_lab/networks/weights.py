"""Weights files: our own, torchvision's and akamaster's, with tensor names translated.

Our files record the network's name and its inputs. Both are in the state dict's `_metadata`, so
`torch.load` returns a plain state dict.
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

# The classifier's name identifies the format.
_FORMATS: dict[str, WeightsFormat] = {
    "head.classifier": "resnet_lab",
    "fc": "torchvision",
    "linear": "akamaster",
}
_DESCRIPTION = 1  # version of the description stored beside the tensors
_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    path: of the file. format: the project whose tensor names it uses. tensors: by our names, on the
    CPU. network: the one that the file names, or None. inputs: the description of the inputs that
    `save_weights` was given, or None.
    """

    path: Path
    format: WeightsFormat
    tensors: Mapping[str, Tensor]
    network: NetworkSpec | None = None
    inputs: Mapping[str, Any] | None = None

    @property
    def authors(self) -> str | None:
        """The project whose code wrote the file, if not ours."""
        return None if self.format == "resnet_lab" else self.format

    def check(self, spec: NetworkSpec) -> None:
        """Raise `UserError` unless these weights fit `spec`, with any classes and channels."""
        classes = self._size("head.classifier.weight", 0)
        channels = self._size("stem.conv.weight", 1)
        with torch.device("meta"):
            network = Network(spec, num_classes=classes, in_channels=channels)
        check_fit(self.path, network, self.tensors, self.network, self.authors)

    def _size(self, name: str, dimension: int) -> int:
        """A size of a tensor; 1 if the tensor is missing, which `check_fit` reports."""
        shape = self.tensors[name].shape if name in self.tensors else ()
        return shape[dimension] if len(shape) > dimension else 1

    def set_in(self, network: Network) -> None:
        """Set all parameters and buffers of `network`; see `load_weights`."""
        check_fit(self.path, network, self.tensors, self.network, self.authors)
        network.load_state_dict({**network.state_dict(), **self.tensors})


def save_weights(
    network: Network, path: str | Path, *, inputs: Mapping[str, Any] | None = None
) -> None:
    """Write the state dict of `network` to `path` atomically (temporary file, rename).

    The file names its network. `inputs`, of plain types and tensors, is what evaluation needs
    besides: `Data.inputs().as_dict()` of the training data.
    """
    path = user_path(path)
    state: Any = network.state_dict()  # an OrderedDict, whose _metadata is stored with it
    for name, tensor in list(state.items()):
        state[name] = tensor.detach().cpu()
    said = {"description": _DESCRIPTION, "network": network.spec.name}
    state._metadata["resnet_lab"] = said if inputs is None else {**said, "inputs": dict(inputs)}
    buffer = io.BytesIO()
    torch.save(state, buffer)  # to memory: torch.save to a path hides why a file cannot be written
    write_bytes(path, buffer.getbuffer())


def load_weights(path: str | Path, network: Network) -> WeightsFormat:
    """Set all parameters and buffers of `network` from `path`; return the format found there.

    Accepted: files of `save_weights`; torchvision's state dicts of resnet18 to resnet152;
    akamaster's; each also as the one state dict inside a checkpoint, under any key, and with the
    prefixes of DataParallel, torch.compile or a Lightning module. `num_batches_tracked` of batch
    norms may be missing, as in files from before PyTorch 0.4.1. Raises `UserError` if the file is
    missing, damaged, not weights, or of another network, even one with the same tensors; the
    network is then unchanged.
    """
    weights = read_weights(path)
    weights.set_in(network)
    return weights.format


def read_weights(path: str | Path) -> Weights:
    """Read a weights file of any known format. Raises `UserError` for any other file."""
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
    """Read the description that `save_weights` stored; other projects' files have none."""
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
    """Return our name for a tensor of torchvision or akamaster; our own names stay the same."""
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
