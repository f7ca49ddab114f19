"""Find the files of CIFAR-10 and CIFAR-100, or misplaced and other versions. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.data.checksums import read_checksums
from resnet_lab.data.config import prepare_command
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from resnet_lab.data.datasets.cifar import Cifar


def known_checksums(dataset: Cifar, folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file: built in, or written when the data was unpacked."""
    return {**read_checksums(folder), **dataset.sha256}


def check_files_exist(dataset: Cifar, data_dir: Path, files: Iterable[str]) -> None:
    """Raise UserError, saying how to get them, if any of these files of `dataset` is missing."""
    folder = data_dir / dataset.folder
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        check_not_inside(dataset, data_dir)
        raise UserError(
            f"data: {dataset.name} is not complete: {', '.join(missing)} missing in {folder}. "
            f"{way_out(dataset, data_dir)}"
        )


def check_not_inside(dataset: Cifar, data_dir: Path) -> None:
    """Raise UserError if the data directory is the folder of the files, not its parent."""
    for path in (os.path.abspath(data_dir), os.path.realpath(data_dir)):
        folder = Path(path)
        if folder.name == dataset.folder and any((folder / one).is_file() for one in dataset.train):
            raise UserError(
                f"data: {dataset.name}: the data directory {data_dir} is the folder of its files, "
                f"and must be the one that holds {dataset.folder}: give --data-dir {folder.parent} "
                f"or RESNET_LAB_DATA={folder.parent}"
            )


def way_out(dataset: Cifar, data_dir: Path) -> str:
    """Say how to get the files of `dataset`, judging by what is in or near the data directory."""
    prepare = f"`{prepare_command(dataset.name, data_dir)}`"
    archive = data_dir / dataset.archive
    if archive.is_file():
        return f"{archive} is there: {prepare} unpacks it"
    inner = sorted(data_dir.glob(f"*/{dataset.folder}/")) if data_dir.is_dir() else []
    if inner:
        return f"There is {inner[0]}: give --data-dir {inner[0].parent}"
    said = f"Get it with {prepare}, or fetch {dataset.url} by hand into {data_dir} and do the same"
    loose = next(
        (data_dir / file for file in dataset.records if _fits(dataset, data_dir, file)), None
    )
    if loose is not None:
        return f"{loose} is there: it and its like belong in {data_dir / dataset.folder}"
    others = [found for place in (data_dir, data_dir.parent) for found in _others(dataset, place)]
    if others:
        return f"{others[0]} is another version, which is not read. {said}"
    return said


def _fits(dataset: Cifar, data_dir: Path, file: str) -> bool:
    """Whether a file is in the data directory itself; its size must match, as names are generic."""
    path = data_dir / file
    return path.is_file() and path.stat().st_size == dataset.records[file] * dataset.record_bytes


def _others(dataset: Cifar, place: Path) -> list[Path]:
    """Files found of the versions for Python (pickled) and Matlab."""
    stem = dataset.folder.removesuffix("-bin").removesuffix("-binary")
    names = [f"{stem}-{kind}" for kind in ("py", "python", "mat", "matlab")]
    archives = [dataset.archive.replace("binary", kind) for kind in ("python", "matlab")]
    return [place / name for name in (*names, *archives) if (place / name).exists()]
