"""Training loops: Lightning's own, one with many updates per Lightning step, or a CUDA graph.

Lightning's hooks are needed only at steps with a recording, a logged row, an evaluation or a
checkpoint. The stretch of updates between two such steps can be one Lightning step, so that its
overhead is nearly zero. Every number equals the plain loop's bit for bit, as a test checks. The
plain loop serves distributed training and images read from files.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import torch

from resnet_lab.configuration.config import Config, Loop, TrainerConfig
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.loader import Data
from resnet_lab.data.memory import InMemoryData
from resnet_lab.data.sampler import Batches
from resnet_lab.errors import UserError
from resnet_lab.networks.network import Network, build_network
from resnet_lab.recording.schedule import recording_steps
from resnet_lab.training.batch_norm import use_ghost_batches
from resnet_lab.training.cohort import Cohort, make_optimizer
from resnet_lab.training.cuda_graph import CudaGraph

PATIENCE = 0.25
"""Seconds after which a stretch ends early, so that signals and clocks are checked."""


def choose_loop(trainer: TrainerConfig, data: Data, device: torch.device) -> Loop:
    """Turn "auto" into the fastest tested loop that this run can use.

    A CUDA graph is chosen by name only: no test of it has run on a GPU yet.

    Args:
        trainer: configuration with the requested `loop`.
        data: training data.
        device: device to train on.

    Raises:
        UserError: the loop was requested by name and cannot run here.
    """
    hindrance = _hindrance(trainer, data, device)
    if trainer.loop == "auto":
        return "plain" if hindrance else "stretches"
    if trainer.loop != "plain" and hindrance:
        raise UserError(f"trainer.loop is '{trainer.loop}', but {hindrance}: give auto or plain")
    if trainer.loop == "graph" and device.type != "cuda":
        raise UserError(
            f"trainer.loop is 'graph', but a CUDA graph needs a GPU and this is {device.type}: "
            "give auto or stretches"
        )
    return trainer.loop


def _hindrance(trainer: TrainerConfig, data: Data, device: torch.device) -> str | None:
    """Why only Lightning's own loop can be used; None where another one may be."""
    if trainer.processes > 1:
        return f"{trainer.processes} processes train together"
    if not isinstance(data, InMemoryData):
        return f"the images of {data.name} are read from files"
    if device.type == "mps":
        return "it is not tried on MPS"
    return None


def build_cohort(
    config: Config, data: Data, recipe: RecipeConfig | None = None, loop: Loop = "plain"
) -> Cohort:
    """Build the members with the run's seed, fit to the data.

    Args:
        config: configuration of the run.
        data: training data.
        recipe: recipe with resolved precision; by default the configuration's.
        loop: the training loop.
    """
    recipe = recipe or config.recipe
    members: dict[str, Network] = {}
    for spec in config.specs():
        network = build_network(
            spec, num_classes=data.num_classes, in_channels=data.image_shape[0], seed=config.seed
        )
        if config.ghost_batch:
            use_ghost_batches(network, config.ghost_batch)
        members[spec.name] = network
    steps_per_epoch = -(-data.counts["train"] // config.recipe.batch_size)
    make_optimizer(recipe, list(members.values()), torch.device("cpu"))  # fails before a run begins
    if loop == "plain":
        return Cohort(members, recipe, steps_per_epoch)
    assert isinstance(data, InMemoryData)
    return StretchedCohort(
        members,
        recipe,
        steps_per_epoch,
        data=data,
        seed=config.seed,
        every=looks(config),
        recording_steps=recording_steps(config.recipe.iterations, config.recording),
        capture=loop == "graph",
    )


def looks(config: Config) -> list[int]:
    """Return the intervals at whose multiples a stretch ends: to write rows, evaluate networks,
    check conditions or save checkpoints.
    """
    recipe = config.recipe
    every = [recipe.log_every, recipe.evaluate_every]
    if recipe.warmup_until_error is not None:
        every.append(recipe.warmup_window)
    if config.trainer.checkpoint_steps:
        every.append(config.trainer.checkpoint_steps)
    return every


def next_look(step: int, every: Sequence[int], last: int, recording_steps: Sequence[int]) -> int:
    """Return the step at which the stretch that begins at `step` ends.

    A pure function, so that the stretches of a resumed run end at the same steps.

    Args:
        step: updates made so far.
        every: intervals at whose multiples a stretch ends.
        last: number of training steps.
        recording_steps: in increasing order; each is a stretch of its own.
    """
    place = bisect_right(recording_steps, step)
    if place and recording_steps[place - 1] == step:
        return step + 1
    ends = [(step // steps + 1) * steps for steps in every]
    return min([*ends, last, *recording_steps[place : place + 1]])


class StretchedCohort(Cohort):
    """A cohort that makes its own batches and many updates per Lightning step.

    Args:
        members: the networks, by name.
        recipe: how to train them.
        steps_per_epoch: iterations in which every training image is seen once (rounded up).
        data: images in memory.
        seed: the run's seed.
        every: intervals at whose multiples a stretch ends.
        recording_steps: steps, in increasing order, at which all of Lightning's hooks are called.
        capture: replay the iterations of a stretch as a CUDA graph.

    Attributes:
        interrupted: called after every update; the stretch ends if it returns True.
    """

    def __init__(
        self,
        members: dict[str, Network],
        recipe: RecipeConfig,
        steps_per_epoch: int,
        *,
        data: InMemoryData,
        seed: int,
        every: Sequence[int],
        recording_steps: Sequence[int],
        capture: bool = False,
    ) -> None:
        super().__init__(members, recipe, steps_per_epoch)
        self.interrupted: Callable[[], bool] = lambda: False
        self.loop = "graph" if capture else "stretches"
        self._data = data
        self._seed = seed
        self._every = every
        self._recording_steps = recording_steps
        self._captured: CudaGraph | None = None
        self._is_warm = False

    def stretches(self) -> Batches[int]:
        """Return placeholder batches for the Trainer to iterate over."""
        return Batches(lambda: repeat(0))

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Return the placeholder batch unchanged."""
        return batch

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Make all updates of the stretch, or fewer if its time is up."""
        step = self.global_step
        stop = next_look(step, self._every, self.recipe.iterations, self._recording_steps)
        if stop == step + 1:
            self._next(watched=True)
        elif self.loop == "graph" and self._is_warm:
            self._replay(step, stop)
        else:
            self._iterate(stop)
        self._is_warm = True

    def _iterate(self, stop: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.global_step < stop:
            self._next(watched=False)
            if self.interrupted() or time.monotonic() > deadline or not self._is_warm:
                return

    def _next(self, *, watched: bool) -> None:
        images, labels = self._data.train_batch(
            self.global_step,
            seed=self._seed,
            batch_size=self.recipe.batch_size,
            device=self.device,
        )
        self.advance(images, labels, watched=watched)

    def _replay(self, step: int, stop: int) -> None:
        members = self.training_members()
        if self._captured is None or self._captured.members != members:
            self._captured = None  # free its memory first
            self._captured = CudaGraph.of(self, self._data, self._seed, members)
        if self._captured is None:
            self.loop = "stretches"
            return self._iterate(stop)
        self.count(self._captured.run(step, stop))
        return None
