"""ImageNet's augmentation and test views (R 3.4)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as transforms

from resnet_lab.data.config import TestView

CROP = 224
TEST_SIDE = 256
TRAINING_SIDES = (256, 480)
MULTI_SCALE_SIDES = (224, 256, 384, 480, 640)

# Principal components of ImageNet's RGB values in 0..1, one a column, and their scales. The
# method is AlexNet's (section 4.1), which prints no numbers; these are the ones published with
# fb.resnet.torch and used since.
COLOUR_SCALES = (0.2175, 0.0188, 0.0045)
COLOUR_COMPONENTS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
COLOUR_DEVIATION = 0.1


def training_view(image: Tensor, generator: Generator) -> Tensor:
    """Return a random crop of `image` or of its mirror image.

    The shorter side is resized to a whole number of pixels drawn from 256 to 480, both included,
    then every position of the 224 crop is equally likely.

    Args:
        image: uint8 (3, H, W) of any size.
        generator: decides scale, position and mirroring.

    Returns:
        uint8 (3, 224, 224).
    """
    smallest, largest = TRAINING_SIDES
    image = resize_shorter_side(image, smallest + _draw(largest - smallest + 1, generator))
    top = _draw(image.shape[1] - CROP + 1, generator)
    left = _draw(image.shape[2] - CROP + 1, generator)
    crop = image[:, top : top + CROP, left : left + CROP]
    return crop.flip(2) if _draw(2, generator) else crop


def colour_shift(generator: Generator) -> Tensor:
    """Draw what AlexNet's colour augmentation adds to R, G and B in 0..1: float32 (3,).

    It is the sum of the principal components, each times its scale and a normal variable of
    standard deviation 0.1.
    """
    alpha = COLOUR_DEVIATION * torch.randn(3, generator=generator)
    return torch.tensor(COLOUR_COMPONENTS) @ (alpha * torch.tensor(COLOUR_SCALES))


def evaluation_views(image: Tensor, kind: TestView) -> list[Tensor]:
    """Return the views of `image`, uint8 (3, H, W), that evaluation averages over, uint8 too.

    "centre": the middle 224 crop at shorter side 256. "ten-crop": corners and centre of the same,
    then those of its mirror image. "multi-scale": the whole image at shorter sides 224, 256, 384,
    480 and 640, for networks that end in global average pooling.
    """
    if kind == "multi-scale":
        return [resize_shorter_side(image, side) for side in MULTI_SCALE_SIDES]
    image = resize_shorter_side(image, TEST_SIDE)
    if kind == "ten-crop":
        return list(transforms.ten_crop(image, [CROP, CROP]))
    return [transforms.center_crop(image, [CROP, CROP])]


def resize_shorter_side(image: Tensor, side: int) -> Tensor:
    """Resize (bilinear, antialiased) so that the shorter side has `side` pixels."""
    resized: Tensor = transforms.resize(image, [side], antialias=True)
    return resized


def _draw(limit: int, generator: Generator) -> int:
    """Draw a whole number from 0 to limit - 1."""
    return int(torch.randint(limit, (), generator=generator))
