"""A folder of images, one subfolder a class, as ImageNet is usually kept."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from resnet_lab.errors import UserError

LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg (or .png and the like)"
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""What is decoded, whatever a file's ending says. Of Pillow's other formats one, EPS, is a program
that it would hand to an interpreter."""
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")
"""Modes of up to 8 bits a channel: brighter values of the others would all become white."""
MOST_PIXELS = 89_478_485
"""Pillow's own limit, from which on it warns; the largest of ImageNet's has 61 million."""
MOST_SLENDER = 100
"""Longest side over shortest: with the shortest at 256 pixels or more, memory for one image."""


@dataclass(frozen=True)
class ImageTree:
    """The images below one folder, in order of class and path.

    Attributes:
        folder: where the class folders are.
        classes: their names, sorted; a class is its place in this tuple.
        paths: the image files.
        labels: int64 (N,), the class of each.
    """

    folder: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        """Decode one image as RGB: uint8 (3, H, W).

        Raises:
            UserError: the file is missing or damaged; the message names it.
        """
        path = self.paths[index]
        try:
            with _opened(path) as file:
                image: Tensor = pil_to_tensor(file.convert("RGB"))
        except Exception as error:  # decoders raise almost anything on damaged bytes
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"data: {path} is not a readable image ({reason}); replace it"
            ) from error
        return image

    def left_out(self) -> list[str]:
        """Files below the folder that are no image by their ending, sorted."""
        found = {str(path) for path in _files(self.folder)}
        return sorted(found - set(self.paths))

    def check_headers(self) -> None:
        """Open every file and read its header; raise UserError that names the first bad ones."""
        damaged = [path for path in self.paths if not _has_image_header(path)]
        if damaged:
            raise UserError(
                f"data: {len(damaged)} of {len(self)} files in {self.folder} are no images: "
                f"{', '.join(damaged[:5])}{', ...' if len(damaged) > 5 else ''}; replace them"
            )


def read_trees(name: str, data_dir: Path, *, test: bool = True) -> tuple[ImageTree, ImageTree]:
    """Index the training images, ``train/``, and the test images, ``val/``, of a data set.

    They are in the folder `name` of the data directory, or, where it has no such folder, in the
    data directory itself. ImageNet's public validation images are the test part here; a
    validation part is held out of the training images.

    Args:
        test: False leaves ``val/`` alone: the second tree is empty.

    Raises:
        UserError: a folder is missing or empty, or the two have different classes.
    """
    root = tree_root(name, data_dir)
    train = _read_tree(name, root / "train")
    if not test:
        return train, ImageTree(root / "val", train.classes, (), train.labels[:0])
    return train, _same_classes(name, root, train, _read_tree(name, root / "val"))


def _same_classes(name: str, root: Path, train: ImageTree, test: ImageTree) -> ImageTree:
    unshared = sorted(set(train.classes) ^ set(test.classes))
    if unshared:
        raise UserError(
            f"data: {name}: train and val in {root} must have the same class folders; "
            f"only one of them has {', '.join(unshared[:5])}"
        )
    return test


def tree_root(name: str, data_dir: Path) -> Path:
    """Return the folder that holds ``train`` and ``val`` of data set `name`."""
    return data_dir / name if (data_dir / name).is_dir() else data_dir


def _opened(path: str) -> Image.Image:
    """Open an image and look at its header only; raise an exception if it is not to be decoded."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path, formats=FORMATS)
    width, height = image.size
    fault = None
    if width * height > MOST_PIXELS:
        fault = f"{width} x {height} pixels are more than {MOST_PIXELS:,}"
    elif max(width, height) > MOST_SLENDER * min(width, height):
        fault = f"{width} x {height} pixels: one side is more than {MOST_SLENDER} times the other"
    elif image.mode not in MODES:
        fault = f"its mode {image.mode} has more than 8 bits a channel"
    if fault is not None:
        image.close()
        raise ValueError(fault)
    return image


def _has_image_header(path: str) -> bool:
    try:
        with _opened(path):
            return True
    except Exception:  # as in ImageTree.read
        return False


def _read_tree(name: str, folder: Path) -> ImageTree:
    if not folder.is_dir():
        raise UserError(
            f"data: {name} has no folder {folder}; it must hold {LAYOUT}. "
            "Put the images there, or name their folder with --data-dir"
        )
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    found = {one: [*filter(_is_named_as_image, _files(folder / one))] for one in classes}
    empty = [one for one, paths in found.items() if not paths]
    if empty or not classes:
        lack = f"no valid file for the classes {', '.join(empty)}" if empty else "no class folder"
        raise UserError(
            f"data: {name}: Found {lack} in {folder}. Known endings are {', '.join(ENDINGS)}. "
            f"It must hold {LAYOUT}"
        )
    labels = [label for label, one in enumerate(classes) for _ in found[one]]
    paths = tuple(path for one in classes for path in found[one])
    return ImageTree(folder, tuple(classes), paths, torch.tensor(labels))


def _is_named_as_image(path: str) -> bool:
    return path.lower().endswith(ENDINGS)


def _files(folder: Path) -> Iterator[str]:
    """Every file at or below `folder`, folder by folder in the order of their paths.

    Links to folders are followed.

    Raises:
        UserError: a link leads to a folder that is read already, so that images would count twice.
    """
    known: dict[tuple[int, int], str] = {}
    folders: list[tuple[str, list[str]]] = []
    for place, _, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        other = known.setdefault((status.st_dev, status.st_ino), place)
        if other != place:
            raise UserError(
                f"data: {place} is a link to {other}, whose images are read already: remove it"
            )
        folders.append((place, sorted(files)))
    for place, files in sorted(folders):
        yield from (os.path.join(place, file) for file in files)
