from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from resnet_lab.data.augmentation import CropAndMirror
from resnet_lab.data.dataset import datasets
from resnet_lab.data.randomness import derived_generator


def draw_many(augmentation: CropAndMirror, steps: int = 500, batch: int = 128) -> Tensor:
    """Draw as training does: a new generator each step."""
    generators = (derived_generator(0, "augment", step) for step in range(steps))
    return torch.cat([augmentation.draw(batch, generator) for generator in generators], dim=1)


def naive(images: Tensor, draws: Tensor, pad: int) -> np.ndarray:
    """The same, image by image, with slices."""
    height, width = images.shape[2:]
    cropped = []
    for image, (top, left, mirrored) in zip(images.numpy(), draws.T.tolist(), strict=True):
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        crop = padded[:, top : top + height, left : left + width]
        cropped.append(crop[:, :, ::-1] if mirrored else crop)
    return np.stack(cropped)


AUGMENTATIONS = {
    name: CropAndMirror(one.pad, one.mirror) for name, one in datasets().items() if one.in_memory
}


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "digits"])
def test_every_crop_and_mirror_is_equally_likely(name: str) -> None:
    augmentation = AUGMENTATIONS[name]
    offsets = 2 * augmentation.pad + 1
    sides = 2 if augmentation.mirror else 1
    row, column, mirrored = draw_many(augmentation)
    cells = offsets * offsets * sides
    counts = torch.bincount((row * offsets + column) * sides + mirrored, minlength=cells)
    assert len(counts) == cells
    expected = len(row) / cells
    assert float(((counts - expected) ** 2 / expected).sum()) < chi2.ppf(0.999, cells - 1)


def test_the_paper_pads_cifar_by_four_and_mirrors_and_digits_are_never_mirrored() -> None:
    assert AUGMENTATIONS["cifar10"] == AUGMENTATIONS["cifar100"] == CropAndMirror(4, True)
    row, column, mirrored = draw_many(AUGMENTATIONS["digits"], steps=10)
    assert set(row.tolist()) == set(column.tolist()) == {0, 1, 2}
    assert not mirrored.any()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (2, 5, 9)])
@pytest.mark.parametrize("pad", [0, 1, 4])
def test_whole_batch_crops_equal_slices_image_by_image(
    shape: tuple[int, int, int], pad: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(64, *shape, generator=generator)
    augmentation = CropAndMirror(pad, mirror=True)
    draws = augmentation.draw(64, generator)
    assert 0 < int(draws[2].sum()) < 64
    assert np.array_equal(augmentation.apply(images, draws), naive(images, draws, pad))


def test_the_middle_crop_is_the_image_and_a_corner_crop_shows_the_padding() -> None:
    images = torch.ones(2, 1, 6, 6)
    draws = torch.tensor([[4, 0], [4, 8], [0, 0]])
    middle, corner = CropAndMirror(4, mirror=True).apply(images, draws)
    assert torch.equal(middle, images[0])
    assert corner[0].nonzero().tolist() == [[4, 0], [4, 1], [5, 0], [5, 1]]


def test_a_share_of_a_batch_is_augmented_as_in_the_whole_batch() -> None:
    images = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    augmentation = CropAndMirror(2, mirror=True)
    draws = augmentation.draw(10, torch.Generator().manual_seed(2))
    whole = augmentation.apply(images, draws)
    assert torch.equal(augmentation.apply(images[5:], draws[:, 5:]), whole[5:])
