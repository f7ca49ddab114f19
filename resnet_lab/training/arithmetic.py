"""Which arithmetic a run has where its recipe leaves the choice to the machine.

The choice is a function of machine and recipe, never of a measurement: the same command chooses
the same twice. It stands in run.json, and a run that continues elsewhere keeps what it began with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from resnet_lab.machine import has_fast_bfloat16
from resnet_lab.networks.complexity import Complexity
from resnet_lab.training.recipe import RecipeConfig

FLOPS_PER_THREAD = 5e10
"""Float32 operations a second that convolutions reach on one CPU thread; docs/speed.md."""
COMPILE_SECONDS_PER_LAYER = 2.6
"""What torch.compile takes on a CPU, forward and backward; docs/speed.md."""
SAVED = {"float32": 0.05, "bfloat16": 0.5}
"""Of the time of float32 without it, what compiling saves on a CPU; docs/speed.md."""
MARGIN = 2.0
"""It must save this many times what it costs."""


def choose_arithmetic(
    recipe: RecipeConfig, sizes: Sequence[Complexity], device: torch.device
) -> RecipeConfig:
    """Return the recipe with "auto" replaced by what suits the machine.

    bfloat16 where the hardware multiplies it; on a CPU only together with compiling, without
    which it gains little. Compiling where it saves twice the time that it takes, which on a GPU
    nobody has measured yet: there it is left to the user.

    Args:
        recipe: of the run.
        sizes: of the cohort's members.
        device: that trains.
    """
    if device.type == "cuda":
        wide = torch.cuda.get_device_capability(device)[0] < 8
        return _chosen(recipe, "float32" if wide else "bfloat16", compiled=False)
    if device.type != "cpu":
        return _chosen(recipe, "float32", compiled=False)
    narrow = has_fast_bfloat16() is True and recipe.compile is not False
    if narrow and _pays(recipe, sizes, "bfloat16"):
        return _chosen(recipe, "bfloat16", compiled=True)
    precision = recipe.precision if recipe.precision != "auto" else "float32"
    return _chosen(recipe, "float32", compiled=_pays(recipe, sizes, precision))


def _chosen(recipe: RecipeConfig, precision: str, *, compiled: bool) -> RecipeConfig:
    choice: dict[str, Any] = {}
    if recipe.precision == "auto":
        choice["precision"] = precision
    if recipe.compile == "auto":
        choice["compile"] = compiled
    return dataclasses.replace(recipe, **choice)


def _pays(recipe: RecipeConfig, sizes: Sequence[Complexity], precision: str) -> bool:
    """Whether compiling saves `MARGIN` times its cost: a multiply-add is 2 operations, 6 with
    the backward pass.
    """
    operations = 6 * sum(size.multiply_adds for size in sizes)
    images = recipe.iterations * recipe.batch_size
    seconds = operations * images / (FLOPS_PER_THREAD * torch.get_num_threads())
    cost = COMPILE_SECONDS_PER_LAYER * sum(len(size.layers) for size in sizes)
    return SAVED[precision] * seconds >= MARGIN * cost


def as_begun(recipe: RecipeConfig, provenance: Mapping[str, Any]) -> RecipeConfig:
    """Return the recipe with the arithmetic that an interrupted run has begun with."""
    known = {name: provenance.get(name) for name in ("precision", "compile")}
    return dataclasses.replace(
        recipe, **{name: value for name, value in known.items() if value is not None}
    )
