"""`Averaged`: a dataset in memory whose images are averaged to fewer pixels (data.pixels).

It makes the real images affordable on a CPU. Each new pixel is the mean of a square of old ones,
rounded half up to a byte, so the images are still bytes and equal on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.data.dataset import InMemoryDataset, name_at
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.data.memory import LabelledImages

SMALLEST = 4
"""Fewest pixels a side: the networks for CIFAR halve maps twice."""


@dataclass(frozen=True, kw_only=True)
class Averaged(InMemoryDataset):
    """The images of `whole`, averaged; everything about files is left to `whole`."""

    whole: InMemoryDataset

    @property
    def origin(self) -> type | Callable[..., Any]:
        return self.whole.origin

    @property
    def options(self) -> tuple[object, ...]:
        return self.whole.options

    def read(self, data_dir: Path, *, test: bool) -> tuple[LabelledImages, LabelledImages]:
        train, held_out = self.whole.read(data_dir, test=test)
        return self._scaled(train), self._scaled(held_out)

    def _scaled(self, part: LabelledImages) -> LabelledImages:
        assert self.image_shape is not None
        return replace(part, images=averaged(part.images, self.image_shape[-1]))

    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        return self.whole.fingerprint(data_dir, test=test)

    def check_there(self, data_dir: Path, *, test: bool) -> None:
        self.whole.check_there(data_dir, test=test)

    def verify(self, data_dir: Path) -> list[str]:
        return self.whole.verify(data_dir)

    def presence(self, data_dir: Path) -> tuple[str, str]:
        return self.whole.presence(data_dir)


def at_pixels(whole: InMemoryDataset, pixels: int) -> Averaged:
    """Return `whole` at `pixels` a side; its augmentation's padding shrinks as its images do.

    Raises:
        UserError: `pixels` does not divide the images' side, or is that side or too small.
    """
    assert whole.image_shape is not None
    channels, side, _ = whole.image_shape
    fitting = [one for one in range(side // 2, SMALLEST - 1, -1) if side % one == 0]
    if pixels not in fitting:
        raise UserError(
            f"data: pixels is {pixels}; {whole.name} has {side} pixels a side: give "
            f"{', '.join(map(str, fitting))}, or leave it out for all {side}"
        )
    return Averaged(
        whole=whole,
        name=name_at(whole.name, pixels),
        image_shape=(channels, pixels, pixels),
        num_classes=whole.num_classes,
        classes=whole.classes,
        validation_size=whole.validation_size,
        pad=whole.pad * pixels // side,
        mirror=whole.mirror,
    )


def averaged(images: Tensor, side: int) -> Tensor:
    """Return uint8 images (N, C, H, H) as (N, C, side, side): means of squares, rounded half up.

    >>> import torch
    >>> averaged(torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.uint8), 1).item()
    1
    """
    import torch

    square = images.shape[-1] // side
    shape = (len(images), images.shape[1], side, square, side, square)
    total = images.view(shape).sum(dim=(3, 5), dtype=torch.int32)
    return ((2 * total + square**2) // (2 * square**2)).to(torch.uint8)
