"""Normalisation of pixels / 255 to network inputs, by statistics of the training part only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_lab.data.config import NormaliseKind

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """``(x - mean) / std`` for x = pixels / 255.

    mean: (C, H, W), the mean image, or (C, 1, 1). std: (C, 1, 1), or None for no scaling.
    """

    mean: Tensor
    std: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise float images (..., C, h, w); a mean image of another size is resized."""
        centred = x - self._mean_of_size(x.shape[-2:])
        return centred if self.std is None else centred / self.std

    def to(self, device: torch.device) -> Normalisation:
        """Return the same normalisation on `device`."""
        return Normalisation(
            self.mean.to(device), None if self.std is None else self.std.to(device)
        )

    def _mean_of_size(self, size: torch.Size) -> Tensor:
        if self.mean.shape[-2:] in (size, (1, 1)):
            return self.mean
        resized = F.interpolate(
            self.mean[None], size=tuple(size), mode="bilinear", align_corners=False
        )
        return resized[0]


def scale_pixels(images: Tensor) -> Tensor:
    """Return uint8 images / 255 in float32, bit-identical on every device.

    The divisor is a tensor on the images' device because CUDA multiplies by the reciprocal of a
    Python number, which differs in the last bit.
    """
    return images.float() / torch.full((), 255.0, device=images.device)


def fit_normalisation(kind: NormaliseKind, chunks: Iterable[Tensor]) -> Normalisation:
    """Measure a normalisation on training images, uint8 chunks of shape (n, C, H, W), n < 65,536.

    Sums are exact. "imagenet" measures nothing.
    """
    if kind == "imagenet":
        return Normalisation(_per_channel(IMAGENET_MEAN), _per_channel(IMAGENET_STD))
    return _fit_mean_image(chunks) if kind == "pixel-mean" else _fit_channels(chunks)


def _fit_mean_image(chunks: Iterable[Tensor]) -> Normalisation:
    count = 0
    total = torch.zeros((), dtype=torch.float64)
    for chunk in chunks:
        count += len(chunk)
        total = total + chunk.float().sum(0)  # below 2**24, so float32 is exact, and fast
    return Normalisation((total / (255 * count)).float())


def _fit_channels(chunks: Iterable[Tensor]) -> Normalisation:
    """Mean and population standard deviation; a channel that never varies is not scaled."""
    values = 0
    total = squares = torch.zeros((), dtype=torch.int64)
    for chunk in chunks:
        values += chunk.numel() // chunk.shape[1]
        total = total + chunk.sum((0, 2, 3), dtype=torch.int64)
        squares = squares + chunk.int().square().sum((0, 2, 3), dtype=torch.int64)
    variance = squares.double() / values - (total.double() / values).square()
    std = torch.where(variance > 0, variance, 255.0**2).sqrt()
    mean, std = (
        statistic.float().view(-1, 1, 1) for statistic in (total / values / 255, std / 255)
    )
    return Normalisation(mean, std)


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)
