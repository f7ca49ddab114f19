"""A folder of images, one subfolder a class, as ImageNet is usually kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import pil_loader
from torchvision.transforms.v2.functional import pil_to_tensor

from resnet_lab.errors import UserError

LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg (or .png and the like)"


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
            image: Tensor = pil_to_tensor(pil_loader(path))
        except Exception as error:  # decoders raise almost anything on damaged bytes
            raise UserError(
                f"data: {path} is not a readable image ({error}); replace it"
            ) from error
        return image

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


def _has_image_header(path: str) -> bool:
    try:
        with Image.open(path):
            return True
    except Exception:  # as in ImageTree.read
        return False


def _read_tree(name: str, folder: Path) -> ImageTree:
    if not folder.is_dir():
        raise UserError(
            f"data: {name} has no folder {folder}; it must hold {LAYOUT}. "
            "Put the images there, or name their folder with --data-dir"
        )
    try:
        index = ImageFolder(folder)
    except FileNotFoundError as error:
        raise UserError(f"data: {name}: {error} It must hold {LAYOUT}") from error
    paths, labels = zip(*index.samples, strict=True)
    return ImageTree(folder, tuple(index.classes), paths, torch.tensor(labels))
