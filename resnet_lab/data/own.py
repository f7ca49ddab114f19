"""User-defined datasets: the decorator `dataset` registers a function of a parts file.

    @rl.dataset("mine", mirror=False)              # data.name mine
    def mine(data_dir):
        return rl.Images(train=(images, labels), test=(images, labels))

The function is called once per process, when its images are first needed. `Images` says what it
may return.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from resnet_lab.data.dataset import DATASETS, InMemoryDataset
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from resnet_lab.data.memory import LabelledImages

MOST_PADDED = 64
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)


@dataclass(frozen=True, eq=False)
class Images:
    """Return value of a function decorated with `dataset`.

    Attributes:
        train: (images, labels), or a map-style torch Dataset of (image, label), or a function
            without arguments that returns one of them. Images are uint8 (N, C, H, W), or floats
            from 0 to 1, which become bytes; labels are whole numbers from 0. NumPy arrays work too.
        test: the same. If data.test is false, a Dataset is not read and a function not called.
    """

    train: Any
    test: Any = None


Reader: TypeAlias = Callable[[Path], Images]
R = TypeVar("R", bound=Reader)


@dataclass(frozen=True, kw_only=True)
class OwnDataset(InMemoryDataset):
    """A user-defined dataset.

    Attributes:
        reader: the user's function of the data directory.
    """

    reader: Reader

    @property
    def origin(self) -> Reader:
        return self.reader

    @property
    def options(self) -> tuple[object, ...]:
        """Arguments of the decorator that change results."""
        return self.pad, self.mirror

    def read(self, data_dir: Path, *, test: bool) -> tuple[LabelledImages, LabelledImages]:
        from resnet_lab.data.own_images import read_own

        return read_own(self, data_dir, test=test)

    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        """Return checksums (SHA-256) of its pixels and labels."""
        from resnet_lab.data.own_images import checksum

        train, _ = self.read(data_dir, test=test)
        parts = ("train", "test") if test else ("train",)
        return {"images": len(train)} | {part: checksum(self, data_dir, part) for part in parts}

    def check_there(self, data_dir: Path, *, test: bool) -> None:
        """Read it, as there is no faster check."""
        self.read(data_dir, test=test)

    def verify(self, data_dir: Path) -> list[str]:
        train, test = self.read(data_dir, test=True)
        shape = "x".join(map(str, train.images.shape[1:]))
        return [
            f"{self.name}: {len(train)} training and {len(test)} test images of {shape}, "
            f"{int(train.labels.max()) + 1} classes"
        ]

    def presence(self, data_dir: Path) -> tuple[str, str]:
        """Name the file that defines it, without calling the function."""
        file = self.reader.__code__.co_filename
        return f"your own, in {file}", f"resnet-lab data verify {self.name} --parts {file}"


def dataset(
    name: str,
    *,
    pad: int = 4,
    mirror: bool = True,
    classes: Sequence[str] | None = None,
    validation_size: int | None = None,
) -> Callable[[R], R]:
    """Decorator that registers a function of the data directory as a dataset.

    Args:
        name: its value of data.name.
        pad: pixels of zeros around each image from which augmentation crops (R 4.2: 4).
        mirror: whether augmentation mirrors half of the images; False if a mirrored image is of
            another class, as with digits and letters.
        classes: names of the classes in the order of the labels.
        validation_size: training images that protocol "validation" holds out; a tenth by default.

    Raises:
        UserError: the name is taken or invalid, or an option is out of its range.
    """
    about = f"data set '{name}'"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"{about}: give small letters, digits, - and _, a letter first, 40 at most")
    if not isinstance(pad, int) or not 0 <= pad <= MOST_PADDED:
        raise UserError(f"{about}: pad is {pad!r}: give 0 to {MOST_PADDED}")
    if validation_size is not None and validation_size < 1:
        raise UserError(f"{about}: validation_size is {validation_size}: give 1 or more")
    if isinstance(classes, str):
        raise UserError(f"{about}: classes is '{classes}': give a list of names")
    names = None if classes is None else tuple(map(str, classes))
    if names is not None and len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise UserError(f"{about}: two classes are called '{twice}'")

    def decorate(reader: R) -> R:
        if not hasattr(reader, "__code__"):
            raise UserError(f"{about}: {reader!r} is no function of the data directory")
        own = OwnDataset(
            name=name,
            pad=pad,
            mirror=bool(mirror),
            classes=names,
            validation_size=validation_size,
            reader=reader,
        )
        DATASETS.add(name, own, reader)
        return reader

    return decorate
