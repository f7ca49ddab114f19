"""The paper's CIFAR augmentation on whole batches: pad, crop, mirror (R 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class CropAndMirror:
    """Zero-pad every side by `pad`, crop back to the original size, mirror half of the images.

    Each axis has ``2 * pad + 1`` offsets, all equally likely. Images arrive normalised, so the
    padding is the mean colour, not black.
    """

    pad: int
    mirror: bool

    def draw(self, count: int, generator: Generator) -> Tensor:
        """Draw for `count` images: int64 (3, count), rows' offset, columns' offset, mirrored."""
        offsets = torch.randint(2 * self.pad + 1, (2, count), generator=generator)
        mirrored = torch.randint(2, (1, count), generator=generator)
        return torch.cat([offsets, mirrored * self.mirror])

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop and mirror `images`, float (N, C, H, W), by `draws`, (3, N) on the same device."""
        channels, height, width = images.shape[1:]
        padded = F.pad(images, (self.pad,) * 4)
        source = _source_pixels(draws, height, width, padded.shape[-1])
        pixels = source.flatten(1).unsqueeze(1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, pixels).view_as(images)


def _source_pixels(draws: Tensor, height: int, width: int, padded_width: int) -> Tensor:
    """Return each output pixel's source in the padded image: (N, H, W), flat indices."""
    row_offset, column_offset, mirrored = draws.unsqueeze(2).unbind()
    rows = row_offset + torch.arange(height, device=draws.device)
    column = torch.arange(width, device=draws.device)
    columns = column_offset + torch.where(mirrored.bool(), column.flip(0), column)
    return rows.unsqueeze(2) * padded_width + columns.unsqueeze(1)
