"""Datasets that are read from image files during training: imagenet and imagefolder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from resnet_lab.data.config import DataConfig, TestView
from resnet_lab.data.crops import CROP
from resnet_lab.data.image_batches import (
    BatchReader,
    EvaluationReader,
    Plan,
    RawBatch,
    TrainingPlan,
    TrainingReader,
    read_batches,
)
from resnet_lab.data.image_tree import ImageTree, read_trees
from resnet_lab.data.loader import Data, Device, EvaluationBatch, TrainingBatch
from resnet_lab.data.normalisation import Normalisation, scale_pixels
from resnet_lab.data.randomness import derived_generator
from resnet_lab.data.sampler import Order

STATISTICS_IMAGES = 4096
MOST_OPENED = 10_000
"""Largest number of images whose headers are read before training; takes about a second."""


def load_folders(
    config: DataConfig, data_dir: Path, normalisation: Normalisation | None = None
) -> Data:
    """Index the images of `config.name`; `image_tree.read_trees` says where they must be.

    Of datasets with at most `MOST_OPENED` images every header is read, so that no run stops midway
    at a file that is not an image.
    """
    trees = read_trees(config.name, data_dir, test=config.test)
    if sum(map(len, trees)) <= MOST_OPENED:
        for tree in trees:
            tree.check_headers()
    return FolderData(config, *trees, normalisation)


class FolderData(Data):
    """Images decoded when needed, by worker processes. Inputs are 224x224 (R 3.4)."""

    def __init__(
        self,
        config: DataConfig,
        train: ImageTree,
        test: ImageTree,
        normalisation: Normalisation | None = None,
    ) -> None:
        self._train, self._test = train, test
        super().__init__(
            config,
            num_classes=len(train.classes),
            image_shape=(3, CROP, CROP),
            train_count=len(train),
            test_count=len(test),
            classes=train.classes,
            normalisation=normalisation,
        )

    def _measured(self) -> Iterable[Tensor]:
        """Return centre views of 4,096 training images, chosen by the split seed.

        Reading all of ImageNet for a mean would take an hour; over a sample of this size each
        pixel's mean is known to about 0.004 (in 0..1).
        """
        generator = derived_generator("statistics", self.config.split_seed)
        order = torch.randperm(self.counts["train"], generator=generator)
        images = self._split.train[order[:STATISTICS_IMAGES]]
        plans = [part.tolist() for part in torch.split(images, 64)]
        raws = self._read(EvaluationReader(self._train, "centre"), plans, "cpu", ahead=True)
        return (raw.views[0] for raw in raws)

    def _training(
        self, steps: Sequence[int], order: Order, device: Device, *, ahead: bool
    ) -> Iterator[TrainingBatch]:
        augment = self.config.augment == "paper"
        reader = TrainingReader(self._train, seed=order.seed, augment=augment)
        batches = (self._train_positions(step, order.seed, order.batch_size) for step in steps)
        plans = (
            TrainingPlan(step, order.share.start, batch[order.share].tolist())
            for step, batch in zip(steps, batches, strict=True)
        )
        for raw in self._read(reader, plans, device, ahead=ahead):
            x = self._inputs(raw.views[0], raw.colour_shift, device)
            yield x, raw.labels.to(device, non_blocking=True)

    def _evaluation(
        self, split: str, plans: Iterable[Tensor], view: TestView, device: Device, *, ahead: bool
    ) -> Iterator[EvaluationBatch]:
        reader = EvaluationReader(self._test if split == "test" else self._train, view)
        images = [plan.tolist() for plan in plans]
        for raw in self._read(reader, images, device, ahead=ahead):
            views = [self._inputs(view, None, device) for view in raw.views]
            yield views, raw.labels.to(device, non_blocking=True)

    def _read(
        self, reader: BatchReader[Plan], plans: Iterable[Plan], device: Device, *, ahead: bool
    ) -> Iterator[RawBatch]:
        on_cuda = torch.device(device).type == "cuda"
        workers = self.config.workers if ahead else 0
        return read_batches(reader, plans, workers=workers, pin_memory=on_cuda)

    def _inputs(self, view: Tensor, colour_shift: Tensor | None, device: Device) -> Tensor:
        """Turn uint8 (b, 3, h, w) into normalised float32 on `device`."""
        x = scale_pixels(view.to(device, non_blocking=True))
        if colour_shift is not None:
            x = x + colour_shift.to(device, non_blocking=True)[:, :, None, None]
        return self._normalise(torch.device(device))(x)
