"""From a configuration to data."""

from __future__ import annotations

from pathlib import Path

from resnet_lab.data import digits
from resnet_lab.data.cifar import read_cifar
from resnet_lab.data.cifar_files import VERSIONS
from resnet_lab.data.config import DataConfig, default_data_dir
from resnet_lab.data.data import Data
from resnet_lab.data.memory import InMemoryData
from resnet_lab.data.normalisation import Normalisation


def load_data(
    config: DataConfig,
    data_dir: str | Path | None = None,
    normalisation: Normalisation | None = None,
) -> Data:
    """Read the data set that `config` names from `data_dir` (None: `default_data_dir`).

    Args:
        config: which data, and how they are split and shown.
        data_dir: where they lie.
        normalisation: that of trained weights; None measures the one that `config` names.

    Raises:
        UserError: files are missing or damaged, or the protocol does not fit the data.
    """
    if config.name == "digits":
        train, test = digits.read_digits()
        test = test if config.test else test.none()
        return InMemoryData(config, train, test, digits.NUM_CLASSES, normalisation)
    data_dir = default_data_dir(data_dir)
    if config.name in VERSIONS:
        version = VERSIONS[config.name]
        train, test = read_cifar(version, data_dir, test=config.test)
        return InMemoryData(config, train, test, version.num_classes, normalisation)
    from resnet_lab.data.folders import load_folders

    return load_folders(config, data_dir, normalisation)
