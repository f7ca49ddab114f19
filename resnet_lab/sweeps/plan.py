"""What a sweep will cost before anything runs: its runs, their iterations and multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_lab.errors import UserError
from resnet_lab.networks.complexity import complexity
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.sweeps.space import Sweep
from resnet_lab.training.config import Config

SHAPES: dict[str, tuple[int, int, int]] = {
    "digits": (10, 1, 8),
    "cifar10": (10, 3, 32),
    "cifar100": (100, 3, 32),
    "imagenet": (1000, 3, 224),
}
"""Classes, channels and side of the images of data sets that are always the same."""


def multiply_adds(config: Config) -> int | None:
    """Multiply-adds of a run's forward passes over its training batches.

    The backward passes take about twice as many again. None for data whose classes and size are
    not known before they are read.
    """
    if config.data.name not in SHAPES:
        return None
    classes, channels, side = SHAPES[config.data.name]
    image = sum(
        complexity(spec, num_classes=classes, in_channels=channels, image_size=side).multiply_adds
        for spec in config.specs()
    )
    return image * config.recipe.batch_size * config.recipe.iterations


def plan_lines(
    runs: Sequence[tuple[str, Config, RunDirectory | None]], states: Mapping[str, int]
) -> list[str]:
    """The plan of a sweep: a line a run, and the sums of what remains.

    Args:
        runs: (state, configuration, place) of the runs that are known, in order; a search knows
            only what one of its runs costs, whose state is "each" and which has no place.
        states: number of slots in each state: "finished", "failed", "running", "to do".
    """
    lines = [f"{state:<8} {_cost(config)}{_label(place)}" for state, config, place in runs]
    total = sum(states.values())
    remaining = total - states.get("finished", 0)
    lines.append(
        f"{total} runs: "
        + ", ".join(f"{count} {state}" for state, count in states.items() if count)
    )
    if runs[0][0] == "each":
        left = [runs[0][1]] * remaining
    else:
        left = [config for state, config, _ in runs if state != "finished"]
    iterations = sum(config.recipe.iterations for config in left)
    costs = [multiply_adds(config) for config in left]
    known = [cost for cost in costs if cost is not None]
    work = f"{sum(known):.3g} multiply-adds forward" if len(known) == len(costs) else "size unknown"
    lines.append(f"remaining: {remaining} runs, {iterations:,} iterations, {work}")
    return lines


def _cost(config: Config) -> str:
    cost = multiply_adds(config)
    work = f"{cost:>9.3g}" if cost is not None else f"{'?':>9}"
    return f"{config.recipe.iterations:>9,} iterations {work} multiply-adds"


def _label(place: RunDirectory | None) -> str:
    return f"  {place.path}" if place is not None else ""


def check_early_termination(sweep: Sweep, config: Config) -> None:
    """Raise UserError if no run would ever reach the first evaluation that could stop it."""
    if sweep.early_terminate is None:
        return
    recipe = config.recipe
    evaluations = (recipe.iterations - 1) // recipe.evaluate_every
    if sweep.early_terminate.first > evaluations:
        raise UserError(
            f"early_terminate would stop runs at evaluation {sweep.early_terminate.first}, but a "
            f"run has only {evaluations} before its last: lower min_iter or recipe.evaluate_every "
            f"({recipe.evaluate_every})"
        )
