"""scikit-learn's handwritten digits: 1,797 real 8x8 images that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.data.dataset import DATASETS, InMemoryDataset

if TYPE_CHECKING:
    from resnet_lab.data.memory import LabelledImages

CHECKSUMS = {"train": "contents:d3085b55c34f0b27", "test": "contents:5d4373df82374ed4"}
"""Checksums of the labels and pixels that `read_digits` returns."""
_TEST_EVERY = 5


def read_digits() -> tuple[LabelledImages, LabelledImages]:
    """Return 1,437 training and 360 test images, uint8 (N, 1, 8, 8), of 10 classes.

    Pixels 0 to 16 become round(255 / 16 * pixel). The dataset defines no test part: every fifth
    image, counted class by class in the dataset's order, is test. That is stratified, and
    the same for every seed.
    """
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    from resnet_lab.data.memory import LabelledImages

    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(np.rint(pixels * 255 / 16).astype(np.uint8)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(classes.astype(np.int64))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[labels.argsort(stable=True)[::_TEST_EVERY]] = True
    train, test = ~is_test, is_test
    return LabelledImages(images[train], labels[train]), LabelledImages(images[test], labels[test])


@dataclass(frozen=True, kw_only=True)
class Digits(InMemoryDataset):
    """The digits; they need no data directory."""

    in_package = True

    def read(self, data_dir: Path, *, test: bool) -> tuple[LabelledImages, LabelledImages]:
        train, held_back = read_digits()
        return train, held_back if test else train.none()

    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        return {"images": 1437, "train": CHECKSUMS["train"]} | (
            {"test": CHECKSUMS["test"]} if test else {}
        )

    def check_there(self, data_dir: Path, *, test: bool) -> None:
        """Do nothing: they are always available."""

    def verify(self, data_dir: Path) -> list[str]:
        train, test = read_digits()
        return [f"digits: {len(train)} training and {len(test)} test images are in scikit-learn"]

    def presence(self, data_dir: Path) -> tuple[str, str]:
        return "in scikit-learn, always there", ""


# One pixel of 8 is the paper's four of 32; a mirrored digit is another sign.
DATASETS.add("digits", Digits(name="digits", image_shape=(1, 8, 8), num_classes=10, pad=1))
