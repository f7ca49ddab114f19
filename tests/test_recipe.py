from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from resnet_lab.configuration.config import Config, TrainerConfig
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.errors import UserError
from resnet_lab.recording.schedule import RecordingConfig

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"iterations": 0}, "recipe.iterations is 0: give 1 or more"),
    ({"batch_size": -8}, "recipe.batch_size is -8: give 1 or more"),
    ({"log_every": 0}, "recipe.log_every is 0: give 1 or more"),
    ({"lr": -0.1}, "recipe.lr is -0.1: give a positive number"),
    ({"lr": 0}, "recipe.lr is 0.0: give a positive number"),
    ({"lr": float("nan")}, "recipe.lr is nan: give a positive number"),
    ({"lr": float("inf")}, "recipe.lr is inf: give a positive number"),
    ({"lr": 1e39}, "recipe.lr is 1e+39: give 1e+38 or less"),
    ({"weight_decay": 1e39}, "recipe.weight_decay is 1e+39: give 1e+38 or less"),
    ({"warmup_lr": 0.0}, "recipe.warmup_lr is 0.0: give a positive number"),
    ({"weight_decay": -1e-4}, "recipe.weight_decay is -0.0001: give 0 or more"),
    ({"weight_decay": float("nan")}, "recipe.weight_decay is nan: give 0 or more"),
    ({"precise_bn": -1}, "recipe.precise_bn is -1: give 0 or more"),
    ({"momentum": 1.0}, "recipe.momentum is 1.0: give a number in [0, 1)"),
    (
        {"nesterov": True, "momentum": 0.0},
        "recipe.nesterov needs recipe.momentum above 0",
    ),
    ({"ghost_batch": 1}, "recipe.ghost_batch is 1: give 0 or at least 2"),
    (
        {"ghost_batch": 48},
        "recipe.ghost_batch is 48: it must divide recipe.batch_size (128)",
    ),
    ({"clip": 0.0}, "recipe.clip is 0.0: give a positive norm, or null for none"),
    ({"clip": float("nan")}, "recipe.clip is nan: give a positive norm, or null for none"),
    ({"drops": [20, 10]}, "recipe.drops is [20, 10]: give rising steps from 1 on"),
    ({"drops": [10, 10]}, "recipe.drops is [10, 10]: give rising steps from 1 on"),
    ({"drops": [0]}, "recipe.drops is [0]: give rising steps from 1 on"),
    (
        {"drops": [32_000], "iterations": 100},
        "recipe.drops has 32000, past the end of 100 iterations: scale it too, such as "
        "--recipe.drops '[50, 75]'",
    ),
    (
        {"drops": [200, 1000], "warmup_steps": 400},
        "recipe.drops has 200, within the warm-up of 400 steps: drop from step 400 on, or shorten "
        "recipe.warmup_steps",
    ),
    (
        {"drops": [10], "plateau_patience": 2},
        "recipe.drops and recipe.plateau_patience exclude each other: give one",
    ),
    ({"drop_factor": 0.0}, "recipe.drop_factor is 0.0: give a number between 0 and 1"),
    ({"drop_factor": 10}, "recipe.drop_factor is 10.0: give a number between 0 and 1"),
    (
        {"warmup_until_error": 0.0},
        "recipe.warmup_until_error is 0.0: give percent above 0 and up to 100, or null for none",
    ),
    (
        {"warmup_steps": 10, "warmup_until_error": 80.0},
        "recipe.warmup_steps and recipe.warmup_until_error exclude each other: give one",
    ),
    (
        {"warmup_steps": 100, "iterations": 100},
        "recipe.warmup_steps is 100, but the run has only 100 iterations",
    ),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[str(values) for values, _ in WRONG])
def test_a_wrong_recipe_is_refused_with_value_rule_and_way_out(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        RecipeConfig(**values)
    assert str(refused.value) == message


def test_the_default_recipe_is_the_papers() -> None:
    recipe = RecipeConfig()
    assert (recipe.iterations, recipe.batch_size) == (64_000, 128)
    assert (recipe.lr, recipe.momentum, recipe.weight_decay) == (0.1, 0.9, 1e-4)
    assert not recipe.nesterov
    assert recipe.precision == "float32"


def test_whole_numbers_are_the_same_recipe_as_decimal_ones() -> None:
    whole = RecipeConfig(lr=1, weight_decay=0, momentum=0, clip=2, warmup_until_error=80)
    decimal = RecipeConfig(
        lr=1.0, weight_decay=0.0, momentum=0.0, clip=2.0, warmup_until_error=80.0
    )
    assert Config(recipe=whole).run_id() == Config(recipe=decimal).run_id()
    assert [type(v) for v in vars(whole).values()] == [type(v) for v in vars(decimal).values()]


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RecipeConfig().lr = 1.0  # type: ignore[misc]


WRONG_RUNS: list[tuple[dict[str, Any], str]] = [
    ({"seed": -1}, "seed is -1: give 0 or more"),
    ({"study": "a/b"}, "study is 'a/b': give a plain folder name, without '/'"),
    ({"study": ".."}, "study is '..': give a plain folder name, without '/'"),
    (
        {"network": "plain-20,resnet-20,plain-20"},
        "network 'plain-20' is named twice in 'plain-20,resnet-20,plain-20': a cohort holds each "
        "network once; use --seed for repetitions",
    ),
    (
        {"network": "resnet-20,resnet-20-A"},
        "network 'resnet-20' is named twice in 'resnet-20,resnet-20-A': a cohort holds each "
        "network once; use --seed for repetitions",
    ),
    (
        {"recipe": RecipeConfig(ghost_batch=64), "recording": RecordingConfig(probe_size=100)},
        "recording.probe_size is 100: it must be a multiple of the 64 images that batch norms see "
        "together, such as 128",
    ),
    (
        {"trainer": TrainerConfig(devices=3)},
        "recipe.batch_size is 128: it must divide over 3 processes",
    ),
    (
        {"recipe": RecipeConfig(ghost_batch=64), "trainer": TrainerConfig(devices=4)},
        "recipe.ghost_batch is 64: it must divide the share of recipe.batch_size (128) that each "
        "of 4 processes has",
    ),
]


@pytest.mark.parametrize(("values", "message"), WRONG_RUNS, ids=[m[:30] for _, m in WRONG_RUNS])
def test_a_run_that_contradicts_itself_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        Config(**values)
    assert str(refused.value) == message


def test_a_probe_of_any_size_may_meet_ghost_batches_while_nothing_is_probed() -> None:
    for recording in (RecordingConfig(probe_size=100, probe=False), RecordingConfig(enabled=False)):
        Config(recipe=RecipeConfig(ghost_batch=64), recording=recording)


def test_a_plateau_needs_validation_images() -> None:
    from resnet_lab.data.config import DataConfig

    with pytest.raises(UserError, match="plateau_patience needs a validation error"):
        Config(recipe=RecipeConfig(plateau_patience=3), data=DataConfig(protocol="full"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"devices": 0}, "trainer.devices is 0: give 1 or more"),
        ({"nodes": -1}, "trainer.nodes is -1: give 1 or more"),
        ({"checkpoint_seconds": 0}, "trainer.checkpoint_seconds is 0: give a positive time"),
    ],
)
def test_a_wrong_trainer_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        TrainerConfig(**values)
    assert str(refused.value) == message
