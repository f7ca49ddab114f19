"""Weights in files: our own, torchvision's and akamaster's, translated by name.

Only plain tensors are ever read: a file whose pickle refers to code is refused, not run.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from resnet_lab.errors import UserError
from resnet_lab.files import user_path, write_bytes
from resnet_lab.networks.network import Network

WeightsFormat = Literal["resnet_lab", "torchvision", "akamaster"]

# The name of the classifier tells the formats apart.
_CLASSIFIERS: dict[str, WeightsFormat] = {
    "head.classifier": "resnet_lab",
    "fc": "torchvision",
    "linear": "akamaster",
}
_WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # of DataParallel and of torch.compile
_CHECKSUM_IN_NAME = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8})\.(pt|pth|th)$")
_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(.+)")
_MOST_NAMED = 4  # tensors that an error message names before it only counts


def save_weights(network: Network, path: str | Path) -> None:
    """Write the state dict of `network` to `path`, whole or not at all (temporary file, rename)."""
    path = user_path(path)
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)  # by itself it hides why a file cannot be written
    write_bytes(path, buffer.getbuffer())


def load_weights(path: str | Path, network: Network) -> WeightsFormat:
    """Set all parameters and buffers of `network` from `path`; return the format found there.

    Accepted: files of `save_weights`; torchvision's state dicts of resnet18 to resnet152;
    akamaster's checkpoints ({"state_dict": ...} with "module." prefixes). Batch norms' counters
    of batches may be missing, as in files from before PyTorch 0.4.1. Raises `UserError` for a
    file that is missing, damaged, no weights or does not fit; the network is then unchanged.
    """
    path = user_path(path)
    tensors = read_tensors(path)
    found = weights_format(tensors)
    if found is None:
        raise UserError(
            f"{path}: not the weights of a network known here: no classifier named "
            f"{' or '.join(_CLASSIFIERS)}, but {_listed(list(tensors)) or 'nothing at all'}"
        )
    translated = {_translated(name): tensor for name, tensor in tensors.items()}
    _check_fit(path, network, translated)
    network.load_state_dict({**network.state_dict(), **translated})
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a weights file, on the CPU, without wrappers' prefixes."""
    content = _read(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: not a weights file: it holds a {type(content).__name__}")
    strangers = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise UserError(f"{path}: not a weights file: not tensors: {_listed(strangers)}")
    return {_WRAPPERS.sub("", str(name)): tensor for name, tensor in content.items()}


def weights_format(tensors: Mapping[str, Tensor]) -> WeightsFormat | None:
    """Return whose names these are, or None."""
    for classifier, found in _CLASSIFIERS.items():
        if f"{classifier}.weight" in tensors:
            return found
    return None


def _read(path: Path) -> Any:
    """Unpickle plain tensors only, behind the checks for damage that torch.load leaves out."""
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    _check_name_against_content(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_size(path, archive)
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(
            f"{path}: not a weights file, or a damaged one: it cannot be read as plain tensors "
            f"({type(error).__name__}). Files whose reading would run code are refused"
        ) from error


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what would take more memory than the file has bytes; torch compresses nothing."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise zipfile.BadZipFile("it is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise zipfile.BadZipFile("its parts overlap")


def _check_name_against_content(path: Path) -> None:
    """Compare the SHA-256 with the first 8 digits of it that released files have in their name.

    PyTorch's hub names files so (resnet18-f37072fd.pth); eight decimal digits are taken for a date.
    """
    expected = _CHECKSUM_IN_NAME.search(path.name)
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    if found != expected[1]:
        raise UserError(
            f"{path}: damaged, by the checksum in its name: its SHA-256 begins {found}, expected "
            f"{expected[1]}. Download it again, or rename it if it is another file"
        )


def _translated(name: str) -> str:
    """Return our name of a tensor that torchvision or akamaster names `name`; ours stay."""
    path, _, tensor = name.rpartition(".")
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


def _check_fit(path: Path, network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Raise `UserError` naming the tensors that are missing, unexpected or of another shape."""
    expected = network.state_dict()
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
    if any(problems.values()):
        told = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise UserError(f"{path}: these weights do not fit {network.spec.name}: {told}")


def _fits(tensor: Tensor, expected: Tensor) -> bool:
    same_kind = tensor.is_floating_point() == expected.is_floating_point()
    has_values = tensor.layout == torch.strided and not tensor.is_meta
    return tensor.shape == expected.shape and same_kind and has_values


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
