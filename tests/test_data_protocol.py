from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_lab.data.config import DataConfig
from resnet_lab.data.protocol import split_training_data
from resnet_lab.errors import UserError


@settings(deadline=None)
@given(count=st.integers(2, 200), share=st.floats(0, 1), split_seed=st.integers(0, 2**40))
def test_the_parts_are_disjoint_and_together_everything(
    count: int, share: float, split_seed: int
) -> None:
    size = 1 + int(share * (count - 2))
    config = DataConfig(validation_size=size, split_seed=split_seed)
    split = split_training_data(count, config)
    assert len(split.validation) == size
    assert sorted([*split.train.tolist(), *split.validation.tolist()]) == list(range(count))


def test_split_seed_alone_decides_what_is_held_out() -> None:
    def held_out(split_seed: int) -> list[int]:
        split = split_training_data(1000, DataConfig(split_seed=split_seed))
        return split.validation.tolist()

    before = held_out(3)
    torch.rand(7)
    assert held_out(3) == before
    assert held_out(4) != before


def test_the_split_of_a_seed_never_changes() -> None:
    split = split_training_data(50, DataConfig(validation_size=5, split_seed=0))
    assert split.validation.tolist() == [8, 12, 32, 36, 44]


def test_full_holds_nothing_out() -> None:
    split = split_training_data(7, DataConfig(protocol="full"))
    assert split.train.tolist() == list(range(7))
    assert len(split.validation) == 0


@pytest.mark.parametrize(
    ("name", "protocol", "count", "label"),
    [
        ("cifar10", "validation", 50_000, "45k/5k"),
        ("cifar100", "full", 50_000, "50k"),
        ("imagenet", "validation", 1_281_167, "1231167/50k"),
        ("digits", "validation", 1437, "1294/143"),
        ("imagefolder", "validation", 9, "8/1"),
    ],
)
def test_the_label_states_the_sizes(name: str, protocol: str, count: int, label: str) -> None:
    config = DataConfig(name, protocol=protocol)  # type: ignore[arg-type]
    assert split_training_data(count, config).label == label


def test_holding_everything_out_is_refused() -> None:
    with pytest.raises(UserError) as error:
        split_training_data(1437, DataConfig(validation_size=1437))
    assert str(error.value) == (
        "data: a validation part of 1437 leaves nothing of the 1437 training images of digits; "
        "set a smaller validation_size, or protocol 'full'"
    )
