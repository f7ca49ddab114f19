"""Read the tensors of a network from a file: safe unpickling, and finding the state dict in it.

Only plain tensors are ever read: a file whose pickle refers to code is refused, not run.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_lab.errors import UserError

CLASSIFIERS = ("head.classifier", "fc", "linear")
"""The classifier's name: ours, torchvision's, akamaster's."""

_WRAPPER = re.compile(r"^(module\.)+|(?<![^.])_orig_mod\.")  # DataParallel's, torch.compile's
_CHECKSUM_IN_NAME = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8})\.(pt|pth|th)$")
_CODE = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)")
_DEEPEST = 4  # levels of nested wrappers
_MOST_NAMED = 4  # tensors that an error message names; the rest are counted


def read_state(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return a network's tensors by name, on the CPU, and our description stored beside them.

    The names come without the prefixes of wrappers: DataParallel's, torch.compile's, or that of
    a Lightning module's attribute. Raises `UserError` for any other file.
    """
    content = _read(path)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: not a weights file: it holds a {type(content).__name__}"
            f"{_way_out(path, content)}"
        )
    state = content if _holds_tensors(content) else _found_inside(path, content)
    names = _unwrapped([str(name) for name in dict.keys(state)])
    refuse_twice(path, names)
    described = getattr(state, "_metadata", None)
    said = dict.get(described, "resnet_lab") if isinstance(described, dict) else None
    return dict(zip(names, dict.values(state), strict=True)), said


def _way_out(path: Path, content: Any) -> str:
    """How to re-save a list such as (tensors, epoch) as a state dict; "" for anything else."""
    entries = content if isinstance(content, list | tuple) else ()
    place = next((k for k, one in enumerate(entries) if isinstance(one, dict)), None)
    if place is None:
        return ""
    loaded = f"torch.load({str(path)!r}, weights_only=True)"
    return f": save its dictionary alone, as torch.save({loaded}[{place}], 'weights.pt')"


def refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Raise `UserError` if two tensors would get the same name, which is ambiguous."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: not a weights file: it holds two tensors for {listed(twice)}")


def classifier_of(names: Sequence[str]) -> str | None:
    """Return the classifier's name in `names`, or None."""
    return next((known for known in CLASSIFIERS if f"{known}.weight" in names), None)


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and the number of the others."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def unknown(path: Path, names: Sequence[str]) -> UserError:
    """The error for tensor names of an unknown network."""
    return UserError(
        f"{path}: not the weights of a network known here: no classifier named "
        f"{' or '.join(CLASSIFIERS)}, but {listed(names) or 'nothing at all'}"
    )


# Wrappings


def _holds_tensors(value: dict[Any, Any]) -> bool:
    return all(isinstance(entry, Tensor) for entry in dict.values(value))


def _found_inside(path: Path, content: dict[Any, Any]) -> dict[Any, Any]:
    """Return the one state dict inside a checkpoint, under any key."""
    states = dict(_states(content))
    networks = {
        key: state
        for key, state in states.items()
        if classifier_of(_unwrapped([str(name) for name in dict.keys(state)]))
    }
    if len(networks) > 1:
        raise UserError(
            f"{path}: it holds the tensors of {len(networks)} networks, under "
            f"{' and '.join(networks)}: save the one that is meant in a file of its own"
        )
    if networks:
        return next(iter(networks.values()))
    raise _no_network(path, content, states)


def _states(content: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each dictionary of tensors inside `content` once, with its path of keys ("model")."""
    waiting: list[tuple[tuple[str, ...], dict[Any, Any]]] = [((), content)]
    seen = {id(content)}
    for within, outer in waiting:
        for key, value in dict.items(outer):
            if not isinstance(value, dict) or not value or id(value) in seen:
                continue
            seen.add(id(value))
            place = (*within, str(key))
            if _holds_tensors(value):
                yield ".".join(place), value
            elif len(place) < _DEEPEST:
                waiting.append((place, value))


def _no_network(path: Path, content: dict[Any, Any], states: dict[str, Any]) -> UserError:
    keys = {str(key) for key in dict.keys(content)}
    if {"rows", "info", "state_dict"} <= keys:
        return UserError(
            f"{path}: not a weights file but a checkpoint, from which a run continues: the "
            "weights of a finished run lie beside it in weights/, one file a network"
        )
    if "param_groups" in keys:
        return UserError(
            f"{path}: not a weights file: it holds the state of an optimizer, not of a network"
        )
    named = {key: state for key, state in states.items() if _are_names(state)}
    if named:
        return unknown(path, [str(name) for name in dict.keys(next(iter(named.values())))])
    strangers = [str(k) for k, value in dict.items(content) if not isinstance(value, Tensor)]
    if len(strangers) == len(content):
        return UserError(
            f"{path}: not a weights file: no tensors of a network under {listed(strangers)}"
        )
    return UserError(f"{path}: not a weights file: not tensors: {listed(strangers)}")


def _are_names(state: dict[Any, Any]) -> bool:
    return all(isinstance(name, str) for name in dict.keys(state))


def _unwrapped(names: Sequence[str]) -> list[str]:
    """Return `names` without wrappers' prefixes and any shared prefix of the classifier's name."""
    bare = [_WRAPPER.sub("", name) for name in names]
    for classifier in CLASSIFIERS:
        ending = f"{classifier}.weight"
        for name in bare:
            prefix = name.removesuffix(ending)
            whole = prefix != name and (not prefix or prefix.endswith("."))
            if whole and all(other.startswith(prefix) for other in bare):
                return [_WRAPPER.sub("", other.removeprefix(prefix)) for other in bare]
    return bare


# Reading


def _read(path: Path) -> Any:
    """Unpickle plain tensors only, after checks for damage that torch.load omits."""
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    _check_name_against_content(path)
    _check_kind(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_size(path, archive)
                damaged = archive.testzip()
                exported = any(name.endswith("/constants.pkl") for name in archive.namelist())
            if damaged is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            if exported:
                raise zipfile.BadZipFile("it is a TorchScript program, not tensors")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    """Error that says why; if the file holds more than tensors, also how to save only tensors."""
    code = _CODE.search(str(error))
    if code is None:
        why = str(error) if isinstance(error, zipfile.BadZipFile) else type(error).__name__
        return UserError(
            f"{path}: not a weights file, or a damaged one: it cannot be read as plain tensors "
            f"({why}). Files whose reading would run code are refused"
        )
    return UserError(
        f"{path}: it holds more than plain tensors: {code[1]}. Files whose reading would run code "
        "are refused. If you trust where it comes from, save its tensors alone: content = "
        f"torch.load('{path}', weights_only=False), then torch.save(content['state_dict'], "
        "'weights.pt'), with the key that it has; of a whole module content.state_dict()"
    )


def _check_kind(path: Path) -> None:
    """Raise an error that names the file's kind if it is often mistaken for one of torch.save."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UserError(f"{path}: not a weights file: it is empty")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        raise UserError(
            f"{path}: not a weights file of torch.save but one of safetensors: save it anew with "
            f"torch.save(safetensors.torch.load_file('{path}'), 'weights.pt')"
        )
    if start.startswith(b"version https://git-lfs"):
        raise UserError(
            f"{path}: not a weights file but a pointer of Git LFS to one: `git lfs pull` gets it"
        )


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that unpacks to more bytes than the file has; torch compresses nothing."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise zipfile.BadZipFile("it is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise zipfile.BadZipFile("its parts overlap")


def _check_name_against_content(path: Path) -> None:
    """Compare the SHA-256 with the 8 digits of it that released files have in their names.

    PyTorch's hub uses such names (resnet18-f37072fd.pth); eight decimal digits count as a date.
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
