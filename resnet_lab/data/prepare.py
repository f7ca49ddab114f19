"""Fetching and checking data sets, for `resnet-lab data prepare` and `resnet-lab data verify`."""

from __future__ import annotations

from pathlib import Path

from resnet_lab.data.config import check_data_name, folder_of
from resnet_lab.data.dataset import DATASETS


def prepare(name: str, data_dir: str | Path | None) -> list[str]:
    """Make data set `name` ready in `data_dir` and return lines that say what was done.

    CIFAR's archive is taken from the data directory where it lies there, else fetched; files that
    are there and sound are kept. Other data cannot be fetched, only checked.

    Raises:
        UserError: the data cannot be had or is damaged; the message names files and the way out.
    """
    check_data_name(name)
    dataset = DATASETS.get(name)
    return dataset.prepare(folder_of(dataset, data_dir))


def verify(name: str, data_dir: str | Path | None) -> list[str]:
    """Check the files of data set `name` and return lines that say what is there.

    CIFAR's are compared with their checksums and read. Of image folders every file is opened and
    its header read. Up to 10,000 images of a part are decoded too, so that files cut off are found.

    Raises:
        UserError: files are missing or damaged; the message names them.
    """
    check_data_name(name)
    dataset = DATASETS.get(name)
    return dataset.verify(folder_of(dataset, data_dir))
