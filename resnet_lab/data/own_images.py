"""Read the images of user-defined datasets, convert them to bytes and check them."""

from __future__ import annotations

import hashlib
import operator
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_lab.data.memory import LabelledImages
from resnet_lab.data.own import Images, OwnDataset
from resnet_lab.errors import UserError
from resnet_lab.yaml_json import one_line

MOST_BYTES = 4 * 2**30
"""Largest size in bytes of a torch Dataset's pixels that is read into memory."""
KINDS = "give (images, labels), or a map-style torch Dataset of (image, label)"
PARTS = {"train": "training", "test": "test"}


def read_own(
    dataset: OwnDataset, data_dir: Path, *, test: bool
) -> tuple[LabelledImages, LabelledImages]:
    """Return training and test images of a user's dataset; without `test` the latter are empty.

    Both are cached, so the function is called and the images are read once per process.

    Raises:
        UserError: the function fails, or its result is invalid.
    """
    train = _train(dataset, data_dir)
    return train, _test(dataset, data_dir) if test else train.none()


@lru_cache(maxsize=4)
def checksum(dataset: OwnDataset, data_dir: Path, part: str) -> str:
    """Return the checksum of "train" or "test": "contents:" and 16 hexadecimal digits."""
    images = _train(dataset, data_dir) if part == "train" else _test(dataset, data_dir)
    digest = hashlib.sha256(repr(tuple(images.images.shape)).encode())
    for tensor in (images.images, images.labels):
        digest.update(tensor.numpy().data)
    return f"contents:{digest.hexdigest()[:16]}"


@lru_cache(maxsize=2)
def _images(dataset: OwnDataset, data_dir: Path) -> Images:
    with _said_of(dataset):
        found = dataset.reader(data_dir)
    if not isinstance(found, Images):
        raise UserError(
            f"data: {dataset.name}: its function returns a {type(found).__name__}: return "
            "rl.Images(train=(images, labels), test=(images, labels))"
        )
    return found


@lru_cache(maxsize=2)
def _train(dataset: OwnDataset, data_dir: Path) -> LabelledImages:
    train = _part(dataset, _images(dataset, data_dir).train, "train")
    where, names = f"data: {dataset.name}", dataset.classes
    there = torch.unique(train.labels).tolist()
    count = len(names) if names is not None else there[-1] + 1
    _check_labels(dataset, train, "train", count)
    if len(train) < 2 or count < 2:
        raise UserError(
            f"{where}: {len(train)} training images of {count} classes: give 2 of each or more"
        )
    if len(there) < count:
        lacking = next(place for place, label in enumerate([*there, -1]) if label != place)
        called = "" if names is None else f" ({names[lacking]})"
        raise UserError(
            f"{where}: there is no training image of class {lacking}{called}; labels are 0 to "
            f"{count - 1}, and each must have one"
        )
    return train


@lru_cache(maxsize=2)
def _test(dataset: OwnDataset, data_dir: Path) -> LabelledImages:
    given = _images(dataset, data_dir).test
    where = f"data: {dataset.name}"
    if given is None:
        raise UserError(
            f"{where}: it has no test images: return rl.Images(train=..., test=...), or give "
            "data.test false"
        )
    test, train = _part(dataset, given, "test"), _train(dataset, data_dir)
    shapes = [tuple(one.images.shape[1:]) for one in (train, test)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{where}: training images are {shapes[0]} and test images {shapes[1]} "
            "(channels, height, width): they must be alike"
        )
    _check_labels(dataset, test, "test", int(train.labels.max()) + 1)
    return test


def _check_labels(dataset: OwnDataset, images: LabelledImages, part: str, count: int) -> None:
    wrong = ((images.labels < 0) | (images.labels >= count)).nonzero().flatten().tolist()
    if wrong:
        raise UserError(
            f"data: {dataset.name}: {PARTS[part]} image {wrong[0]} has label "
            f"{int(images.labels[wrong[0]])}: labels must be 0 to {count - 1}"
        )


