"""Learning rates as pure functions of the step and of what a member has achieved so far."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lab.training.recipe import RecipeConfig


@dataclass(frozen=True)
class Progress:
    """What conditional schedules remember of one member.

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


def learning_rate(recipe: RecipeConfig, step: int, progress: Progress) -> float:
    """Return the learning rate of the update made at `step` (0 is the first; R 3.4, 4.2)."""
    if recipe.warmup_until_error is not None and progress.warmup_ended_at is None:
        return recipe.warmup_lr
    if step < recipe.warmup_steps:
        rise = step / recipe.warmup_steps
        return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * rise
    drops = sum(step >= drop for drop in recipe.drops + progress.drop_steps)
    return recipe.lr * recipe.drop_factor**drops


def after_training_error(
    recipe: RecipeConfig, step: int, error: float, progress: Progress
) -> Progress:
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
    return Progress(step, progress.drop_steps, progress.best_error)


def after_validation_error(
    recipe: RecipeConfig, step: int, error: float, progress: Progress
) -> Progress:
    """Drop the learning rate when the validation error (percent) has stopped falling (R 3.4)."""
    if not recipe.plateau_patience:
        return progress
    if error < progress.best_error:
        return Progress(progress.warmup_ended_at, progress.drop_steps, error)
    waited = progress.evaluations_without_gain + 1
    if waited < recipe.plateau_patience:
        return Progress(progress.warmup_ended_at, progress.drop_steps, progress.best_error, waited)
    drops = (*progress.drop_steps, step)
    return Progress(progress.warmup_ended_at, drops, progress.best_error)
