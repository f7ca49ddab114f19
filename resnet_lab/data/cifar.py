"""Read CIFAR's binary version: each record has label bytes, then 3,072 pixel bytes.

Nothing is unpickled. A file's checksum is compared before its bytes are used. CIFAR-10's checksums
are built in; CIFAR-100's are written beside the files when the verified archive is unpacked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnet_lab.data.checksums import file_checksum
from resnet_lab.data.cifar_files import check_files_exist, known_checksums
from resnet_lab.data.config import prepare_command
from resnet_lab.data.datasets.cifar import Cifar
from resnet_lab.data.memory import LabelledImages
from resnet_lab.errors import UserError


def read_cifar(
    dataset: Cifar, data_dir: Path, *, test: bool = True
) -> tuple[LabelledImages, LabelledImages]:
    """Return training and test images, uint8 (N, 3, 32, 32) in RGB, with their (fine) labels.

    Args:
        test: False opens no file of test images and returns no test images.

    Raises:
        UserError: files are missing or damaged: a checksum, a size or a label is wrong. The
            message names the file.
    """
    wanted = dataset.records if test else dataset.train
    check_files_exist(dataset, data_dir, wanted)
    folder = data_dir / dataset.folder
    expected = known_checksums(dataset, folder)
    read = {
        file: _read_file(dataset, folder / file, records, expected.get(file))
        for file, records in wanted.items()
    }
    train = _join([read[file] for file in dataset.train])
    return train, _join([read[file] for file in dataset.test]) if test else train.none()


def _read_file(
    dataset: Cifar, path: Path, records: int, sha256: str | None
) -> tuple[Tensor, Tensor]:
    fault = _file_fault(path, records * dataset.record_bytes, sha256)
    if fault:
        raise _damage(dataset, path, fault)
    content = torch.from_numpy(np.fromfile(path, dtype=np.uint8)).view(records, -1)
    labels = content[:, : len(dataset.label_limits)].long()
    fault = _label_fault(labels, dataset.label_limits)
    if fault:
        raise _damage(dataset, path, fault)
    return content[:, len(dataset.label_limits) :].reshape(-1, 3, 32, 32), labels[:, -1]


def _file_fault(path: Path, size: int, sha256: str | None) -> str | None:
    """Return how a file differs from its expected size in bytes and SHA-256 (if known), or None."""
    found_size = path.stat().st_size
    if sha256 is not None and (found := file_checksum(path, "sha256")) != sha256:
        return f"sha256 expected {sha256}, found {found}; bytes expected {size}, found {found_size}"
    return f"bytes expected {size}, found {found_size}" if found_size != size else None


def _label_fault(labels: Tensor, limits: tuple[int, ...]) -> str | None:
    """Name a label of `labels`, int64 (N, label bytes), that is not below its limit, or None."""
    wrong = (labels >= torch.tensor(limits)).nonzero().tolist()
    if not wrong:
        return None
    record, position = wrong[0]
    label, limit = int(labels[record, position]), limits[position]
    return f"record {record} has label {label}, which must be below {limit}"


def _damage(dataset: Cifar, path: Path, fault: str) -> UserError:
    return UserError(
        f"data: {path} is damaged: {fault}. "
        f"`{prepare_command(dataset.name, path.parents[1])}` replaces it"
    )


def _join(parts: list[tuple[Tensor, Tensor]]) -> LabelledImages:
    images, labels = zip(*parts, strict=True)
    return LabelledImages(torch.cat(images), torch.cat(labels))
