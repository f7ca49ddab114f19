"""Data sets that fit in memory: uint8 images on the device, batched as whole tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_lab.data.augmentation import AUGMENTATIONS
from resnet_lab.data.batches import (
    Batches,
    batch_positions,
    check_training_batch,
    evaluation_positions,
    rank_slice,
)
from resnet_lab.data.config import DataConfig
from resnet_lab.data.data import Data, Device, EvaluationBatch, TrainingBatch
from resnet_lab.data.normalisation import Normalisation, fit_normalisation, scale_pixels
from resnet_lab.data.protocol import split_training_data
from resnet_lab.data.randomness import derived_generator


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 (N, C, H, W); labels: int64 (N,). N may be 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def none(self) -> LabelledImages:
        """Return no images, of the same shape."""
        return LabelledImages(self.images[:0], self.labels[:0])

    def to(self, device: torch.device) -> LabelledImages:
        """Return the same images on `device`."""
        return LabelledImages(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class _Resident:
    """Everything a device needs to make batches without the host."""

    train: LabelledImages
    test: LabelledImages
    normalise: Normalisation


class InMemoryData(Data):
    """Data held as uint8 tensors, copied once to each device that asks for batches."""

    def __init__(
        self,
        config: DataConfig,
        train: LabelledImages,
        test: LabelledImages,
        num_classes: int,
        normalisation: Normalisation | None = None,
    ) -> None:
        self._split = split_training_data(len(train), config)
        channels, height, width = train.images.shape[1:]
        super().__init__(
            config,
            num_classes=num_classes,
            image_shape=(channels, height, width),
            split=self._split,
            test_count=len(test),
        )
        self._augmentation = AUGMENTATIONS[config.name] if config.augment == "paper" else None
        if normalisation is None:
            chunks = (train.images[part] for part in torch.split(self._split.train, 4096))
            normalisation = fit_normalisation(config.normalise, chunks)
        self._residents = {torch.device("cpu"): _Resident(train, test, normalisation)}

    @property
    def normalisation(self) -> Normalisation:
        return self._residents[torch.device("cpu")].normalise

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
        check_training_batch(batch_size, self.counts["train"], world_size)
        plan = self.train_plan(step, seed=seed, batch_size=batch_size)
        return self.planned_batch(plan[:, rank_slice(batch_size, rank, world_size)], device)

    def train_plan(self, step: int, *, seed: int, batch_size: int) -> Tensor:
        """Return all that chance decides of a step, on the host: `planned_batch` does the rest.

        Returns:
            int64 (rows, batch_size): which image stands where and, with augmentation, three more
            rows of how it is cropped and mirrored.
        """
        positions = self._split.train[batch_positions(step, batch_size, self.counts["train"], seed)]
        if self._augmentation is None:
            return positions[None]
        draws = self._augmentation.draw(batch_size, derived_generator(seed, "augment", step))
        return torch.cat([positions[None], draws])

    def planned_batch(self, plan: Tensor, device: Device) -> TrainingBatch:
        """Return the images that `plan` describes, (rows, b), on `device`.

        Where the plan lies on the device already, the host has no part in it.
        """
        plan = _to_device(plan, device)
        x, y = self._gather("train", plan[0], device)
        return (x if self._augmentation is None else self._augmentation.apply(x, plan[1:])), y

    def evaluation_batches(
        self,
        split: str,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: Device = "cpu",
    ) -> Iterable[EvaluationBatch]:
        self._check_evaluation(split, batch_size)
        mine = self._positions(split)[evaluation_positions(self.counts[split], rank, world_size)]

        def batches() -> Iterator[EvaluationBatch]:
            for positions in torch.split(mine, batch_size) if len(mine) else ():
                x, y = self._gather(split, positions, device)
                yield [x], y

        return Batches(batches)

    def probe_batch(self, size: int, seed: int = 0, device: Device = "cpu") -> TrainingBatch:
        order = torch.randperm(self.counts["train"], generator=derived_generator(seed, "probe"))
        return self._gather("train", self._split.train[order[:size]], device)

    def _positions(self, split: str) -> Tensor:
        if split == "test":
            return torch.arange(self.counts["test"])
        return self._split.train if split == "train" else self._split.validation

    def _gather(self, split: str, positions: Tensor, device: Device) -> TrainingBatch:
        resident = self._resident(torch.device(device))
        source = resident.test if split == "test" else resident.train
        positions = _to_device(positions, device)
        return resident.normalise(scale_pixels(source.images[positions])), source.labels[positions]

    def _resident(self, device: torch.device) -> _Resident:
        if device not in self._residents:
            host = self._residents[torch.device("cpu")]
            self._residents[device] = _Resident(
                host.train.to(device), host.test.to(device), host.normalise.to(device)
            )
        return self._residents[device]


def _to_device(plan: Tensor, device: Device) -> Tensor:
    """Copy a small host tensor to `device` without waiting for the work queued there."""
    if torch.device(device).type == "cuda" and plan.device.type == "cpu":
        plan = plan.pin_memory()
    return plan.to(device, non_blocking=True)
