from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnet_lab.data.config import DataConfig
from resnet_lab.data.load import load_data
from resnet_lab.networks.network import build_network
from resnet_lab.training.evaluation import Score, evaluate

CPU = torch.device("cpu")


class Logits(nn.Module):
    """The "image" (N, classes, 1, 1) is what the network says."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def views(*logits: list[list[float]]) -> list[Tensor]:
    return [torch.tensor(rows)[:, :, None, None] for rows in logits]


def score(batches: list[tuple[list[Tensor], Tensor]]) -> Score:
    return evaluate([Logits()], batches, CPU)[0]


def test_loss_and_error_are_those_computed_by_hand() -> None:
    # softmax of (ln 6, ln 3, ln 1) is (0.6, 0.3, 0.1)
    row = [math.log(6), math.log(3), 0.0]
    found = score([(views([row, row]), torch.tensor([0, 1])), (views([row]), torch.tensor([2]))])
    assert found.images == 3
    assert found.error == pytest.approx(100 * 2 / 3)
    assert found.loss == pytest.approx(-math.log(0.6 * 0.3 * 0.1) / 3, rel=1e-6)
    assert found.top5_error == 0.0


def test_the_top_5_error_counts_labels_behind_the_fifth_place() -> None:
    ranked = [float(place) for place in (9, 8, 7, 6, 5, 4, 3)]
    batch = views([ranked] * 7)
    found = score([(batch, torch.arange(7))])
    assert found.error == pytest.approx(100 * 6 / 7)
    assert found.top5_error == pytest.approx(100 * 2 / 7)


def test_probabilities_of_several_views_are_averaged() -> None:
    one, other = [math.log(9), 0.0, 0.0], [0.0, math.log(3), 0.0]
    # (9, 1, 1) / 11 and (1, 3, 1) / 5
    mean = (9 / 11 + 1 / 5) / 2
    found = score([(views([one], [other]), torch.tensor([0]))])
    assert found.loss == pytest.approx(-math.log(mean), rel=1e-6)
    assert found.error == 0.0
    # The mean logits would prefer class 0 still more: (3, sqrt 3, 1) / (4 + sqrt 3).
    assert mean != pytest.approx(3 / (4 + math.sqrt(3)), rel=0.01)


def test_outputs_that_are_no_numbers_are_no_answer_of_class_0() -> None:
    nan = math.nan
    found = score([(views([[nan] * 6, [nan] * 6, [5.0, *[0.0] * 5]]), torch.tensor([0, 3, 0]))])
    assert (found.error, found.top5_error) == pytest.approx((100 * 2 / 3, 100 * 2 / 3))
    assert math.isnan(found.loss)


def test_equal_views_say_what_one_says() -> None:
    rows = [[0.3, -1.0, 2.0], [1.0, 0.0, -1.0]]
    labels = torch.tensor([2, 1])
    single = score([(views(rows), labels)])
    tenfold = score([(views(*[rows] * 10), labels)])
    assert tenfold.loss == pytest.approx(single.loss, rel=1e-6)
    assert (tenfold.images, tenfold.error) == (single.images, single.error)


def test_nothing_to_evaluate_is_no_error_of_zero() -> None:
    found = score([])
    assert found.images == 0
    assert math.isnan(found.error)
    assert math.isnan(found.loss)


@pytest.mark.parametrize("modes", [(True, True), (False, True), (False, False)])
def test_modes_are_restored(modes: tuple[bool, ...]) -> None:
    networks = [build_network("plain-8-x0.25", num_classes=10, in_channels=1) for _ in modes]
    for network, mode in zip(networks, modes, strict=True):
        network.train(mode)
    before = [network.stem.norm.running_mean.clone() for network in networks]
    data = load_data(DataConfig())
    evaluate(networks, data.evaluation_batches("test", batch_size=500), CPU)
    assert tuple(network.training for network in networks) == modes
    assert tuple(network.stem.norm.training for network in networks) == modes
    for network, mean in zip(networks, before, strict=True):
        assert torch.equal(network.stem.norm.running_mean, mean)


def test_modes_are_restored_when_images_cannot_be_read() -> None:
    network = Logits()

    def broken() -> object:
        yield views([[0.0, 1.0]]), torch.tensor([0])
        raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        evaluate([network], broken(), CPU)  # type: ignore[arg-type]
    assert network.training


@pytest.mark.parametrize("batch_size", [7, 143, 500])
@pytest.mark.parametrize("processes", [1, 3])
def test_every_image_counts_exactly_once(batch_size: int, processes: int) -> None:
    data = load_data(DataConfig())
    network = build_network("resnet-8-x0.25", num_classes=10, in_channels=1)
    for split, count in (("validation", 143), ("test", 360)):
        whole = evaluate([network], data.evaluation_batches(split, batch_size=500), CPU)[0]
        shares = [
            evaluate(
                [network],
                data.evaluation_batches(
                    split, batch_size=batch_size, rank=rank, world_size=processes
                ),
                CPU,
            )[0]
            for rank in range(processes)
        ]
        assert sum(share.images for share in shares) == whole.images == count
        error = sum(share.error * share.images for share in shares) / count
        assert error == pytest.approx(whole.error, rel=1e-12)


def test_arithmetic_is_float32_whatever_training_uses() -> None:
    data = load_data(DataConfig())
    network = build_network("resnet-8-x0.25", num_classes=10, in_channels=1)
    batches = data.evaluation_batches("validation", batch_size=143)
    expected = evaluate([network], batches, CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert evaluate([network], batches, CPU) == expected
