from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from resnet_lab.data.config import DataConfig
from resnet_lab.data.datasets.digits import read_digits
from resnet_lab.data.load import load_data


def test_the_parts_together_are_scikit_learns_digits() -> None:
    pixels, classes = load_digits(return_X_y=True)
    train, test = read_digits()
    assert (len(train), len(test)) == (1437, 360)
    images = torch.cat([train.images, test.images]).flatten(1).tolist()
    labels = torch.cat([train.labels, test.labels]).tolist()
    expected = [[round(value * 255 / 16) for value in image] for image in pixels]
    assert sorted(zip(labels, images, strict=True)) == sorted(
        zip(classes.tolist(), expected, strict=True)
    )


def test_images_keep_their_labels() -> None:
    train, test = read_digits()
    pixels, classes = load_digits(return_X_y=True)
    by_image = {image.tobytes(): label for image, label in zip(pixels, classes, strict=True)}
    for part in (train, test):
        sixteenths = (part.images.double() * 16 / 255).round().flatten(1).numpy()
        assert [by_image[image.tobytes()] for image in sixteenths] == part.labels.tolist()


def test_every_fifth_image_of_a_class_is_test() -> None:
    train, test = read_digits()
    in_class = torch.bincount(train.labels) + torch.bincount(test.labels)
    assert ((torch.bincount(test.labels) - in_class / 5).abs() < 1).all()


def test_what_a_result_says_about_digits() -> None:
    assert load_data(DataConfig()).describe() == {
        "name": "digits",
        "protocol": "1294/143",
        "counts": {"train": 1294, "validation": 143, "test": 360},
        "split_seed": 0,
        "normalise": "pixel-mean",
        "augment": "paper",
        "test_view": "centre",
        "image_shape": [1, 8, 8],
        "num_classes": 10,
    }
    full = load_data(DataConfig(protocol="full")).describe()
    assert full["protocol"] == "1437"
    assert full["counts"] == {"train": 1437, "test": 360}
