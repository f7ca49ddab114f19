"""`Data`: the interface through which training and evaluation read batches of any dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from resnet_lab.data.config import DataConfig, TestView
from resnet_lab.data.inputs import Inputs
from resnet_lab.data.normalisation import Normalisation, fit_normalisation
from resnet_lab.data.protocol import split_training_data
from resnet_lab.data.randomness import derived_generator
from resnet_lab.data.sampler import (
    Batches,
    Order,
    batch_positions,
    check_training_batch,
    evaluation_positions,
    rank_slice,
)
from resnet_lab.errors import UserError, suggest

Device: TypeAlias = str | torch.device
TrainingBatch: TypeAlias = tuple[Tensor, Tensor]
EvaluationBatch: TypeAlias = tuple[list[Tensor], Tensor]
CPU = torch.device("cpu")
MOST = 1_000_000
"""Largest number of images in an evaluation batch."""


class Data(ABC):
    """Images and labels, split by a protocol, as batches that depend only on seed and step.

    Attributes:
        config: the data configuration.
        name: the dataset's name.
        num_classes: number of classes; labels are 0 to num_classes - 1.
        image_shape: (channels, height, width) of a training input.
        counts: images in "train", "validation" (absent under protocol "full") and "test" (absent
            where config.test is false).
        classes: names of the classes in the order of the labels; None if there are none.
        protocol: short form of the training data's split: "45k/5k", "50k" or "1294/143";
            with data.pixels it says so: "45k/5k, 16 px".
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        num_classes: int,
        image_shape: tuple[int, int, int],
        train_count: int,
        test_count: int,
        classes: tuple[str, ...] | None = None,
        normalisation: Normalisation | None = None,
    ) -> None:
        config.check_channels(image_shape[0])
        self._split = split_training_data(train_count, config)
        self._normalisations = {} if normalisation is None else {CPU: normalisation}
        self.config = config
        self.name = config.result_name
        self.num_classes = num_classes
        self.image_shape = image_shape
        self.classes = classes
        scaled = "" if config.pixels is None else f", {config.pixels} px"
        self.protocol = f"{self._split.label}{scaled}"
        validation = len(self._split.validation)
        held_out = {"validation": validation} if validation else {}
        test = {"test": test_count} if config.test else {}
        self.counts = {"train": len(self._split.train), **held_out, **test}

    def describe(self) -> dict[str, Any]:
        """Return a description of the data for results, ready for JSON."""
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
    def normalisation(self) -> Normalisation:
        """The normalisation of pixels / 255, on the CPU."""
        return self._normalise(CPU)

    def _normalise(self, device: torch.device) -> Normalisation:
        """Return the normalisation on a device; it is measured at the first call."""
        if device not in self._normalisations:
            host = self._normalisations.get(CPU)
            host = host or fit_normalisation(self.config.normalise, self._measured())
            self._normalisations |= {CPU: host, device: host.to(device)}
        return self._normalisations[device]

    def inputs(self) -> Inputs:
        """Return the description of the inputs to store with weights trained on these data."""
        return Inputs(
            data=self.name,
            protocol=self.protocol,
            kind=self.config.normalise,
            normalisation=self.normalisation,
            image_shape=self.image_shape,
            num_classes=self.num_classes,
            classes=self.classes,
        )

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
        """Return the batch of step `step` of the run with `seed`: a pure function of its arguments.

        Args:
            step: optimizer step, from 0.
            batch_size: images of the global batch; `rank` gets its contiguous share.

        Returns:
            x float32 (b, C, H, W), augmented and normalised, and y int64 (b,), on `device`.

        Raises:
            UserError: the batch is larger than the training part, or does not divide over
                `world_size` processes.
        """
        order = self._order(seed, batch_size, rank, world_size)
        return next(self._training([step], order, device, ahead=False))

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
        """Iterate over `train_batch` of steps ``start()`` to ``stop - 1``.

        `start` is called whenever an iteration begins, so a resumed run can use the same object.
        """
        order = self._order(seed, batch_size, rank, world_size)
        return Batches(lambda: self._training(range(start(), stop), order, device, ahead=True))

    def evaluation_batches(
        self,
        split: str,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: Device = "cpu",
    ) -> Iterable[EvaluationBatch]:
        """Return a part of the data, unaugmented, with every image exactly once over all ranks.

        Args:
            split: "train", "validation" or "test".
            batch_size: largest number of images in a batch of this process.

        Returns:
            (views, y): each view float32 (b, C, h, w), y int64 (b,). There is one view for
            "centre", ten for "ten-crop", one per scale for "multi-scale"; the caller averages
            class probabilities over them.

        Raises:
            UserError: the split is unknown, or not held out under this protocol, or a batch would
                be empty.
        """
        self._check_evaluation(split, batch_size)
        mine = self._positions(split)[evaluation_positions(self.counts[split], rank, world_size)]
        plans = torch.split(mine, batch_size) if len(mine) else ()
        view = self.config.test_view
        return Batches(lambda: self._evaluation(split, plans, view, device, ahead=True))

    def probe_batch(self, size: int, seed: int = 0, device: Device = "cpu") -> TrainingBatch:
        """Return `size` fixed, unaugmented training images chosen by `seed` (all, if fewer)."""
        order = torch.randperm(self.counts["train"], generator=derived_generator(seed, "probe"))
        chosen = self._split.train[order[:size]]
        (x,), y = next(self._evaluation("train", [chosen], "centre", device, ahead=False))
        return x, y

    @abstractmethod
    def _measured(self) -> Iterable[Tensor]:
        """Return the training images that the normalisation is measured on, uint8, in chunks."""

    @abstractmethod
    def _training(
        self, steps: Sequence[int], order: Order, device: Device, *, ahead: bool
    ) -> Iterator[TrainingBatch]:
        """Yield one share of each step's batch; `ahead` of use where that is faster."""

    @abstractmethod
    def _evaluation(
        self, split: str, plans: Iterable[Tensor], view: TestView, device: Device, *, ahead: bool
    ) -> Iterator[EvaluationBatch]:
        """Yield the images at the positions of each plan, in one batch or several."""

    def _order(self, seed: int, batch_size: int, rank: int, world_size: int) -> Order:
        check_training_batch(batch_size, self.counts["train"], world_size)
        return Order(seed, batch_size, rank_slice(batch_size, rank, world_size))

    def _train_positions(self, step: int, seed: int, batch_size: int) -> Tensor:
        """Return the positions in the training data of a step's global batch."""
        return self._split.train[batch_positions(step, batch_size, self.counts["train"], seed)]

    def _positions(self, split: str) -> Tensor:
        if split == "test":
            return torch.arange(self.counts["test"])
        return self._split.train if split == "train" else self._split.validation

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
