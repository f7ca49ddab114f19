"""Datasets that fit in memory: uint8 images on the device, batched as whole tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_lab.data.augmentation import CropAndMirror
from resnet_lab.data.config import DataConfig, TestView
from resnet_lab.data.loader import CPU, Data, Device, EvaluationBatch, TrainingBatch
from resnet_lab.data.normalisation import Normalisation, scale_pixels
from resnet_lab.data.randomness import derived_generator
from resnet_lab.data.sampler import Order


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 (N, C, H, W); labels: int64 (N,). N may be 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def none(self) -> LabelledImages:
        """Return an empty set of images of the same shape."""
        return LabelledImages(self.images[:0], self.labels[:0])

    def to(self, device: torch.device) -> LabelledImages:
        """Return the same images on `device`."""
        return LabelledImages(self.images.to(device), self.labels.to(device))


class InMemoryData(Data):
    """Data held as uint8 tensors, copied once to each device that asks for batches."""

    def __init__(
        self,
        config: DataConfig,
        train: LabelledImages,
        test: LabelledImages,
        num_classes: int,
        normalisation: Normalisation | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        channels, height, width = train.images.shape[1:]
        super().__init__(
            config,
            num_classes=num_classes,
            image_shape=(channels, height, width),
            train_count=len(train),
            test_count=len(test),
            classes=classes,
            normalisation=normalisation,
        )
        dataset = config.dataset
        augment = config.augment == "paper"
        self._augmentation = CropAndMirror(dataset.pad, dataset.mirror) if augment else None
        self._residents = {CPU: (train, test)}
        self._normalise(CPU)

    def train_plan(self, step: int, *, seed: int, batch_size: int) -> Tensor:
        """Return all random choices of a step, on the host; `planned_batch` applies them.

        Returns:
            int64 (rows, batch_size): the image at each position and, with augmentation, three more
            rows for its crop and mirroring.
        """
        positions = self._train_positions(step, seed, batch_size)
        if self._augmentation is None:
            return positions[None]
        draws = self._augmentation.draw(batch_size, derived_generator(seed, "augment", step))
        return torch.cat([positions[None], draws])

    def planned_batch(self, plan: Tensor, device: Device) -> TrainingBatch:
        """Return the images that `plan` describes, (rows, b), on `device`.

        If the plan is already on the device, the host takes no part.
        """
        plan = _to_device(plan, device)
        x, y = self._gather("train", plan[0], device)
        return (x if self._augmentation is None else self._augmentation.apply(x, plan[1:])), y

    def _measured(self) -> Iterable[Tensor]:
        train, _ = self._residents[CPU]
        return (train.images[part] for part in torch.split(self._split.train, 4096))

    def _training(
        self, steps: Sequence[int], order: Order, device: Device, *, ahead: bool
    ) -> Iterator[TrainingBatch]:
        for step in steps:
            plan = self.train_plan(step, seed=order.seed, batch_size=order.batch_size)
            yield self.planned_batch(plan[:, order.share], device)

    def _evaluation(
        self, split: str, plans: Iterable[Tensor], view: TestView, device: Device, *, ahead: bool
    ) -> Iterator[EvaluationBatch]:
        for positions in plans:
            x, y = self._gather(split, positions, device)
            yield [x], y

    def _gather(self, split: str, positions: Tensor, device: Device) -> TrainingBatch:
        place = torch.device(device)
        if place not in self._residents:
            train, test = self._residents[CPU]
            self._residents[place] = train.to(place), test.to(place)
        source = self._residents[place][split == "test"]
        positions = _to_device(positions, place)
        x = self._normalise(place)(scale_pixels(source.images[positions]))
        return x, source.labels[positions]


def _to_device(plan: Tensor, device: Device) -> Tensor:
    """Copy a small host tensor to `device` without waiting for the work queued there."""
    if torch.device(device).type == "cuda" and plan.device.type == "cpu":
        plan = plan.pin_memory()
    return plan.to(device, non_blocking=True)
