"""Random images in the shape of CIFAR, which train as fast as real ones and need no download.

They have CIFAR-100's binary layout, as its unpacked files have no checksums to match.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_lab.configuration.config import Config, TrainerConfig
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.config import DataConfig
from resnet_lab.recording.schedule import RecordingConfig

NAME = "cifar100"
CLASSES = 100
BATCH = 128
ITERATIONS = 64_000
COUNTS = {"train": 50_000, "test": 10_000}

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""uint8 (N, 32, 32, 3) and labels (N,)."""


@cache
def pixels(part: str) -> Images:
    """Return the images of "train" or "test"."""
    random = np.random.default_rng(len(part))
    count = COUNTS[part]
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, random.integers(0, CLASSES, count)


def write(folder: Path) -> Path:
    """Write both parts below `folder`, a data directory, and return it."""
    target = folder / "cifar-100-binary"
    target.mkdir(parents=True, exist_ok=True)
    for part in COUNTS:
        images, labels = pixels(part)
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        coarse = np.zeros((len(images), 1), dtype=np.uint8)
        records = np.concatenate([coarse, labels.astype(np.uint8)[:, None], planes], axis=1)
        (target / f"{part}.bin").write_bytes(records.tobytes())
    return folder


def config(
    network: str,
    folder: Path,
    *,
    run: str,
    device: str,
    recording: RecordingConfig,
    loop: str = "auto",
    precision: str = "auto",
    compiled: bool | str = "auto",
    iterations: int = ITERATIONS,
) -> Config:
    """Return the config of a run with the paper's CIFAR schedule on the images in `folder`.

    Args:
        network: a network, or a cohort.
        folder: a folder filled by `write`; runs are written below it.
        run: a name that separates the directories of contestants with equal training.
        device: "cpu" or "cuda".
        recording: what is recorded.
        loop: see TrainerConfig.
        precision: see RecipeConfig.
        compiled: see RecipeConfig.
        iterations: length of the schedule; a benchmark stops long before its end.
    """
    recipe = RecipeConfig(
        iterations=iterations,
        batch_size=BATCH,
        drops=(iterations // 2, iterations * 3 // 4),
        evaluate_every=iterations,
        precision=precision,  # type: ignore[arg-type]
        compile=compiled,  # type: ignore[arg-type]
    )
    return Config(
        network=network,
        data=DataConfig(NAME, protocol="full", augment="paper"),
        recipe=recipe,
        recording=recording,
        trainer=TrainerConfig(device=device, loop=loop, progress=False),  # type: ignore[arg-type]
        data_dir=str(folder),
        runs_dir=str(folder / "runs" / run),
    )
