"""Fetch and check datasets, for `resnet-lab data prepare` and `resnet-lab data verify`."""

from __future__ import annotations

from pathlib import Path

from resnet_lab.data.config import check_data_name, folder_of
from resnet_lab.data.dataset import DATASETS


def prepare(name: str, data_dir: str | Path | None) -> list[str]:
    """Prepare dataset `name` in `data_dir` and return lines that say what was done.

    CIFAR's archive is taken from the data directory if it is there, else fetched; intact files are
    kept. Other data cannot be fetched, only checked.

    Raises:
        UserError: the data cannot be fetched or is damaged; the message names files and the remedy.
    """
    check_data_name(name)
    dataset = DATASETS.get(name)
    return dataset.prepare(folder_of(dataset, data_dir))


def verify(name: str, data_dir: str | Path | None) -> list[str]:
    """Check the files of dataset `name` and return lines that say what is there.

    CIFAR's files are compared with their checksums and read. In image folders every file's header
    is read; parts of at most 10,000 images are also decoded, which finds truncated files.

    Raises:
        UserError: files are missing or damaged; the message names them.
    """
    check_data_name(name)
    dataset = DATASETS.get(name)
    return dataset.verify(folder_of(dataset, data_dir))
