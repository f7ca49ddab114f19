from __future__ import annotations

import numpy as np
import pytest
import torch

from resnet_lab.data.config import DataConfig
from resnet_lab.data.memory import InMemoryData, LabelledImages
from resnet_lab.data.normalisation import Normalisation, fit_normalisation, scale_pixels

PAIR = torch.tensor([[[[0, 255]]], [[[51, 255]]]], dtype=torch.uint8)  # two 1x1x2 images


def coloured(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, 4, 5), generator=generator, dtype=torch.uint8)


def test_pixel_mean_by_hand() -> None:
    normalise = fit_normalisation("pixel-mean", [PAIR])
    torch.testing.assert_close(normalise.mean, torch.tensor([[[0.1, 1.0]]]))
    inputs = normalise(scale_pixels(PAIR))
    torch.testing.assert_close(inputs.flatten(), torch.tensor([-0.1, 0.0, 0.1, 0.0]))


def test_channel_statistics_by_hand() -> None:
    normalise = fit_normalisation("channel", [PAIR])
    mean = (0 + 1 + 0.2 + 1) / 4
    std = ((0.55**2 + 0.45**2 + 0.35**2 + 0.45**2) / 4) ** 0.5
    assert float(normalise.mean) == pytest.approx(mean)
    assert normalise.std is not None
    assert float(normalise.std) == pytest.approx(std)


def test_imagenet_constants() -> None:
    normalise = fit_normalisation("imagenet", [])
    inputs = normalise(torch.ones(1, 3, 2, 2))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(inputs[0, :, 1, 1], torch.tensor(expected))


def test_statistics_equal_numpy_in_double_precision_however_images_are_chunked() -> None:
    images = coloured(37)
    exact = images.numpy() / 255
    chunks = torch.split(images, 10)
    mean_image = fit_normalisation("pixel-mean", chunks)
    assert np.array_equal(mean_image.mean, exact.mean(0).astype(np.float32))
    channel = fit_normalisation("channel", chunks)
    assert channel.std is not None
    np.testing.assert_allclose(channel.mean.flatten(), exact.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(channel.std.flatten(), exact.std((0, 2, 3)), rtol=1e-6)
    whole = fit_normalisation("channel", [images])
    assert whole.std is not None
    assert torch.equal(channel.std, whole.std)


def test_a_channel_that_never_varies_is_not_scaled() -> None:
    normalise = fit_normalisation("channel", [torch.full((2, 1, 3, 3), 7, dtype=torch.uint8)])
    assert normalise.std is not None
    assert float(normalise.std) == 1


def test_pixels_are_divided_exactly() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert np.array_equal(scale_pixels(values), values.numpy() / np.float32(255))


def test_a_mean_image_is_resized_to_other_views() -> None:
    flat = Normalisation(torch.full((3, 4, 4), 0.25))
    assert torch.equal(flat(torch.ones(2, 3, 7, 9)), torch.full((2, 3, 7, 9), 0.75))
    ramp = Normalisation(torch.tensor([[[0.0, 1.0]]]))
    torch.testing.assert_close(
        ramp(torch.zeros(1, 1, 1, 4)).flatten(), -torch.tensor([0.0, 0.25, 0.75, 1.0])
    )


@pytest.mark.parametrize("kind", ["pixel-mean", "channel"])
def test_images_that_do_not_train_do_not_count(kind: str) -> None:
    config = DataConfig("cifar10", validation_size=10, normalise=kind, augment="none")  # type: ignore[arg-type]

    def inputs(images: torch.Tensor) -> torch.Tensor:
        labels = torch.arange(40)
        data = InMemoryData(config, LabelledImages(images, labels), test, num_classes=40)
        return data.probe_batch(30)[0]

    images = coloured(40)
    test = LabelledImages(coloured(5), torch.arange(5))
    data = InMemoryData(config, LabelledImages(images, torch.arange(40)), test, num_classes=40)
    held_out = torch.cat([y for _, y in data.evaluation_batches("validation", batch_size=4)])
    changed = images.clone()
    changed[held_out] = 255 - changed[held_out]
    assert torch.equal(inputs(changed), inputs(images))
    torch.testing.assert_close(inputs(images).mean((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    changed[:] = images.flip(0)
    assert not torch.equal(inputs(changed), inputs(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_have_the_same_bits_on_the_accelerator() -> None:
    config = DataConfig("cifar10", protocol="full", normalise="channel")
    images = LabelledImages(coloured(64), torch.arange(64))
    data = InMemoryData(config, images, images, num_classes=64)
    x, y = data.train_batch(3, seed=0, batch_size=16)
    x_there, y_there = data.train_batch(3, seed=0, batch_size=16, device="cuda")
    assert torch.equal(x_there.cpu(), x)
    assert torch.equal(y_there.cpu(), y)
