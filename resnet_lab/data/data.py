"""What training and evaluation see of any data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from resnet_lab.data.batches import Batches, check_training_batch
from resnet_lab.data.config import DataConfig
from resnet_lab.data.inputs import Inputs
from resnet_lab.data.normalisation import Normalisation
from resnet_lab.data.protocol import Split
from resnet_lab.errors import UserError, suggest

Device: TypeAlias = str | torch.device
TrainingBatch: TypeAlias = tuple[Tensor, Tensor]
EvaluationBatch: TypeAlias = tuple[list[Tensor], Tensor]
MOST = 1_000_000
"""Images of an evaluation batch."""


class Data(ABC):
    """Images and labels, split by a protocol, as batches that depend on seed and step alone.

    Attributes:
        config: what was asked for.
        name: the data set's name.
        num_classes: number of classes; labels are 0 to num_classes - 1.
        image_shape: (channels, height, width) of a training input.
        counts: images in "train", "validation" (absent under protocol "full") and "test" (absent
            where config.test is false).
        classes: names of the classes in the order of the labels; None where there are none.
        protocol: the training data's split in short, such as "45k/5k", "50k" or "1294/143".
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        num_classes: int,
        image_shape: tuple[int, int, int],
        split: Split,
        test_count: int,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self.num_classes = num_classes
        self.image_shape = image_shape
        self.classes = classes
        self.protocol = split.label
        held_out = {"validation": len(split.validation)} if len(split.validation) else {}
        test = {"test": test_count} if config.test else {}
        self.counts = {"train": len(split.train), **held_out, **test}

    def describe(self) -> dict[str, Any]:
        """Return what a result needs to say about its data, ready for JSON."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "counts": dict(self.counts),
            "split_seed": self.config.split_seed,
            "normalise": self.config.normalise,
            "augment": self.config.augment,
            "test_view": self.config.test_view,
            "image_shape": list(self.image_shape),
            "num_classes": self.num_classes,
        }

    @property
    @abstractmethod
    def normalisation(self) -> Normalisation:
        """How pixels / 255 become inputs, on the CPU."""

    def inputs(self) -> Inputs:
        """Return what weights that are trained on these data must say of their inputs."""
        return Inputs(
            data=self.name,
            protocol=self.protocol,
            kind=self.config.normalise,
            normalisation=self.normalisation,
            image_shape=self.image_shape,
            num_classes=self.num_classes,
            classes=self.classes,
        )

    @abstractmethod
    def train_batch(
        self,
        step: int,
        *,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: Device = "cpu",
    ) -> TrainingBatch:
        """Return step `step` of the run with `seed`: a pure function of its arguments.

        Args:
            step: optimiser step, from 0.
            batch_size: images of the global batch; `rank` gets its contiguous share.

        Returns:
            x float32 (b, C, H, W), augmented and normalised, and y int64 (b,), on `device`.

        Raises:
            UserError: the batch is larger than the training part, or does not divide over
                `world_size` processes.
        """

    def train_batches(
        self,
        *,
        seed: int,
        batch_size: int,
        start: Callable[[], int],
        stop: int,
        rank: int = 0,
        world_size: int = 1,
        device: Device = "cpu",
    ) -> Iterable[TrainingBatch]:
        """Return `train_batch` of steps ``start()`` to ``stop - 1``, one after the other.

        `start` is called each time an iteration begins, so the same value serves a resumed run.
        """
        check_training_batch(batch_size, self.counts["train"], world_size)

        def batches() -> Iterator[TrainingBatch]:
            for step in range(start(), stop):
                yield self.train_batch(
                    step,
                    seed=seed,
                    batch_size=batch_size,
                    rank=rank,
                    world_size=world_size,
                    device=device,
                )

        return Batches(batches)

    @abstractmethod
    def evaluation_batches(
        self,
        split: str,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: Device = "cpu",
    ) -> Iterable[EvaluationBatch]:
        """Return a part of the data, unaugmented, every image exactly once over all ranks.

        Args:
            split: "train", "validation" or "test".
            batch_size: images a batch of this process, at most.

        Returns:
            (views, y): each view float32 (b, C, h, w), y int64 (b,). There is one view for the
            centre view, ten for ten-crop, one a scale for multi-scale; a network's class
            probabilities are to be averaged over them.

        Raises:
            UserError: there is no such part, it is not held out under this protocol, or a batch
                would be empty.
        """

    @abstractmethod
    def probe_batch(self, size: int, seed: int = 0, device: Device = "cpu") -> TrainingBatch:
        """Return `size` fixed, unaugmented training images chosen by `seed` (all, if fewer)."""

    def _check_evaluation(self, split: str, batch_size: int) -> None:
        if batch_size < 1:
            raise UserError(f"evaluation batch size {batch_size}: it must be at least 1")
        if batch_size > MOST:
            raise UserError(f"evaluation batch size {batch_size}: it must be {MOST:,} at most")
        if split in self.counts:
            return
        if split == "validation":
            raise UserError(
                f"data: {self.name} has no validation part under protocol 'full'; "
                "use protocol 'validation'"
            )
        if split == "test":
            raise UserError(
                f"data: {self.name}'s test images are out of reach, as data.test is false"
            )
        raise UserError(
            f"data: no part '{split}'{suggest(split, self.counts)} "
            f"(known: {', '.join(self.counts)})"
        )
