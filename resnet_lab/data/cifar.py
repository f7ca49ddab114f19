"""CIFAR-10 and CIFAR-100 in their own binary version: label bytes, then 3,072 pixel bytes.

Nothing is unpickled. Before a file's bytes are used its checksum is compared: CIFAR-10's are built
in, CIFAR-100's are written beside the files when the verified archive is unpacked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnet_lab.data.checksums import file_checksum, read_checksums
from resnet_lab.data.memory import LabelledImages
from resnet_lab.errors import UserError

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarVersion:
    """The layout of one of the two data sets.

    Attributes:
        name: "cifar10" or "cifar100".
        folder: the folder in the data directory, and in the archive, that holds the files.
        url, archive_md5: where the archive is and the checksum its authors publish.
        train, test: number of records of each file.
        label_limits: one limit a label byte (labels are below it); the last is the class.
        sha256: checksums of files, where known.
    """

    name: str
    folder: str
    url: str
    archive_md5: str
    train: Mapping[str, int]
    test: Mapping[str, int]
    label_limits: tuple[int, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Number of classes: 10, or 100 (the fine labels)."""
        return self.label_limits[-1]

    @property
    def records(self) -> dict[str, int]:
        """Number of records of every file, training files first."""
        return {**self.train, **self.test}

    @property
    def record_bytes(self) -> int:
        """Length of one record: its label bytes and its pixels."""
        return len(self.label_limits) + PIXELS


CIFAR10 = CifarVersion(
    name="cifar10",
    folder="cifar-10-batches-bin",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
    train={f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
    test={"test_batch.bin": 10_000},
    label_limits=(10,),
    sha256={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
)

CIFAR100 = CifarVersion(
    name="cifar100",
    folder="cifar-100-binary",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archive_md5="03b5dce01913d631647c71ecec9e9cb8",
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    label_limits=(20, 100),
)

VERSIONS = {version.name: version for version in (CIFAR10, CIFAR100)}


def read_cifar(
    version: CifarVersion, data_dir: Path, *, test: bool = True
) -> tuple[LabelledImages, LabelledImages]:
    """Return training and test images, uint8 (N, 3, 32, 32) in RGB, with their (fine) labels.

    Args:
        test: False opens no file of test images, and returns none of them.

    Raises:
        UserError: files are missing, or damaged: a checksum, a size or a label is not as it
            must be. The message names the file.
    """
    wanted = version.records if test else version.train
    check_files_exist(version, data_dir, wanted)
    folder = data_dir / version.folder
    expected = known_checksums(version, folder)
    read = {
        file: _read_file(version, folder / file, records, expected.get(file))
        for file, records in wanted.items()
    }
    train = _join([read[file] for file in version.train])
    return train, _join([read[file] for file in version.test]) if test else train.none()


def known_checksums(version: CifarVersion, folder: Path) -> dict[str, str]:
    """Return the sha256 by file: those built in, and those written when the data was unpacked."""
    return {**read_checksums(folder), **version.sha256}


def check_files_exist(version: CifarVersion, data_dir: Path, files: Iterable[str]) -> None:
    """Raise UserError, saying how to get them, if any of these files of `version` is missing."""
    folder = data_dir / version.folder
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        flags = ["--data-dir", str(data_dir)]
        fetch = shlex.join(["resnet-lab", "data", "prepare", version.name, *flags])
        raise UserError(
            f"data: {version.name} is not complete: {', '.join(missing)} missing in {folder}. "
            f"Get it with `{fetch}`, "
            f"or fetch {version.url} by hand into {data_dir} and do the same"
        )


def _read_file(
    version: CifarVersion, path: Path, records: int, sha256: str | None
) -> tuple[Tensor, Tensor]:
    fault = _file_fault(path, records * version.record_bytes, sha256)
    if fault:
        raise _damage(version, path, fault)
    content = torch.from_numpy(np.fromfile(path, dtype=np.uint8)).view(records, -1)
    labels = content[:, : len(version.label_limits)].long()
    fault = _label_fault(labels, version.label_limits)
    if fault:
        raise _damage(version, path, fault)
    return content[:, len(version.label_limits) :].reshape(-1, 3, 32, 32), labels[:, -1]


def _file_fault(path: Path, size: int, sha256: str | None) -> str | None:
    """Say what is wrong with a file that should have `size` bytes and, if known, a checksum."""
    found_size = path.stat().st_size
    if sha256 is not None and (found := file_checksum(path, "sha256")) != sha256:
        return f"sha256 expected {sha256}, found {found}; bytes expected {size}, found {found_size}"
    return f"bytes expected {size}, found {found_size}" if found_size != size else None


def _label_fault(labels: Tensor, limits: tuple[int, ...]) -> str | None:
    """Say which label, of int64 (N, label bytes), is not below its limit."""
    wrong = (labels >= torch.tensor(limits)).nonzero().tolist()
    if not wrong:
        return None
    record, position = wrong[0]
    label, limit = int(labels[record, position]), limits[position]
    return f"record {record} has label {label}, which must be below {limit}"


def _damage(version: CifarVersion, path: Path, fault: str) -> UserError:
    return UserError(
        f"data: {path} is damaged: {fault}. `resnet-lab data prepare {version.name}` replaces it"
    )


def _join(parts: list[tuple[Tensor, Tensor]]) -> LabelledImages:
    images, labels = zip(*parts, strict=True)
    return LabelledImages(torch.cat(images), torch.cat(labels))
