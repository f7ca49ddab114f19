"""A folder of images, one subfolder a class, as ImageNet is usually kept."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from resnet_lab.data.image_file import UNKNOWN, decode, fault, header_fault, pixel_fault
from resnet_lab.data.image_index import ImageIndex, no_images, read_index
from resnet_lab.errors import UserError


@dataclass(frozen=True)
class ImageTree:
    """The images below one folder, in order of class and path.

    Attributes:
        folder: where the class folders are.
        classes: their names, sorted; a class is its place in this tuple.
        paths: the image files.
        labels: int64 (N,), the class of each.
        others: what else lies below the folder; see `ImageIndex.left_out`.
    """

    folder: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Tensor
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, index: ImageIndex) -> ImageTree:
        """The images that an index has found."""
        labels = torch.tensor(index.labels, dtype=torch.int64)
        return cls(index.folder, index.classes, index.paths, labels, index.left_out)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        """Decode one image as RGB: uint8 (3, H, W).

        Raises:
            UserError: the file is missing or damaged; the message names it.
        """
        path = self.paths[index]
        try:
            return decode(path)
        except Exception as error:  # decoders raise almost anything on damaged bytes
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            raise UserError(
                f"data: {path} is not a readable image ({fault(path, error)}); replace it"
            ) from error

    def left_out(self) -> list[str]:
        """Files and folders below the folder that are no image by their names, sorted."""
        return list(self.others)

    def check_headers(self) -> None:
        """Open every file and read its header; raise UserError that names the first bad ones."""
        self._check(header_fault)

    def check_pixels(self) -> None:
        """Decode every file; raise UserError that names the first bad ones."""
        self._check(pixel_fault)

    def _check(self, look: Callable[[str], str | None]) -> None:
        found = [(path, reason) for path in self.paths if (reason := look(path)) is not None]
        if found:
            raise no_images(
                [(path, "" if reason == UNKNOWN else reason) for path, reason in found],
                len(self),
                self.folder,
            )


def read_trees(name: str, data_dir: Path, *, test: bool = True) -> tuple[ImageTree, ImageTree]:
    """Index the training images, ``train/``, and the test images, ``val/``, of a data set.

    See `image_index.read_index`, which does it. ImageNet's public validation images are the test
    part here; a validation part is held out of the training images.

    Args:
        test: False leaves ``val/`` alone: the second tree is empty.

    Raises:
        UserError: as `read_index`.
    """
    train, val = read_index(name, data_dir, test=test)
    return ImageTree.of(train), ImageTree.of(val)
