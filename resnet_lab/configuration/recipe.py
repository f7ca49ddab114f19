"""The recipe: optimizer, learning rate, batch and precision of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from resnet_lab.errors import UserError
from resnet_lab.field_types import check_fields, refusal

MOST = 10**9
"""Upper limit on iterations and images, beyond any real training."""
LARGEST = 1e38
"""About the largest float32, the precision of the weights."""


_STORED: ContextVar[bool] = ContextVar("reading a stored run", default=False)


@contextmanager
def as_stored() -> Iterator[None]:
    """While entered, accept recipes of earlier versions, so that their runs stay readable."""
    token = _STORED.set(True)
    try:
        yield
    finally:
        _STORED.reset(token)


def reads_stored() -> bool:
    """Whether the configuration of a stored run is being read."""
    return _STORED.get()


@dataclass(frozen=True)
class RecipeConfig:
    """How a cohort is trained; by default as the paper did (R 3.4, 4.2).

    Steps are optimizer iterations, errors percent.

    Attributes:
        iterations: length of the training.
        batch_size: images a step, over all devices together.
        lr: learning rate after the warm-up and before the first drop.
        optimizer: sgd, adamw, lars or one of your own; a setting that it does not use is refused.
        momentum: of SGD and LARS; AdamW's beta1.
        weight_decay: on every parameter, as the paper's solver did; LARS leaves norms and biases
            out.
        nesterov: use Nesterov's momentum in SGD; the paper does not.
        beta2: how slowly AdamW forgets squared gradients.
        eps: added to the root of their mean by AdamW.
        trust_coefficient: the ratio of a layer's step and its weights that LARS aims at, before lr.
        drops: the learning rate is multiplied by drop_factor at each of these steps, none of them
            within warmup_steps.
        drop_factor: R: 0.1.
        plateau_patience: instead of at fixed steps, drop after this many evaluations in a row
            without a better validation error, until the learning rate is lr / 1000 or less; 0
            switches it off. Evaluations within a warm-up do not count. Decided member by member.
        warmup_steps: the learning rate rises linearly from warmup_lr to lr over these steps.
        warmup_until_error: hold warmup_lr until the training error (mean of the last
            warmup_window steps) is below this; R 4.2 uses 80 for 110 layers. Member by member.
        warmup_lr: learning rate at the start of either warm-up.
        warmup_window: steps between two looks at that condition, and its window.
        clip: limit on the gradient norm; of each layer's tensor or of each member's whole
            gradient (clip_scope). Members never share a limit.
        clip_scope: what `clip` limits.
        precision: arithmetic of the forward and backward pass; weights stay float32. "auto" is
            bfloat16 where the machine is fast with it.
        compile: compile the members with torch.compile; changes rounding. "auto" does so where
            it saves more time than it takes.
        ghost_batch: batch norm sees groups of this many images (R's two GPUs: 64); 0: the batch.
        precise_bn: re-estimate the batch-norm statistics on this many training images before
            the last evaluation (the authors' released models do); 0: keep the running ones.
        evaluate_every: steps between evaluations on the validation split.
        test_curve: also evaluate on the test split each time, for curves as in the paper;
            nothing is ever chosen by it.
        log_every: steps between two rows of training loss and error, each the mean since the last.
    """

    iterations: int = 64_000
    batch_size: int = 128
    lr: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = False
    beta2: float = 0.999
    eps: float = 1e-8
    trust_coefficient: float = 0.001
    drops: tuple[int, ...] = ()
    drop_factor: float = 0.1
    plateau_patience: int = 0
    warmup_steps: int = 0
    warmup_until_error: float | None = None
    warmup_lr: float = 0.01
    warmup_window: int = 100
    clip: float | None = None
    clip_scope: Literal["layer", "network"] = "layer"
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    compile: bool | Literal["auto"] = False
    ghost_batch: int = 0
    precise_bn: int = 0
    evaluate_every: int = 1000
    test_curve: bool = False
    log_every: int = 100

    def __post_init__(self) -> None:
        check_fields(self, refusal("recipe"))
        self._check_ranges()
        self._check_schedule()
        if self.ghost_batch and self.batch_size % self.ghost_batch:
            raise UserError(
                f"recipe.ghost_batch is {self.ghost_batch}: it must divide recipe.batch_size "
                f"({self.batch_size})"
            )

    def _check_ranges(self) -> None:
        for name in ("iterations", "batch_size", "evaluate_every", "log_every", "warmup_window"):
            if getattr(self, name) < 1:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: give 1 or more")
            if getattr(self, name) > MOST:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: give {MOST:,} or less")
        for name in ("lr", "warmup_lr", "eps", "trust_coefficient"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: give a positive number")
        for name in ("weight_decay", "warmup_steps", "plateau_patience", "precise_bn"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: give 0 or more")
        for name in ("momentum", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: give a number in [0, 1)")
        if self.nesterov and self.momentum == 0:
            raise UserError("recipe.nesterov needs recipe.momentum above 0")
        if self.ghost_batch < 0 or self.ghost_batch == 1:
            raise UserError(f"recipe.ghost_batch is {self.ghost_batch}: give 0 or at least 2")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UserError(f"recipe.clip is {self.clip}: give a positive norm, or null for none")
        for name in ("lr", "warmup_lr", "weight_decay", "clip", "eps", "trust_coefficient"):
            if (getattr(self, name) or 0) > LARGEST:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: give {LARGEST:g} or less")

    def _check_schedule(self) -> None:
        if list(self.drops) != sorted(set(self.drops)) or any(step < 1 for step in self.drops):
            raise UserError(f"recipe.drops is {list(self.drops)}: give rising steps from 1 on")
        if self.drops and self.drops[-1] >= self.iterations:
            raise UserError(
                f"recipe.drops has {self.drops[-1]}, past the end of {self.iterations} iterations: "
                "scale it too, such as --recipe.drops "
                f"'[{self.iterations // 2}, {self.iterations * 3 // 4}]'"
            )
        if self.drops and self.drops[0] < self.warmup_steps and not reads_stored():
            raise UserError(
                f"recipe.drops has {self.drops[0]}, within the warm-up of {self.warmup_steps} "
                f"steps: drop from step {self.warmup_steps} on, or shorten recipe.warmup_steps"
            )
        if self.drops and self.plateau_patience:
            raise UserError("recipe.drops and recipe.plateau_patience exclude each other: give one")
        if not 0 < self.drop_factor < 1:
            raise UserError(
                f"recipe.drop_factor is {self.drop_factor}: give a number between 0 and 1"
            )
        if self.warmup_until_error is not None and not 0 < self.warmup_until_error <= 100:
            raise UserError(
                f"recipe.warmup_until_error is {self.warmup_until_error}: give percent above 0 and "
                "up to 100, or null for none"
            )
        if self.warmup_steps and self.warmup_until_error is not None:
            raise UserError(
                "recipe.warmup_steps and recipe.warmup_until_error exclude each other: give one"
            )
        if self.warmup_steps >= self.iterations:
            raise UserError(
                f"recipe.warmup_steps is {self.warmup_steps}, but the run has only "
                f"{self.iterations} iterations"
            )
