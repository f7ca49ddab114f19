"""Where the files of CIFAR-10 and CIFAR-100 are, how large, and with which checksums. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resnet_lab.data.checksums import read_checksums
from resnet_lab.data.config import prepare_command
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
    def archive(self) -> str:
        """Name of the archive, under which it is also looked for in the data directory."""
        return self.url.rsplit("/", 1)[1]

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


def known_checksums(version: CifarVersion, folder: Path) -> dict[str, str]:
    """Return the sha256 by file: those built in, and those written when the data was unpacked."""
    return {**read_checksums(folder), **version.sha256}


def check_files_exist(version: CifarVersion, data_dir: Path, files: Iterable[str]) -> None:
    """Raise UserError, saying how to get them, if any of these files of `version` is missing."""
    folder = data_dir / version.folder
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        check_not_inside(version, data_dir)
        raise UserError(
            f"data: {version.name} is not complete: {', '.join(missing)} missing in {folder}. "
            f"{way_out(version, data_dir)}"
        )


def check_not_inside(version: CifarVersion, data_dir: Path) -> None:
    """Raise UserError, naming the right one, if the data directory is the folder of the files."""
    for path in (os.path.abspath(data_dir), os.path.realpath(data_dir)):
        folder = Path(path)
        if folder.name == version.folder and any((folder / one).is_file() for one in version.train):
            raise UserError(
                f"data: {version.name}: the data directory {data_dir} is the folder of its files, "
                f"and must be the one that holds {version.folder}: give --data-dir {folder.parent} "
                f"or RESNET_LAB_DATA={folder.parent}"
            )


def way_out(version: CifarVersion, data_dir: Path) -> str:
    """Say how to get the files of `version`, from what lies in or near the data directory."""
    prepare = f"`{prepare_command(version.name, data_dir)}`"
    archive = data_dir / version.archive
    if archive.is_file():
        return f"{archive} is there: {prepare} unpacks it"
    inner = sorted(data_dir.glob(f"*/{version.folder}/")) if data_dir.is_dir() else []
    if inner:
        return f"There is {inner[0]}: give --data-dir {inner[0].parent}"
    said = f"Get it with {prepare}, or fetch {version.url} by hand into {data_dir} and do the same"
    loose = next(
        (data_dir / file for file in version.records if _fits(version, data_dir, file)), None
    )
    if loose is not None:
        return f"{loose} is there: it and its like belong in {data_dir / version.folder}"
    others = [found for place in (data_dir, data_dir.parent) for found in _others(version, place)]
    if others:
        return f"{others[0]} is another version, which is not read. {said}"
    return said


def _fits(version: CifarVersion, data_dir: Path, file: str) -> bool:
    """Whether a file lies in the data directory itself, where `train.bin` may be anything."""
    path = data_dir / file
    return path.is_file() and path.stat().st_size == version.records[file] * version.record_bytes


def _others(version: CifarVersion, place: Path) -> list[Path]:
    """What there is of the versions for Python, which are pickled, and for Matlab."""
    stem = version.folder.removesuffix("-bin").removesuffix("-binary")
    names = [f"{stem}-{kind}" for kind in ("py", "python", "mat", "matlab")]
    archives = [version.archive.replace("binary", kind) for kind in ("python", "matlab")]
    return [place / name for name in (*names, *archives) if (place / name).exists()]
