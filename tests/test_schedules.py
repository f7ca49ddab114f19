from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.configuration.schedules import (
    ScheduleState,
    after_training_error,
    after_validation_error,
    learning_rate,
)

PAPER = RecipeConfig(iterations=64_000, lr=0.1, drops=(32_000, 48_000), drop_factor=0.1)
PAPER_110 = RecipeConfig(
    iterations=64_000, lr=0.1, drops=(32_000, 48_000), warmup_until_error=80.0, warmup_lr=0.01
)
LINEAR = RecipeConfig(iterations=2_000, lr=0.1, drops=(1_000,), warmup_steps=400, warmup_lr=0.02)
PLATEAU = RecipeConfig(iterations=600_000, lr=0.1, plateau_patience=2, evaluate_every=1_000)


@pytest.mark.parametrize(
    ("step", "lr"),
    [
        (0, 0.1),
        (399, 0.1),
        (400, 0.1),
        (31_999, 0.1),
        (32_000, 0.01),
        (47_999, 0.01),
        (48_000, 0.001),
        (63_999, 0.001),
    ],
)
def test_the_papers_learning_rate_is_divided_by_ten_at_32k_and_48k(step: int, lr: float) -> None:
    assert learning_rate(PAPER, step, ScheduleState()) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "lr"),
    [(0, 0.02), (1, 0.0202), (100, 0.04), (399, 0.0998), (400, 0.1), (999, 0.1), (1_000, 0.01)],
)
def test_a_linear_warm_up_rises_from_its_first_step_to_its_last(step: int, lr: float) -> None:
    assert learning_rate(LINEAR, step, ScheduleState()) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "lr"),
    [
        (0, 0.01),
        (399, 0.01),
        (400, 0.1),
        (31_999, 0.1),
        (32_000, 0.01),
        (47_999, 0.01),
        (48_000, 0.001),
        (63_999, 0.001),
    ],
)
def test_the_conditional_warm_up_holds_until_the_error_has_fallen(step: int, lr: float) -> None:
    progress = ScheduleState()
    for now, error in ((100, 90.0), (200, 84.0), (300, 80.0), (400, 79.9)):
        if now <= step:
            progress = after_training_error(PAPER_110, now, error, progress)
    assert progress.warmup_ended_at == (400 if step >= 400 else None)
    assert learning_rate(PAPER_110, step, progress) == pytest.approx(lr, rel=1e-12)


def test_a_warm_up_that_has_ended_does_not_begin_again() -> None:
    ended = ScheduleState(warmup_ended_at=400)
    assert after_training_error(PAPER_110, 500, 99.0, ended) == ended
    assert after_training_error(PAPER_110, 500, 1.0, ended) == ended


@pytest.mark.parametrize("error", [80.0, 90.0, math.nan, math.inf])
def test_a_warm_up_goes_on_while_the_error_is_not_below_its_condition(error: float) -> None:
    assert after_training_error(PAPER_110, 400, error, ScheduleState()) == ScheduleState()


def test_training_errors_do_not_move_a_schedule_without_a_condition() -> None:
    assert after_training_error(PAPER, 400, 0.0, ScheduleState()) == ScheduleState()


@pytest.mark.parametrize(
    ("errors", "drops"),
    [
        ([50, 40, 30, 20], ()),
        ([50, 51, 49, 52, 48], ()),
        ([50, 51, 52], (3_000,)),
        ([50, 50, 50], (3_000,)),
        ([50, 40, 41, 42, 43, 44], (4_000, 6_000)),
        ([50, 40, 41, 42, 39, 40, 38], (4_000,)),
        ([50, 51, 52, 53, 49, 50, 51], (3_000, 7_000)),
    ],
)
def test_a_plateau_drops_after_two_evaluations_without_gain(
    errors: list[float], drops: tuple[int, ...]
) -> None:
    progress = ScheduleState()
    for number, error in enumerate(errors, start=1):
        progress = after_validation_error(PLATEAU, 1_000 * number, error, progress)
    assert progress.drop_steps == drops
    for passed, step in enumerate(drops):
        before, after = (learning_rate(PLATEAU, at, progress) for at in (step - 1, step))
        assert before == pytest.approx(0.1 * 0.1**passed, rel=1e-12)
        assert after == pytest.approx(0.1 * 0.1 ** (passed + 1), rel=1e-12)


