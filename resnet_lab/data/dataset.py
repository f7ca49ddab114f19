"""A data set: one object with all that the rest needs to know of it, and the registry of all.

What messages say of names, split sizes, costs and figures is derived from these objects, so that a
new data set touches its own file in `datasets/` and nothing else. No torch until data is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from resnet_lab.parts.registry import Registry

if TYPE_CHECKING:
    from resnet_lab.data.config import DataConfig, TestView
    from resnet_lab.data.loader import Data
    from resnet_lab.data.memory import LabelledImages
    from resnet_lab.data.normalisation import Normalisation


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """One data set.

    Attributes:
        in_memory: whether it is small enough to be held in memory as a whole.
        in_package: whether it ships with a dependency, so that no data directory is read.
        name: what data.name says.
        image_shape: (channels, height, width) of a network's input; None: known when it is read.
        num_classes: None: known when it is read.
        classes: their names in the order of the labels; None where they have none, or where
            reading tells.
        test_images: images of the published test part; None where no error is published on one.
        validation_size: training images held out if nothing is said; None: a tenth.
        pad: pixels of zeros around an image that augmentation crops; for images in memory.
        mirror: whether augmentation mirrors half of the images; for images in memory.
        test_views: the ways in which it can be evaluated.
        aliases: what else people call it, letters and digits alone.
        confusable: names that are like its own, written so, and are those of other images.
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
        """What defines its images: the class, or the user's function, whose file is its content."""
        return type(self)

    @property
    def options(self) -> tuple[object, ...]:
        """What beside its content results depend on, where no file says it all."""
        return ()

    @abstractmethod
    def load(self, config: DataConfig, data_dir: Path, normalisation: Normalisation | None) -> Data:
        """Read it; raise UserError where files are missing or damaged."""

    @abstractmethod
    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        """Tell its images from others; see `fingerprint.fingerprint`."""

    @abstractmethod
    def check_there(self, data_dir: Path, *, test: bool) -> None:
        """Raise UserError, as `load` does, if its files are not there; that takes no time."""

    def prepare(self, data_dir: Path) -> list[str]:
        """Make it ready and say what was done, a line each; what cannot be fetched is verified."""
        return self.verify(data_dir)

    @abstractmethod
    def verify(self, data_dir: Path) -> list[str]:
        """Check its files and say what is there, a line each."""

    @abstractmethod
    def presence(self, data_dir: Path) -> tuple[str, str]:
        """Say whether it is there, by a look at names and sizes, and what can be done about it."""


class InMemoryDataset(Dataset):
    """A data set that is read into memory as a whole."""

    in_memory = True

    @abstractmethod
    def read(self, data_dir: Path, *, test: bool) -> tuple[LabelledImages, LabelledImages]:
        """Return training and test images; without `test` none of the latter, and unread."""

    def load(self, config: DataConfig, data_dir: Path, normalisation: Normalisation | None) -> Data:
        """Read it; raise UserError where files are missing or damaged."""
        from resnet_lab.data.memory import InMemoryData

        train, test = self.read(data_dir, test=config.test)
        count = self.num_classes or int(train.labels.max()) + 1
        return InMemoryData(config, train, test, count, normalisation, self.classes)


DATASETS: Registry[Dataset] = Registry("data set", "resnet_lab.data.datasets")


def datasets() -> Mapping[str, Dataset]:
    """Return every data set by name, the project's first."""
    return DATASETS.all()
