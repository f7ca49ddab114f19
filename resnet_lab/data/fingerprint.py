"""Fingerprints: checksums that distinguish datasets of the same name. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet_lab.data.config import DataConfig, folder_of


def fingerprint(config: DataConfig, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Return short checksums of the images that a run of `config` reads from `data_dir`.

    `data_dir` None is `default_data_dir`. Equal fingerprints mean the same images in the same
    order, with the limits below. CIFAR: the checksums that its files are compared with when read.
    Image folders: names of classes and files, and contents; if a part has more than 64 MiB, sizes
    replace contents, and an image replaced by another of the same name and size is not noticed.
    Location, dates, links, ignored files and listing order make no difference. ImageNet takes a
    listing and one `stat` per file: seven seconds of CPU time, plus disk time if the directories
    are not cached. User-defined datasets: pixels and labels, read once per process.

    Returns:
        "images", the number of training images; "train" and, with `config.test`, "test": what was
        hashed ("contents" or "sizes"), a colon and 16 hexadecimal digits. Without `config.test`
        no test image is looked at; the other entries are the same.

    Raises:
        UserError: files are missing, as when the data is loaded. CIFAR-10's files may be missing,
            as their checksums are built in.
    """
    dataset = config.dataset
    return dataset.fingerprint(folder_of(dataset, data_dir), test=config.test)


def check_there(config: DataConfig, data_dir: str | Path | None = None) -> None:
    """Raise UserError, as when the data is loaded, if the files that a run reads are missing.

    Contents are not read, so this is fast: a sweep calls it before its first run.
    """
    dataset = config.dataset
    dataset.check_there(folder_of(dataset, data_dir), test=config.test)


def hash_files(files: Iterable[tuple[bytes, str]]) -> str:
    """Hash file names (without zero bytes), each with its checksum or size."""
    digest = hashlib.sha256()
    for name, said in files:
        digest.update(b"%b\0%b\0" % (name, said.encode()))
    return digest.hexdigest()[:16]