def test_validation_errors_do_not_move_a_schedule_of_fixed_drops() -> None:
    progress = ScheduleState()
    for step, error in ((1_000, 50.0), (2_000, 60.0), (3_000, 70.0)):
        progress = after_validation_error(PAPER, step, error, progress)
    assert progress == ScheduleState()


def test_a_plateau_and_a_conditional_warm_up_remember_each_other() -> None:
    recipe = RecipeConfig(plateau_patience=1, warmup_until_error=80.0, warmup_lr=0.02)
    progress = after_validation_error(recipe, 10, 60.0, ScheduleState())
    progress = after_training_error(recipe, 20, 79.0, progress)
    assert progress == ScheduleState(warmup_ended_at=20)
    for step, error in ((20, 70.0), (30, 71.0)):
        progress = after_validation_error(recipe, step, error, progress)
    assert progress == ScheduleState(warmup_ended_at=20, drop_steps=(30,), best_error=70.0)


@pytest.mark.parametrize(
    "warm_up", [{"warmup_steps": 900}, {"warmup_until_error": 80.0}], ids=["linear", "conditional"]
)
def test_evaluations_within_a_warm_up_are_no_plateau(warm_up: dict[str, Any]) -> None:
    recipe = RecipeConfig(plateau_patience=2, **warm_up)
    progress = ScheduleState()
    for step in range(100, 900, 100):
        progress = after_validation_error(recipe, step, 50.0, progress)
    assert progress == ScheduleState()
    progress = after_training_error(recipe, 900, 79.0, progress)
    assert learning_rate(recipe, 900, progress) == 0.1
    for step in (900, 1_000, 1_100):  # the first of them is what the others are measured by
        progress = after_validation_error(recipe, step, 55.0, progress)
    assert progress.drop_steps == (1_100,)


def test_what_an_earlier_version_counted_within_a_warm_up_ends_with_it() -> None:
    recipe = RecipeConfig(plateau_patience=2, warmup_until_error=80.0)
    saved = ScheduleState(drop_steps=(10, 20), best_error=40.0, evaluations_without_gain=1)
    assert after_training_error(recipe, 30, 79.0, saved) == ScheduleState(warmup_ended_at=30)


@pytest.mark.parametrize(
    ("factor", "drops", "lowest"), [(0.1, 3, 1e-4), (0.5, 10, 0.1 / 1024), (1e-5, 1, 1e-6)]
)
def test_a_plateau_lowers_the_rate_to_a_thousandth_and_no_further(
    factor: float, drops: int, lowest: float
) -> None:
    recipe = RecipeConfig(lr=0.1, drop_factor=factor, plateau_patience=2)
    progress = ScheduleState()
    for step in range(1_000, 100_000, 1_000):
        progress = after_validation_error(recipe, step, 50.0, progress)
    assert progress.drop_steps == tuple(range(3_000, 3_000 + 2_000 * drops, 2_000))
    assert learning_rate(recipe, 100_000, progress) == pytest.approx(lowest, rel=1e-9)


@given(
    steps=st.lists(st.integers(0, 1_999), min_size=2, max_size=20),
    drops=st.sets(st.integers(400, 1_999), max_size=4),
)
def test_after_the_warm_up_a_learning_rate_never_rises(steps: list[int], drops: set[int]) -> None:
    recipe = RecipeConfig(iterations=2_000, warmup_steps=400, drops=tuple(sorted(drops)))
    rates = [learning_rate(recipe, step, ScheduleState()) for step in sorted(steps) if step >= 400]
    assert rates == sorted(rates, reverse=True)
    assert all(0 < rate <= recipe.lr for rate in rates)
