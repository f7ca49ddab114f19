"""What tells one data set from another of the same name: checksums of what it holds. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet_lab.data.config import DataConfig, folder_of
from resnet_lab.data.dataset import DATASETS


def fingerprint(config: DataConfig, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Tell by short checksums which images a run of `config` reads from `data_dir`
    (None: `default_data_dir`).

    Two data sets with equal fingerprints have the same images in the same order, as far as is
    seen. Of CIFAR the checksums count that its files are compared with when they are read. Of image
    folders the names of classes and files count, and their contents, or, where a part has more than
    64 MiB, only their sizes: an image replaced by another of its name and its size is not seen
    then. Where the folders lie, dates, links, files that are left out and the order in which a file
    system lists them make no difference. All of ImageNet takes a listing and one `stat` a file,
    seven seconds of a processor, and what a disk takes whose directories are not in memory. The
    user's own are read, once a process, and known by their pixels and labels.

    Returns:
        "images", the number of training images; "train" and, with `config.test`, "test": what was
        compared ("contents" or "sizes"), a colon and 16 hexadecimal digits. Without `config.test`
        no test image is looked at, and the rest is the same as with it.

    Raises:
        UserError: files are missing, as when the data is loaded. CIFAR-10's need not be there, as
            they can only be those whose checksums are built in.
    """
    dataset = DATASETS.get(config.name)
    return dataset.fingerprint(folder_of(dataset, data_dir), test=config.test)


def check_there(config: DataConfig, data_dir: str | Path | None = None) -> None:
    """Raise UserError, as when the data is loaded, if the files that a run reads are not there.

    What they hold is not looked at, so this takes no time: a sweep asks it before its first run.
    """
    dataset = DATASETS.get(config.name)
    dataset.check_there(folder_of(dataset, data_dir), test=config.test)


def hash_files(files: Iterable[tuple[bytes, str]]) -> str:
    """Hash names of files, which hold no zero byte, each with its checksum or size."""
    digest = hashlib.sha256()
    for name, said in files:
        digest.update(b"%b\0%b\0" % (name, said.encode()))
    return digest.hexdigest()[:16]
