"""`DataConfig`: the data of a run, as one validated value. Nothing here imports torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnet_lab.data.dataset import DATASETS, Dataset, dataset_of, datasets, name_at
from resnet_lab.errors import UserError, suggest
from resnet_lab.field_types import check_fields, refusal
from resnet_lab.files import user_path

ProtocolKind = Literal["validation", "full"]
NormaliseKind = Literal["pixel-mean", "channel", "imagenet"]
AugmentKind = Literal["paper", "none"]
TestView = Literal["centre", "ten-crop", "multi-scale"]

OWN_IMAGES = (
    "imagefolder reads any images in folders train/CLASS and val/CLASS of --data-dir, and data "
    "sets of your own are loaded by --parts FILE.py"
)


@dataclass(frozen=True)
class DataConfig:
    """A dataset, the protocol that splits it, and how images become network inputs.

    Args:
        name: digits, cifar10, cifar100, imagenet, imagefolder, or one of your own (--parts).
        protocol: "validation" holds out training images for model selection, "full" trains on
            all of them. Test images are never used for selection.
        validation_size: number of training images held out; by default 5,000 of CIFAR's,
            50,000 of ImageNet's and a tenth of any other training data.
        split_seed: fixes which images are held out, whatever the seed of the run.
        normalise: what happens to pixels / 255. "pixel-mean" subtracts the mean image of the
            training part and scales nothing ("per-pixel mean subtracted", R 4.2 and 3.4);
            "channel" subtracts the training part's mean of each channel and divides by its
            standard deviation; "imagenet" does so with ImageNet's usual constants. For image
            folders the statistics come from a fixed sample of 4,096 training images.
        augment: "paper" is R 4.2 for CIFAR (4-pixel padding, crop, mirror) and R 3.4 for image
            folders (scale, 224 crop, mirror, colour); digits are padded by one pixel and not
            mirrored, as a mirrored digit is another sign; your own datasets define theirs. "none"
            takes images as they are.
        test_view: how imagenet and imagefolder are evaluated (R 3.4): the centre crop, ten
            crops, or the whole image at five scales.
        test: whether test images are loaded. False leaves them unread, as every search must: a
            search must not see the images that will judge its choice.
        workers: processes that read images of imagenet and imagefolder; at most one per core.
        pixels: side to which the images of cifar10 and cifar100 are averaged: 16, 8 or 4. At 16
            each pixel is the mean of 2 x 2, rounded to a byte; augmentation then pads by 2. The
            data is then called "cifar10-16px" in every result. None leaves the 32 pixels.

    Raises:
        UserError: a value is unknown (the nearest is named) or does not suit the dataset.
    """

    name: str = "digits"
    protocol: ProtocolKind = "validation"
    validation_size: int | None = None
    split_seed: int = 0
    normalise: NormaliseKind = "pixel-mean"
    augment: AugmentKind = "paper"
    test_view: TestView = "centre"
    test: bool = True
    workers: int = 4
    pixels: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, refusal("data"))
        check_data_name(self.name)
        self._check_numbers()
        self._check_fit()

    @property
    def dataset(self) -> Dataset:
        """The dataset, at the pixels that are asked for."""
        known = DATASETS.get(self.name)
        return known if self.pixels is None else known.at(self.pixels)

    @property
    def result_name(self) -> str:
        """The name of the data in every result: "cifar10", or "cifar10-16px" for fewer pixels."""
        return self.name if self.pixels is None else name_at(self.name, self.pixels)

    @property
    def in_memory(self) -> bool:
        """Whether the whole dataset is held in memory."""
        return self.dataset.in_memory

    def _check_numbers(self) -> None:
        if self.validation_size is not None and self.validation_size < 1:
            raise UserError(
                f"data: validation_size is {self.validation_size}; it must be at least 1"
                " (protocol 'full' holds nothing out)"
            )
        if self.validation_size is not None and self.protocol == "full":
            raise UserError(
                f"data: validation_size {self.validation_size} contradicts protocol 'full', which"
                " holds nothing out; drop one of the two"
            )
        if self.workers < 0:
            raise UserError(f"data: workers is {self.workers}; it must be 0 or more")

    def _check_fit(self) -> None:
        dataset = self.dataset
        if self.test_view not in dataset.test_views:
            others = [one.name for one in datasets().values() if self.test_view in one.test_views]
            raise UserError(
                f"data: test_view '{self.test_view}' needs {' or '.join(others)}; "
                f"{self.name} has the single view 'centre'"
            )
        if dataset.image_shape is not None:
            self.check_channels(dataset.image_shape[0])

    def check_channels(self, channels: int) -> None:
        """Raise UserError if `normalise` needs another number of channels."""
        if self.normalise == "imagenet" and channels != 3:
            have = "are grey" if channels == 1 else f"have {channels} channels"
            raise UserError(
                f"data: normalise 'imagenet' needs colour images and {self.name} {have}; "
                "use 'pixel-mean' or 'channel'"
            )


def default_validation_size(name: str, images: int | None) -> int | None:
    """Default number of training images held out for validation.

    Args:
        name: of the dataset.
        images: number of its training images, if known.
    """
    tenth = None if images is None else max(1, images // 10)
    return DATASETS.get(name).validation_size or tenth


def default_data_dir(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the data directory: `data_dir`, else $RESNET_LAB_DATA, else ~/.cache/resnet_lab.

    Raises:
        UserError: it is in a home directory, and none is known.
    """
    chosen = data_dir or os.environ.get("RESNET_LAB_DATA")
    if chosen:
        return user_path(chosen)
    try:
        return user_path("~/.cache/resnet_lab")
    except UserError as error:
        raise UserError(
            "data sets lie in ~/.cache/resnet_lab, and no home directory is known: give "
            "--data-dir, or set RESNET_LAB_DATA or HOME"
        ) from error


def folder_of(dataset: Dataset, data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the data directory for a dataset; arbitrary for one that needs none."""
    return Path() if dataset.in_package else default_data_dir(data_dir)


def prepare_command(name: str, data_dir: Path, action: str = "prepare") -> str:
    """The command that prepares or verifies a dataset in a folder."""
    return f"resnet-lab data {action} {name} --data-dir {shlex.quote(str(data_dir))}"


def check_data_name(name: str) -> None:
    """Raise UserError, naming the nearest, unless `name` is a known dataset."""
    if name not in datasets():
        if dataset_of(name) is not None:
            named, _, pixels = name.rpartition("-")
            raise UserError(
                f"data: unknown name '{name}': give data.name {named} and data.pixels {pixels[:-2]}"
            )
        near = _near_data(name)
        own = "" if near else f"; {OWN_IMAGES}"
        raise UserError(f"data: unknown name '{name}'{near} (known: {', '.join(datasets())}){own}")


def _near_data(name: str) -> str:
    """Suggest the nearest dataset; "" if the name is that of a different, known dataset."""
    plain = "".join(one for one in str(name).lower() if one.isalnum())
    for one in datasets().values():
        if plain in one.aliases:
            return f", did you mean '{one.name}'?"
        if plain in one.confusable:
            return ""
    return suggest(name, datasets())
