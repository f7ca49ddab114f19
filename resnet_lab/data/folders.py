"""Data sets that are read from image files while training: imagenet and imagefolder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from resnet_lab.data.batches import (
    Batches,
    batch_positions,
    check_training_batch,
    evaluation_positions,
    rank_slice,
)
from resnet_lab.data.config import DataConfig
from resnet_lab.data.data import Data, Device, EvaluationBatch, TrainingBatch
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
from resnet_lab.data.normalisation import Normalisation, fit_normalisation, scale_pixels
from resnet_lab.data.protocol import split_training_data
from resnet_lab.data.randomness import derived_generator
from resnet_lab.data.views import CROP

STATISTICS_IMAGES = 4096
MOST_OPENED = 10_000
"""Images whose headers are read before training begins, in about a second."""


def load_folders(
    config: DataConfig, data_dir: Path, normalisation: Normalisation | None = None
) -> Data:
    """Index the images of `config.name`; see `image_tree.read_trees` for where they must be.

    Of data sets that are not large every header is read, so that no run stops midway at a file
    that is no image.
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
        self._split = split_training_data(len(train), config)
        self._normalisations: dict[torch.device, Normalisation] = {}
        if normalisation is not None:
            self._normalisations[torch.device("cpu")] = normalisation
        super().__init__(
            config,
            num_classes=len(train.classes),
            image_shape=(3, CROP, CROP),
            split=self._split,
            test_count=len(test),
            classes=train.classes,
        )

    @property
    def normalisation(self) -> Normalisation:
        return self._normalise(torch.device("cpu"))

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
        plan = self._training_plan(step, seed, batch_size, rank, world_size)
        (raw,) = self._training_reader(seed).read(plan)
        return self._finish_training(raw, device)

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
        check_training_batch(batch_size, self.counts["train"], world_size)

        def plans() -> Iterator[TrainingPlan]:
            for step in range(start(), stop):
                yield self._training_plan(step, seed, batch_size, rank, world_size)

        def batches() -> Iterator[TrainingBatch]:
            for raw in self._read(self._training_reader(seed), plans(), device):
                yield self._finish_training(raw, device)

        return Batches(batches)

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
        tree, images = self._part(split)
        mine = images[evaluation_positions(len(images), rank, world_size)].tolist()
        plans = [mine[first : first + batch_size] for first in range(0, len(mine), batch_size)]
        reader = EvaluationReader(tree, self.config.test_view)

        def batches() -> Iterator[EvaluationBatch]:
            for raw in self._read(reader, plans, device):
                views = [self._inputs(view, None, device) for view in raw.views]
                yield views, raw.labels.to(device, non_blocking=True)

        return Batches(batches)

    def probe_batch(self, size: int, seed: int = 0, device: Device = "cpu") -> TrainingBatch:
        order = torch.randperm(self.counts["train"], generator=derived_generator(seed, "probe"))
        images = self._split.train[order[:size]].tolist()
        (raw,) = EvaluationReader(self._train, "centre").read(images)
        return self._finish_training(raw, device)

    def _normalise(self, device: torch.device) -> Normalisation:
        if device not in self._normalisations:
            cpu = torch.device("cpu")
            host = self._normalisations.get(cpu) or self._fit_normalisation()
            self._normalisations |= {cpu: host, device: host.to(device)}
        return self._normalisations[device]

    def _fit_normalisation(self) -> Normalisation:
        """Measure it on centre views of 4,096 training images, the same ones for a split seed.

        Reading all of ImageNet for a mean would take an hour; over a sample of this size each
        pixel's mean is known to about 0.004 (in 0..1).
        """
        generator = derived_generator("statistics", self.config.split_seed)
        order = torch.randperm(self.counts["train"], generator=generator)
        images = self._split.train[order[:STATISTICS_IMAGES]].tolist()
        plans = [images[first : first + 64] for first in range(0, len(images), 64)]
        raws = self._read(EvaluationReader(self._train, "centre"), plans, "cpu")
        return fit_normalisation(self.config.normalise, (raw.views[0] for raw in raws))

    def _part(self, split: str) -> tuple[ImageTree, Tensor]:
        if split == "test":
            return self._test, torch.arange(len(self._test))
        part = self._split.train if split == "train" else self._split.validation
        return self._train, part

    def _training_plan(
        self, step: int, seed: int, batch_size: int, rank: int, world_size: int
    ) -> TrainingPlan:
        count = self.counts["train"]
        check_training_batch(batch_size, count, world_size)
        images = self._split.train[batch_positions(step, batch_size, count, seed)]
        share = rank_slice(batch_size, rank, world_size)
        return TrainingPlan(step, share.start, images[share].tolist())

    def _training_reader(self, seed: int) -> TrainingReader:
        return TrainingReader(self._train, seed=seed, augment=self.config.augment == "paper")

    def _read(
        self, reader: BatchReader[Plan], plans: Iterable[Plan], device: Device
    ) -> Iterator[RawBatch]:
        on_cuda = torch.device(device).type == "cuda"
        return read_batches(reader, plans, workers=self.config.workers, pin_memory=on_cuda)

    def _finish_training(self, raw: RawBatch, device: Device) -> TrainingBatch:
        x = self._inputs(raw.views[0], raw.colour_shift, device)
        return x, raw.labels.to(device, non_blocking=True)

    def _inputs(self, view: Tensor, colour_shift: Tensor | None, device: Device) -> Tensor:
        """Turn uint8 (b, 3, h, w) into normalised float32 on `device`."""
        x = scale_pixels(view.to(device, non_blocking=True))
        if colour_shift is not None:
            x = x + colour_shift.to(device, non_blocking=True)[:, :, None, None]
        return self._normalise(torch.device(device))(x)
