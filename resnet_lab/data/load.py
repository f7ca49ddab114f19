"""Load the data of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.data.config import DataConfig, folder_of

if TYPE_CHECKING:
    from resnet_lab.data.loader import Data
    from resnet_lab.data.normalisation import Normalisation


def load_data(
    config: DataConfig,
    data_dir: str | Path | None = None,
    normalisation: Normalisation | None = None,
) -> Data:
    """Read the dataset that `config` names from `data_dir` (None: `default_data_dir`).

    Args:
        config: the dataset, its split and its augmentation.
        data_dir: the folder with its files.
        normalisation: that of trained weights; None measures the one that `config` names.

    Raises:
        UserError: files are missing or damaged, or the protocol does not fit the data.
    """
    dataset = config.dataset
    return dataset.load(config, folder_of(dataset, data_dir), normalisation)
