from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from resnet_lab.data.config import DataConfig
from resnet_lab.data.load import load_data
from resnet_lab.data.memory import InMemoryData, LabelledImages
from resnet_lab.data.randomness import derived_seed
from resnet_lab.data.sampler import batch_positions, epoch_permutation
from resnet_lab.errors import UserError


def numbered(train: int, test: int = 1, **config: object) -> InMemoryData:
    """Data whose labels are the images' numbers; the pixels say the same."""

    def images(count: int) -> LabelledImages:
        numbers = torch.arange(count)
        pixels = (numbers % 256).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
        return LabelledImages(pixels.contiguous(), numbers)

    settings = DataConfig(**{"protocol": "full", **config})  # type: ignore[arg-type]
    return InMemoryData(settings, images(train), images(test), num_classes=train)


def labels(batches: Iterable[tuple[object, Tensor]]) -> list[int]:
    return [number for _, y in batches for number in y.tolist()]


def equal(one: Iterable[tuple[Tensor, Tensor]], other: Iterable[tuple[Tensor, Tensor]]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return len(pairs) > 0 and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs
    )


@settings(deadline=None)
@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 150),
    seed=st.integers(0, 2**62),
    epochs=st.integers(1, 3),
)
def test_every_epoch_visits_every_image_exactly_once(
    count: int, batch_size: int, seed: int, epochs: int
) -> None:
    steps = -(-epochs * count // batch_size)
    stream = torch.cat([batch_positions(step, batch_size, count, seed) for step in range(steps)])
    assert len(stream) == steps * batch_size
    for epoch in range(epochs):
        visited = stream[epoch * count : (epoch + 1) * count]
        assert visited.sort().values.tolist() == list(range(count))


@settings(deadline=None)
@given(train=st.integers(1, 40), batch_size=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_training_batches_cover_an_epoch(train: int, batch_size: int, seed: int) -> None:
    batch_size = min(batch_size, train)
    data = numbered(train)
    stream = labels(
        data.train_batches(seed=seed, batch_size=batch_size, start=lambda: 0, stop=train)
    )
    assert Counter(stream) == dict.fromkeys(range(train), batch_size)  # that many epochs
    assert sorted(stream[:train]) == list(range(train))


def test_epochs_and_seeds_have_different_orders_and_the_first_one_is_known() -> None:
    assert not torch.equal(epoch_permutation(1000, 0, 0), epoch_permutation(1000, 0, 1))
    assert not torch.equal(epoch_permutation(1000, 0, 0), epoch_permutation(1000, 1, 0))
    assert derived_seed(0, "order", 0) == 4819849257279361181
    assert epoch_permutation(10, 0, 0).tolist() == [5, 1, 0, 6, 3, 9, 7, 2, 8, 4]


def test_pixels_and_labels_stay_together() -> None:
    data = numbered(200, augment="none", normalise="channel")
    x, y = data.train_batch(0, seed=0, batch_size=200)
    std = ((200**2 - 1) / 12) ** 0.5  # of 0 to 199
    torch.testing.assert_close(x[:, 0, 0, 0] * std + 99.5, y.float())


@pytest.fixture(scope="module")
def digits() -> InMemoryData:
    data = load_data(DataConfig("digits"))
    assert isinstance(data, InMemoryData)
    return data


def test_starting_midway_gives_the_tail_of_the_whole_stream(digits: InMemoryData) -> None:
    whole = list(digits.train_batches(seed=5, batch_size=500, start=lambda: 0, stop=8))
    tail = digits.train_batches(seed=5, batch_size=500, start=lambda: 3, stop=8)
    assert equal(tail, whole[3:])
    assert equal(tail, whole[3:])  # and again


def test_where_to_start_is_asked_anew_each_time(digits: InMemoryData) -> None:
    starts = iter([0, 2])
    batches = digits.train_batches(seed=0, batch_size=8, start=lambda: next(starts), stop=4)
    assert [len(list(batches)), len(list(batches))] == [4, 2]


def test_a_batch_is_a_function_of_seed_and_step_alone(digits: InMemoryData) -> None:
    def batch(step: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
        return digits.train_batch(step, seed=seed, batch_size=64)

    before = torch.get_rng_state()
    assert equal([batch()], [load_data(DataConfig()).train_batch(2, seed=0, batch_size=64)])
    assert not equal([batch()], [batch(step=3)])
    assert not equal([batch()], [batch(seed=1)])
    assert torch.equal(torch.get_rng_state(), before)
    assert batch()[0].dtype == torch.float32
    assert batch()[0].shape == (64, 1, 8, 8)
    assert batch()[1].dtype == torch.int64


def test_augmentation_changes_images_and_not_their_order(digits: InMemoryData) -> None:
    plain = load_data(DataConfig(augment="none"))
    x, y = digits.train_batch(0, seed=0, batch_size=64)
    u, v = plain.train_batch(0, seed=0, batch_size=64)
    assert torch.equal(y, v)
    same = (x == u).flatten(1).all(1).double().mean()
    assert 0 < float(same) < 0.4  # one of nine crops is the image itself


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_shares_of_processes_join_to_the_whole_batch(digits: InMemoryData, world_size: int) -> None:
    for step in (0, 7, 108):
        whole = digits.train_batch(step, seed=1, batch_size=24)
        shares = [
            digits.train_batch(step, seed=1, batch_size=24, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        x, y = (torch.cat(part) for part in zip(*shares, strict=True))
        assert {len(share[1]) for share in shares} == {24 // world_size}
        assert equal([(x, y)], [whole])


@settings(deadline=None)
@given(count=st.integers(1, 50), world_size=st.integers(1, 9), batch_size=st.integers(1, 60))
def test_evaluation_covers_every_image_exactly_once(
    count: int, world_size: int, batch_size: int
) -> None:
    data = numbered(3, test=count)
    seen: list[int] = []
    for rank in range(world_size):
        batches = list(
            data.evaluation_batches("test", batch_size=batch_size, rank=rank, world_size=world_size)
        )
        assert all(len(views) == 1 and len(views[0]) == len(y) for views, y in batches)
        assert all(1 <= len(y) <= batch_size for _, y in batches)
        seen += labels(batches)
    assert sorted(seen) == list(range(count))


def test_a_process_without_images_evaluates_nothing() -> None:
    data = numbered(3, test=2)
    assert list(data.evaluation_batches("test", batch_size=1, rank=5, world_size=6)) == []


def test_evaluated_parts_are_the_protocols_and_unaugmented() -> None:
    data = numbered(100, test=7, protocol="validation", validation_size=20)
    parts = {
        part: sorted(labels(data.evaluation_batches(part, batch_size=16)))
        for part in ("train", "validation", "test")
    }
    assert {part: len(numbers) for part, numbers in parts.items()} == data.counts
    assert sorted(parts["train"] + parts["validation"]) == list(range(100))
    assert parts["test"] == list(range(7))
    trained = labels(data.train_batches(seed=0, batch_size=40, start=lambda: 0, stop=6))
    assert sorted(set(trained)) == parts["train"]
    for views, _ in data.evaluation_batches("train", batch_size=16):
        assert torch.equal(views[0], views[0][:, :, :1, :1].expand(-1, -1, 8, 8))


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="digits has no validation part under protocol 'full'"):
        numbered(3).evaluation_batches("validation", batch_size=1)
    with pytest.raises(UserError, match="no part 'tests', did you mean 'test'"):
        numbered(3).evaluation_batches("tests", batch_size=1)
    with pytest.raises(UserError, match="evaluation batch size 0: it must be at least 1"):
        numbered(3).evaluation_batches("test", batch_size=0)


def test_the_probe_is_fixed_unaugmented_and_from_the_training_part() -> None:
    data = numbered(100, protocol="validation", validation_size=20)
    x, y = data.probe_batch(16)
    assert equal([(x, y)], [data.probe_batch(16)])
    assert not equal([(x, y)], [data.probe_batch(16, seed=1)])
    assert len(set(y.tolist())) == 16
    assert set(y.tolist()) <= set(labels(data.evaluation_batches("train", batch_size=100)))
    assert torch.equal(x, x[:, :, :1, :1].expand(-1, -1, 8, 8))
    assert len(data.probe_batch(1000)[1]) == 80


@pytest.mark.parametrize(
    ("batch_size", "world_size", "message"),
    [
        (
            11,
            1,
            "batch size 11 is larger than the training part, 10 images; use at most 10",
        ),
        (0, 1, "batch size 0: it must be at least 1"),
        (8, 3, "batch size 8 does not divide over 3 processes; use a multiple of 3"),
    ],
)
def test_batches_that_do_not_fit_are_refused_before_training(
    batch_size: int, world_size: int, message: str
) -> None:
    with pytest.raises(UserError) as error:
        numbered(10).train_batches(
            seed=0, batch_size=batch_size, start=lambda: 0, stop=1, world_size=world_size
        )
    assert str(error.value) == message
