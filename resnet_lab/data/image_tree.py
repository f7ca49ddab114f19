"""A folder of images, one subfolder a class, as ImageNet is usually kept."""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from resnet_lab.data.image_index import ImageIndex, read_index
from resnet_lab.errors import UserError

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
            with _opened(path) as file:
                image: Tensor = pil_to_tensor(file.convert("RGB"))
        except Exception as error:  # decoders raise almost anything on damaged bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"data: {path} is not a readable image ({reason}); replace it"
            ) from error
        return image

    def left_out(self) -> list[str]:
        """Files and folders below the folder that are no image by their names, sorted."""
        return list(self.others)

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

    See `image_index.read_index`, which does it. ImageNet's public validation images are the test
    part here; a validation part is held out of the training images.

    Args:
        test: False leaves ``val/`` alone: the second tree is empty.

    Raises:
        UserError: as `read_index`.
    """
    train, val = read_index(name, data_dir, test=test)
    return ImageTree.of(train), ImageTree.of(val)


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