def _part(dataset: OwnDataset, given: Any, part: str) -> LabelledImages:
    """Return a part as bytes and labels, from any of the forms that `Images` allows."""
    where = f"data: {dataset.name}: its {PARTS[part]} part"
    if callable(given) and not hasattr(given, "__getitem__"):
        with _said_of(dataset):
            given = given()
    if isinstance(given, tuple | list) and len(given) == 2:
        images, labels = _bytes(where, _tensor(where, given[0])), _tensor(where, given[1])
    elif _is_dataset(given):
        images, labels = _read_items(dataset, where, given)
    else:
        raise UserError(f"{where} is a {type(given).__name__}: {KINDS}")
    if labels.ndim != 1 or labels.dtype.is_floating_point or labels.dtype in NO_LABELS:
        raise UserError(
            f"{where} has labels of {_shape(labels)}: give one whole number an image, of shape (N,)"
        )
    if len(images) != len(labels):
        raise UserError(f"{where} has {len(images)} images and {len(labels)} labels")
    if not images.numel():
        raise UserError(f"{where} has no images: they are {_shape(images)}")
    return LabelledImages(images.contiguous(), labels.long().contiguous())


NO_LABELS = (torch.bool, torch.complex64, torch.complex128)


def _is_dataset(given: Any) -> bool:
    indexed = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    return indexed and not isinstance(given, Tensor | np.ndarray | str | bytes | Mapping)


def _read_items(dataset: OwnDataset, where: str, given: Any) -> tuple[Tensor, Tensor]:
    """Read a map-style Dataset as a whole."""
    with _said_of(dataset):
        count = len(given)
    if not count:
        raise UserError(f"{where} has no images: it is empty")
    first, again = (_item(dataset, where, given, 0)[0] for _ in range(2))
    if not torch.equal(first, again):
        raise UserError(
            f"{where}: image 0 differs each time it is read: leave random transforms out; "
            "data.augment pads, crops and mirrors"
        )
    if count * first.numel() > MOST_BYTES:
        raise UserError(
            f"{where}: {count:,} images of {_shape(first)} are "
            f"{count * first.numel() / 2**30:.1f} GiB, and at most {MOST_BYTES / 2**30:g} are read "
            "into memory: put the images in folders and use imagefolder"
        )
    items = [_item(dataset, where, given, place) for place in range(count)]
    try:
        return torch.stack([image for image, _ in items]), torch.tensor([one for _, one in items])
    except RuntimeError as error:
        raise UserError(f"{where}: images must have one size: {one_line(error)}") from error


def _item(dataset: OwnDataset, where: str, given: Any, place: int) -> tuple[Tensor, int]:
    with _said_of(dataset):
        item = given[place]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise UserError(f"{where}: item {place} is no (image, label): {KINDS}")
    image, label = item
    if hasattr(image, "getbands"):  # Pillow's
        image = np.array(image.convert("RGB") if image.mode == "P" else image)
        image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    try:
        number = operator.index(label)
    except TypeError:
        raise UserError(
            f"{where}: the label of item {place} is {label!r}: give a whole number"
        ) from None
    return _bytes(where, _tensor(where, image)[None])[0], number


def _tensor(where: str, value: Any) -> Tensor:
    """Return an array of any kind as a tensor on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {one_line(error)}: {KINDS}") from error


def _bytes(where: str, images: Tensor) -> Tensor:
    """Return images as uint8 (N, C, H, W): floats of 0 to 1 become round(255 x)."""
    if images.ndim != 4:
        raise UserError(f"{where} has images of {_shape(images)}: give (N, C, H, W)")
    if images.shape[1] > 4 >= images.shape[3]:
        raise UserError(
            f"{where} has images of {_shape(images)}, channels last: permute them (0, 3, 1, 2)"
        )
    if images.dtype.is_floating_point and images.numel():
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):  # also true for NaN
            raise UserError(
                f"{where} has pixels from {low:g} to {high:g}: give uint8, or floats of 0 to 1, "
                "before any normalisation"
            )
        return (images * 255).round().to(torch.uint8)
    if images.dtype != torch.uint8:
        raise UserError(f"{where} has images of {_shape(images)}: give uint8, or floats of 0 to 1")
    return images


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


@contextmanager
def _said_of(dataset: OwnDataset) -> Iterator[None]:
    """Turn an error of the user's code into a UserError that names the line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        file = dataset.reader.__code__.co_filename
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == file]
        where = f" ({file}, line {lines[-1]})" if lines else ""
        raise UserError(
            f"data: {dataset.name} cannot be read{where}: {type(error).__name__}: {one_line(error)}"
        ) from error
