"""Batches read from image files, in worker processes or in this one, with the same result."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from resnet_lab.data.config import TestView
from resnet_lab.data.crops import colour_shift, evaluation_views, training_view
from resnet_lab.data.image_tree import ImageTree
from resnet_lab.data.randomness import derived_generator
from resnet_lab.errors import RunFailed, UserError
from resnet_lab.yaml_json import one_line

HANDING_OVER = ("DataLoader worker", "shared memory", "ancdata", "ancillary data")
"""Words in torch's errors when a worker has died or could not share its batches."""

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class TrainingPlan:
    """The images (indices of a tree) that one process trains on in one step.

    offset: position of the first of them in the global batch.
    """

    step: int
    offset: int
    images: list[int]


class RawBatch(NamedTuple):
    """Views, each uint8 (b, 3, h, w); labels (b,); colour shifts for values in 0..1, (b, 3)."""

    views: list[Tensor]
    labels: Tensor
    colour_shift: Tensor | None = None


Read: TypeAlias = list[RawBatch] | UserError | RunFailed
"""Result of reading: batches, or the error that prevented it."""


class BatchReader(Generic[Plan], Dataset[Any]):
    """Reads the images of a plan. It holds no open file, so worker processes can run it."""

    def __init__(self, tree: ImageTree) -> None:
        self.tree = tree

    def labels(self, images: Sequence[int]) -> Tensor:
        """Return the labels of images: int64 (b,)."""
        return torch.tensor([self.tree.labels[image] for image in images])

    def read(self, plan: Plan) -> list[RawBatch]:
        """Return the batches of `plan`; raise UserError for an image that cannot be read."""
        raise NotImplementedError

    def __getitem__(self, plan: Plan) -> Read:
        """Return `read(plan)`, or its UserError: raised in a worker, it would lose its message.

        A worker puts the batches into shared memory here. If torch did so later, while sending
        them, a batch without room would be lost and the training process would wait forever.
        """
        if get_worker_info() is None:
            return self.read(plan)
        try:
            batches = self.read(plan)
        except UserError as error:
            return error
        except OSError as error:
            return RunFailed(_cannot_hand_over(error))
        try:
            return _shared(batches)
        except (OSError, RuntimeError) as error:
            return RunFailed(_cannot_hand_over(error))


class TrainingReader(BatchReader[TrainingPlan]):
    """Reads images augmented by a function of seed, step and position in the batch."""

    def __init__(self, tree: ImageTree, *, seed: int, augment: bool) -> None:
        super().__init__(tree)
        self._seed = seed
        self._augment = augment

    def read(self, plan: TrainingPlan) -> list[RawBatch]:
        labels = self.labels(plan.images)
        if not self._augment:
            views = [evaluation_views(self.tree.read(image), "centre")[0] for image in plan.images]
            return [RawBatch([torch.stack(views)], labels)]
        samples = [
            self._augmented(image, plan.step, place)
            for place, image in enumerate(plan.images, start=plan.offset)
        ]
        views, shifts = ([*column] for column in zip(*samples, strict=True))
        return [RawBatch([torch.stack(views)], labels, torch.stack(shifts))]

    def _augmented(self, image: int, step: int, place: int) -> tuple[Tensor, Tensor]:
        generator = derived_generator(self._seed, "augment", step, place)
        return training_view(self.tree.read(image), generator), colour_shift(generator)


class EvaluationReader(BatchReader[list[int]]):
    """Reads test views. Consecutive images whose views differ in size form separate batches."""

    def __init__(self, tree: ImageTree, view: TestView) -> None:
        super().__init__(tree)
        self._view = view

    def read(self, plan: list[int]) -> list[RawBatch]:
        samples = [(evaluation_views(self.tree.read(image), self._view), image) for image in plan]
        groups = groupby(samples, key=lambda sample: [view.shape for view in sample[0]])
        return [self._stack(list(group)) for _, group in groups]

    def _stack(self, samples: list[tuple[list[Tensor], int]]) -> RawBatch:
        views, images = zip(*samples, strict=True)
        return RawBatch(
            [torch.stack(view) for view in zip(*views, strict=True)],
            self.labels(images),
        )


def read_batches(
    reader: BatchReader[Plan], plans: Iterable[Plan], *, workers: int, pin_memory: bool = False
) -> Iterator[RawBatch]:
    """Read `plans` in order, ahead of use, in up to `workers` processes (at most one per core).

    Raises:
        UserError: an image cannot be read.
        RunFailed: the processes cannot be started, have died, or cannot share memory.
    """
    processes = min(workers, _cores())
    loader: DataLoader[Any] = DataLoader(
        reader,
        batch_size=None,
        sampler=plans,
        num_workers=processes,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else iterating would draw from the global generator
    )
    for batches in _handed_over(loader) if processes else loader:
        if isinstance(batches, UserError | RunFailed):
            raise batches
        yield from batches


def _handed_over(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the workers' batches; raise RunFailed if a worker dies or cannot share a batch."""
    try:
        yield from loader
    except OSError as error:
        raise RunFailed(_cannot_hand_over(error)) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in HANDING_OVER):
            raise
        raise RunFailed(_cannot_hand_over(error)) from error


def _shared(batches: list[RawBatch]) -> list[RawBatch]:
    """Move batches into shared memory; raise if there is no room or no file descriptor."""
    for batch in batches:
        shift = [] if batch.colour_shift is None else [batch.colour_shift]
        for tensor in (*batch.views, batch.labels, *shift):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return batches


def _cannot_hand_over(error: Exception) -> str:
    """Message for a failure between worker processes and this one, with remedies."""
    return (
        f"the processes that read images cannot hand them over ({one_line(error)}): give them "
        "more shared memory (docker run --shm-size=2g), memory or open files (ulimit -n), fewer of "
        "them, or --data.workers 0, which reads in the training process"
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _unchanged(batches: Read) -> Read:
    return batches
