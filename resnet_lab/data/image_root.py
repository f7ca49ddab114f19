"""Find the folders ``train`` and ``val`` of a dataset of image files. No torch."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from resnet_lab.errors import UserError

LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg (or .png and the like)"
_OTHER_NAMES = ("valid", "validation", "test")
_LEVELS = 3
"""Levels searched below a folder; Kaggle's ImageNet is at ILSVRC/Data/CLS-LOC/train."""
_MOST_FOLDERS = 2000


def tree_root(name: str, data_dir: Path) -> Path:
    """Return the folder that holds ``train`` and ``val`` of dataset `name`.

    It is the folder `name` in the data directory, or the data directory if there is none.
    """
    inner = data_dir / name
    if (inner / "train").is_dir() or not (data_dir / "train").is_dir():
        return inner if inner.is_dir() else data_dir
    return data_dir


def check_part(name: str, data_dir: Path, folder: Path) -> None:
    """Raise UserError if the folder ``train`` or ``val`` is missing; it says where to look."""
    if folder.is_dir():
        return
    said = f"data: {name} has no folder {folder}; it must hold {LAYOUT}. "
    if os.path.lexists(folder):
        raise UserError(f"{said}There is a {_thing(folder)} of this name: put the folder there")
    if folder.name == "val" and (other := _other_names(folder)):
        raise UserError(f"{said}There is {other[0]}: if it holds the test images, name it val")
    elsewhere = _elsewhere(data_dir)
    if elsewhere is not None and tree_root(name, elsewhere) == elsewhere:
        raise UserError(f"{said}There is a folder {elsewhere / 'train'}: --data-dir {elsewhere}")
    raise UserError(f"{said}Put the images there, or name their folder with --data-dir")


def _thing(path: Path) -> str:
    return "broken link" if path.is_symlink() and not path.exists() else "file"


def _other_names(folder: Path) -> list[Path]:
    with suppress(OSError):
        names = {"val": 0, **{other: place for place, other in enumerate(_OTHER_NAMES, 1)}}
        found = [path for path in folder.parent.iterdir() if path.name.lower() in names]
        return sorted(found, key=lambda path: names[path.name.lower()])
    return []


def _elsewhere(data_dir: Path) -> Path | None:
    """Return a folder that has ``train``: above the data directory, else the nearest below."""
    above = [*Path(os.path.abspath(data_dir)).parents][:2]
    below = (place for level in range(1, _LEVELS + 1) for place in _folders(data_dir, level))
    return next((one for one in chain(above, below) if (one / "train").is_dir()), None)


def _folders(top: Path, level: int) -> list[Path]:
    """The folders a number of levels below `top`, without hidden ones, up to `_MOST_FOLDERS`."""
    found = islice(top.glob("/".join(["[!.]*"] * level)), _MOST_FOLDERS)
    with suppress(OSError):
        return sorted(path for path in found if path.is_dir())
    return []
