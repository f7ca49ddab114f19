"""Learning rates as pure functions of the step and of a member's schedule state."""

from __future__ import annotations

from dataclasses import dataclass, replace

from resnet_lab.configuration.recipe import RecipeConfig

LOWEST = 1e-3
"""Fraction of recipe.lr at which plateau drops end: the paper's three drops by 10."""


@dataclass(frozen=True)
class ScheduleState:
    """State of one member's conditional schedules.

    Attributes:
        warmup_ended_at: step from which the full learning rate holds; None during the warm-up.
        drop_steps: steps at which a plateau lowered the learning rate.
        best_error: lowest validation error so far, percent; infinite before the first.
        evaluations_without_gain: evaluations since then, or since the last drop.
    """

    warmup_ended_at: int | None = None
    drop_steps: tuple[int, ...] = ()
    best_error: float = float("inf")
    evaluations_without_gain: int = 0


def learning_rate(recipe: RecipeConfig, step: int, progress: ScheduleState) -> float:
    """Return the learning rate of the update made at `step` (0 is the first; R 3.4, 4.2)."""
    if not warms_up(recipe, step, progress):
        drops = sum(step >= drop for drop in recipe.drops + progress.drop_steps)
        return recipe.lr * recipe.drop_factor**drops
    if recipe.warmup_until_error is not None:
        return recipe.warmup_lr
    rise = step / recipe.warmup_steps
    return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * rise


def warms_up(recipe: RecipeConfig, step: int, progress: ScheduleState) -> bool:
    """Return whether the update made at `step` belongs to a warm-up of either kind."""
    if recipe.warmup_until_error is not None:
        return progress.warmup_ended_at is None
    return step < recipe.warmup_steps


def after_training_error(
    recipe: RecipeConfig, step: int, error: float, progress: ScheduleState
) -> ScheduleState:
    """End the conditional warm-up when the training error has fallen below its condition.

    Args:
        recipe: the run's recipe.
        step: updates made so far, the first step with the new learning rate.
        error: mean training error over the last `warmup_window` steps, percent.
        progress: of the member.
    """
    limit = recipe.warmup_until_error
    if limit is None or progress.warmup_ended_at is not None or not error < limit:
        return progress
    return ScheduleState(warmup_ended_at=step)


def after_validation_error(
    recipe: RecipeConfig, step: int, error: float, progress: ScheduleState
) -> ScheduleState:
    """Drop the learning rate when the validation error (percent) has stopped falling (R 3.4).

    Evaluations within a warm-up do not count. No drop follows once the rate is at `LOWEST`.
    """
    if not recipe.plateau_patience or warms_up(recipe, step, progress):
        return progress
    if error < progress.best_error:
        return replace(progress, best_error=error, evaluations_without_gain=0)
    waited = progress.evaluations_without_gain + 1
    if waited < recipe.plateau_patience or _is_lowest(recipe, progress):
        return replace(progress, evaluations_without_gain=waited)
    drops = (*progress.drop_steps, step)
    return replace(progress, drop_steps=drops, evaluations_without_gain=0)


def _is_lowest(recipe: RecipeConfig, progress: ScheduleState) -> bool:
    rounding = 1 + 1e-9  # 0.1 ** 3 is a little more than 1e-3
    return recipe.drop_factor ** len(progress.drop_steps) <= LOWEST * rounding
