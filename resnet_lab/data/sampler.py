"""The order of training images and the shares of processes, as pure functions.

Training reads an endless stream, one random permutation of the training part after another, and
step t takes positions ``t * batch_size`` to ``(t + 1) * batch_size - 1`` of it. Every image comes
exactly once per epoch, no remainder is dropped, and a run can start at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import torch
from torch import Tensor

from resnet_lab.data.randomness import derived_generator
from resnet_lab.errors import UserError

T = TypeVar("T", covariant=True)


class Batches(Generic[T]):
    """Re-iterable batches; each iteration calls `start` anew."""

    def __init__(self, start: Callable[[], Iterator[T]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[T]:
        return self._start()


@dataclass(frozen=True)
class Order:
    """The images of one process: its `share` of each batch of `batch_size`, in `seed`'s order."""

    seed: int
    batch_size: int
    share: slice


@lru_cache(maxsize=4)
def epoch_permutation(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order (int64, (count,)) in which epoch `epoch` of `seed` visits the images."""
    return torch.randperm(count, generator=derived_generator(seed, "order", epoch))


def batch_positions(step: int, batch_size: int, count: int, seed: int) -> Tensor:
    """Return a step's positions (int64, (batch_size,)) in a training part of `count` images."""
    first, stop = step * batch_size, (step + 1) * batch_size
    pieces = []
    while first < stop:
        epoch, offset = divmod(first, count)
        pieces.append(epoch_permutation(count, seed, epoch)[offset : offset + stop - first])
        first += len(pieces[-1])
    return torch.cat(pieces)


def rank_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """Return the contiguous share of a global batch for `rank` of `world_size` processes."""
    share = batch_size // world_size
    return slice(rank * share, (rank + 1) * share)


def evaluation_positions(count: int, rank: int = 0, world_size: int = 1) -> Tensor:
    """Return the positions that `rank` evaluates: every `world_size`-th, without repetition."""
    return torch.arange(count)[rank::world_size]


def check_training_batch(batch_size: int, count: int, world_size: int) -> None:
    """Raise UserError unless a global batch fits the `count` images and divides over processes."""
    if batch_size < 1:
        raise UserError(f"batch size {batch_size}: it must be at least 1")
    if batch_size > count:
        raise UserError(
            f"batch size {batch_size} is larger than the training part, {count} images; "
            f"use at most {count}"
        )
    if batch_size % world_size:
        raise UserError(
            f"batch size {batch_size} does not divide over {world_size} processes; "
            f"use a multiple of {world_size}"
        )
