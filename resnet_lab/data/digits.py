"""scikit-learn's handwritten digits: 1,797 real 8x8 images that ship with the package."""

from __future__ import annotations

import numpy as np
import torch

from resnet_lab.data.memory import LabelledImages

NUM_CLASSES = 10
_TEST_EVERY = 5


def read_digits() -> tuple[LabelledImages, LabelledImages]:
    """Return 1,437 training and 360 test images, uint8 (N, 1, 8, 8), of 10 classes.

    Pixels 0 to 16 become round(255 / 16 * pixel). The data set defines no test part: every fifth
    image, counted class by class in the data set's order, is test. That is stratified, and
    the same for every seed.
    """
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(np.rint(pixels * 255 / 16).astype(np.uint8)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(classes.astype(np.int64))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[labels.argsort(stable=True)[::_TEST_EVERY]] = True
    train, test = ~is_test, is_test
    return LabelledImages(images[train], labels[train]), LabelledImages(images[test], labels[test])
