"""`Dataset`: one object that defines a dataset, and the registry of all datasets.

Messages about names, split sizes, costs and figures are derived from these objects, so a new
dataset needs only its own file in `datasets/`. Torch is imported only when data is read.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from resnet_lab.errors import UserError
from resnet_lab.parts.registry import Registry

if TYPE_CHECKING:
    from resnet_lab.data.config import DataConfig, TestView
    from resnet_lab.data.loader import Data
    from resnet_lab.data.memory import LabelledImages
    from resnet_lab.data.normalisation import Normalisation


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """One dataset.

    Attributes:
        in_memory: whether all of it is held in memory.
        in_package: whether it ships with a dependency, so that no data directory is read.
        name: its value of data.name.
        image_shape: (channels, height, width) of a network's input; None if known only once read.
        num_classes: number of classes; None if known only once read.
        classes: class names in the order of the labels; None if there are none, or if known only
            once read.
        test_images: images of the published test part; None if no error on one is published.
        validation_size: training images held out by default; None for a tenth.
        pad: pixels of zeros around an image that augmentation crops; for images in memory.
        mirror: whether augmentation mirrors half of the images; for images in memory.
        test_views: the test views that it supports.
        aliases: its other names, letters and digits only.
        confusable: similar names of other datasets, letters and digits only.
    """

    in_memory: ClassVar[bool]
    in_package: ClassVar[bool] = False

    name: str
    image_shape: tuple[int, int, int] | None = None
    num_classes: int | None = None
    classes: tuple[str, ...] | None = None
    test_images: int | None = None
    validation_size: int | None = None
    pad: int = 0
    mirror: bool = False
    test_views: tuple[TestView, ...] = ("centre",)
    aliases: tuple[str, ...] = ()
    confusable: tuple[str, ...] = ()

    @property
    def origin(self) -> type | Callable[..., Any]:
        """The class or the user's function that defines its images; its source file is hashed."""
        return type(self)

    @property
    def options(self) -> tuple[object, ...]:
        """Options that change results; hashed with the code if there is no source file."""
        return ()

    def at(self, pixels: int) -> Dataset:
        """Return this dataset with its images averaged to `pixels` a side; see data.pixels.

        Its name, shown beside every result, says so: "cifar10-16px".

        Raises:
            UserError: it has no such option, or not for this number.
        """
        raise UserError(
            f"data: pixels is {pixels}, an option of cifar10 and cifar100 alone: leave it out for "
            f"{self.name}"
        )

    @abstractmethod
    def load(self, config: DataConfig, data_dir: Path, normalisation: Normalisation | None) -> Data:
        """Read it; raise UserError if files are missing or damaged."""

    @abstractmethod
    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        """Return checksums that identify its images; see `fingerprint.fingerprint`."""

    @abstractmethod
    def check_there(self, data_dir: Path, *, test: bool) -> None:
        """Raise UserError, as `load` does, if its files are missing; a fast check."""

    def prepare(self, data_dir: Path) -> list[str]:
        """Fetch it, or verify it if it cannot be fetched; return lines that say what was done."""
        return self.verify(data_dir)

    @abstractmethod
    def verify(self, data_dir: Path) -> list[str]:
        """Check its files and return lines that say what is there."""

    @abstractmethod
    def presence(self, data_dir: Path) -> tuple[str, str]:
        """Return its state, judged by names and sizes of files, and a hint ("" for none)."""


class InMemoryDataset(Dataset):
    """A dataset that is read into memory as a whole."""

    in_memory = True

    @abstractmethod
    def read(self, data_dir: Path, *, test: bool) -> tuple[LabelledImages, LabelledImages]:
        """Return training and test images; without `test` the latter are unread and empty."""

    def load(self, config: DataConfig, data_dir: Path, normalisation: Normalisation | None) -> Data:
        """Read it; raise UserError if files are missing or damaged."""
        from resnet_lab.data.memory import InMemoryData

        train, test = self.read(data_dir, test=config.test)
        count = self.num_classes or int(train.labels.max()) + 1
        return InMemoryData(config, train, test, count, normalisation, self.classes)


DATASETS: Registry[Dataset] = Registry("data set", "resnet_lab.data.datasets")


def name_at(name: str, pixels: int) -> str:
    """Return the name of a dataset whose images are averaged to `pixels` a side."""
    return f"{name}-{pixels}px"


_AT_PIXELS = re.compile(r"(.+)-(\d+)px")


def dataset_of(result: str) -> Dataset | None:
    """Return the dataset that a result names: "cifar10", or "cifar10-16px" for fewer pixels."""
    known = DATASETS.find(result)
    scaled = _AT_PIXELS.fullmatch(result)
    if known is not None or scaled is None:
        return known
    known = DATASETS.find(scaled[1])
    try:
        return known and known.at(int(scaled[2]))
    except UserError:
        return None


def datasets() -> Mapping[str, Dataset]:
    """Return every dataset by name, built-in ones first."""
    return DATASETS.all()
