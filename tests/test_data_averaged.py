"""Images averaged to fewer pixels (data.pixels)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_data_cifar import SMALL10, write

from resnet_lab.configuration.config import Config
from resnet_lab.data.averaged import averaged
from resnet_lab.data.config import DataConfig
from resnet_lab.data.dataset import DATASETS, dataset_of
from resnet_lab.data.fingerprint import fingerprint
from resnet_lab.data.load import load_data
from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory


def test_each_pixel_is_the_mean_of_a_square_rounded_half_up() -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    for side in (16, 8, 4):
        square = 32 // side
        blocks = images.numpy().reshape(5, 3, side, square, side, square)
        expected = np.floor(blocks.astype(np.float64).mean(axis=(3, 5)) + 0.5)
        assert averaged(images, side).numpy().tolist() == expected.astype(np.uint8).tolist()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(SMALL10, tmp_path)
    monkeypatch.setitem(DATASETS._known, "cifar10", SMALL10)
    return tmp_path


def test_results_say_the_pixels_everywhere(small: Path) -> None:
    config = DataConfig("cifar10", pixels=16, augment="none", normalise="channel")
    data = load_data(DataConfig("cifar10", pixels=16, validation_size=8), small)
    assert data.describe()["name"] == data.inputs().data == "cifar10-16px"
    assert data.protocol == "32/8, 16 px"
    assert data.image_shape == (3, 16, 16)
    x, _ = data.train_batch(0, seed=0, batch_size=8)
    assert x.shape == (8, 3, 16, 16)
    assert config.dataset.pad == 2
    assert config.dataset.test_images is None
    run = Config(network="plain-8,resnet-8", data=config, data_dir=str(small))
    assert RunDirectory.of(run).path.name.startswith("plain-8+resnet-8_cifar10-16px_seed0_")


def test_it_is_the_same_images_and_another_run(small: Path) -> None:
    whole, scaled = DataConfig("cifar10"), DataConfig("cifar10", pixels=16)
    assert fingerprint(whole, small) == fingerprint(scaled, small)
    runs = [Config(network="plain-8", data=one, data_dir=str(small)) for one in (whole, scaled)]
    ids = [RunDirectory.of(run).path.name[-8:] for run in runs]
    assert ids[0] != ids[1]


def test_figures_find_the_dataset_by_its_name_in_results() -> None:
    scaled = dataset_of("cifar10-16px")
    assert scaled is not None
    assert scaled.image_shape == (3, 16, 16)
    assert scaled.num_classes == 10
    assert dataset_of("cifar10") is DATASETS.get("cifar10")
    assert dataset_of("cifar10-17px") is None
    assert dataset_of("mine-16px") is None


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        (
            "cifar10",
            12,
            "data: pixels is 12; cifar10 has 32 pixels a side: give 16, 8, 4, or leave it out for "
            "all 32",
        ),
        ("cifar10", 32, "data: pixels is 32; cifar10 has 32 pixels a side: give 16, 8, 4, or .*"),
        (
            "digits",
            4,
            "data: pixels is 4, an option of cifar10 and cifar100 alone: leave it out for digits",
        ),
        (
            "cifar10-16px",
            None,
            "data: unknown name 'cifar10-16px': give data.name cifar10 and data.pixels 16",
        ),
    ],
)
def test_a_wrong_side_is_refused(name: str, pixels: int | None, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        DataConfig(name, pixels=pixels)
