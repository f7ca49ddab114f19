"""Choice of precision and compilation where the recipe says "auto".

The choice depends on machine and recipe, never on a measurement, so it is reproducible. It is
stored in run.json, and a run that resumes elsewhere keeps it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from resnet_lab.configuration.config import Config
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.loader import Data
from resnet_lab.machine import has_fast_bfloat16
from resnet_lab.networks.complexity import Complexity
from resnet_lab.training.checkpoint_files import Checkpoint
from resnet_lab.training.run_info import sizes

FLOPS_PER_THREAD = 5e10
"""Float32 operations a second that convolutions reach on one CPU thread; docs/speed.md."""
COMPILE_SECONDS_PER_LAYER = 2.6
"""Time that torch.compile takes on a CPU, forward and backward; docs/speed.md."""
SAVED = 0.5
"""Fraction of the float32 time that both save on a CPU with AVX-512 bf16; docs/speed.md."""
MARGIN = 2.0
"""Compiling must save this many times what it costs."""


def choose_precision(
    recipe: RecipeConfig, members: Sequence[Complexity], device: torch.device
) -> RecipeConfig:
    """Return the recipe with "auto" replaced by the best choice for the machine.

    bfloat16 where the hardware multiplies it; on a CPU only together with compiling, where both
    save twice the time that compiling takes. In float32 compiling saved nothing measurable. On a
    GPU it has not been measured yet, so there it is left to the user.

    Args:
        recipe: recipe of the run.
        members: complexity of each member.
        device: device to train on.
    """
    if device.type == "cuda":
        narrow = torch.cuda.get_device_capability(device)[0] >= 8
        return _chosen(recipe, narrow, compiled=False)
    pays = device.type == "cpu" and has_fast_bfloat16() is True and _pays(recipe, members)
    told_otherwise = recipe.precision == "float32" or recipe.compile is False
    both = pays and not told_otherwise
    return _chosen(recipe, both, compiled=both)


def _chosen(recipe: RecipeConfig, narrow: bool, *, compiled: bool) -> RecipeConfig:
    choice: dict[str, Any] = {}
    if recipe.precision == "auto":
        choice["precision"] = "bfloat16" if narrow else "float32"
    if recipe.compile == "auto":
        choice["compile"] = compiled
    return dataclasses.replace(recipe, **choice)


def _pays(recipe: RecipeConfig, sizes: Sequence[Complexity]) -> bool:
    """Whether compiling saves `MARGIN` times its cost: a multiply-add is 2 operations, 6 with
    the backward pass.
    """
    operations = 6 * sum(size.multiply_adds for size in sizes)
    images = recipe.iterations * recipe.batch_size
    seconds = operations * images / (FLOPS_PER_THREAD * torch.get_num_threads())
    cost = COMPILE_SECONDS_PER_LAYER * sum(len(size.layers) for size in sizes)
    return SAVED * seconds >= MARGIN * cost


def resolve_auto(
    config: Config, data: Data, device: torch.device, checkpoint: Checkpoint | None
) -> RecipeConfig:
    """Return the recipe without any "auto": as the run began, or chosen for the machine."""
    recipe = config.recipe
    if checkpoint is not None:
        recipe = as_begun(recipe, checkpoint.info["provenance"])
    return choose_precision(recipe, sizes(config, data), device)


def as_begun(recipe: RecipeConfig, provenance: Mapping[str, Any]) -> RecipeConfig:
    """Return the recipe with the precision and compilation that an interrupted run began with."""
    known = {name: provenance.get(name) for name in ("precision", "compile")}
    return dataclasses.replace(
        recipe, **{name: value for name, value in known.items() if value is not None}
    )
