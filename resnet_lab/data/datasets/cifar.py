"""CIFAR-10 and CIFAR-100: places, sizes and checksums of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.data.averaged import Averaged, at_pixels
from resnet_lab.data.checksums import file_checksum, write_checksums
from resnet_lab.data.cifar_files import check_files_exist, check_not_inside, known_checksums
from resnet_lab.data.config import prepare_command
from resnet_lab.data.dataset import DATASETS, InMemoryDataset
from resnet_lab.data.fingerprint import hash_files
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from resnet_lab.data.memory import LabelledImages

PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class Cifar(InMemoryDataset):
    """One of the two datasets.

    Attributes:
        folder: the folder in the data directory, and in the archive, that holds the files.
        url, archive_md5: the archive's address, and the checksum that its authors publish.
        train, test: number of records of each file.
        label_limits: exclusive upper limit of each label byte; the last byte is the class.
        sha256: checksums of files, if known.
    """

    folder: str
    url: str
    archive_md5: str
    train: Mapping[str, int]
    test: Mapping[str, int]
    label_limits: tuple[int, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def archive(self) -> str:
        """File name of the archive, at its address and in the data directory."""
        return self.url.rsplit("/", 1)[1]

    @property
    def records(self) -> dict[str, int]:
        """Number of records of every file, training files first."""
        return {**self.train, **self.test}

    @property
    def record_bytes(self) -> int:
        """Length of one record: its label bytes and its pixels."""
        return len(self.label_limits) + PIXELS

    def at(self, pixels: int) -> Averaged:
        """Return it averaged to 16, 8 or 4 pixels a side."""
        return at_pixels(self, pixels)

    def read(self, data_dir: Path, *, test: bool) -> tuple[LabelledImages, LabelledImages]:
        from resnet_lab.data.cifar import read_cifar

        return read_cifar(self, data_dir, test=test)

    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        """Return the checksums that its files are compared with when they are read."""
        files = {"train": list(self.train), **({"test": list(self.test)} if test else {})}
        checksums = self.sha256 or self._checksums(data_dir, [*chain(*files.values())])
        return {"images": sum(self.train.values())} | {
            part: f"contents:{hash_files((file.encode(), checksums[file]) for file in names)}"
            for part, names in files.items()
        }

    def _checksums(self, data_dir: Path, files: Sequence[str]) -> dict[str, str]:
        """Checksums of files without built-in ones: read from ``SHA256SUMS``, or computed."""
        check_files_exist(self, data_dir, files)
        folder = data_dir / self.folder
        known = known_checksums(self, folder)
        return {file: known.get(file) or file_checksum(folder / file, "sha256") for file in files}

    def check_there(self, data_dir: Path, *, test: bool) -> None:
        check_files_exist(self, data_dir, self.records if test else self.train)

    def prepare(self, data_dir: Path) -> list[str]:
        """Keep files that are intact; else unpack the archive, fetched if needed."""
        check_not_inside(self, data_dir)
        try:
            return [*self.verify(data_dir), "nothing to prepare"]
        except UserError:
            return [*self._fetch(data_dir), *self.verify(data_dir)]

    def _fetch(self, data_dir: Path) -> list[str]:
        from resnet_lab.data.download import fetched_archive, unpack

        folder, files = data_dir / self.folder, list(self.records)
        try:
            with fetched_archive(self.url, self.archive_md5, data_dir) as archive:
                unpack(archive, self.folder, files, data_dir)
            write_checksums(folder, files)
        except UserError as error:
            held = f"It holds {', '.join(files)}, which belong in {folder}"
            raise UserError(f"{error}. {held}") from error
        except OSError as error:
            raise UserError(f"data: {data_dir} cannot be written to: {error}") from error
        return [f"{self.name}: unpacked into {folder}"]

    def verify(self, data_dir: Path) -> list[str]:
        from resnet_lab.data.cifar import read_cifar

        train, test = read_cifar(self, data_dir)
        folder = data_dir / self.folder
        known = known_checksums(self, folder)
        checked = "checksums, " if all(file in known for file in self.records) else ""
        return [
            f"{self.name}: {len(train)} training and {len(test)} test images in {folder}: "
            f"{checked}sizes and labels are right"
        ]

    def presence(self, data_dir: Path) -> tuple[str, str]:
        """Compare the files' sizes with the expected ones; contents are not read."""
        folder = data_dir / self.folder
        wanted = {file: count * self.record_bytes for file, count in self.records.items()}
        sizes = {
            file: (folder / file).stat().st_size for file in wanted if (folder / file).is_file()
        }
        fetch = prepare_command(self.name, data_dir)
        if not sizes:
            return "not there", fetch
        faults = [f"{file} missing" for file in wanted if file not in sizes]
        faults += [
            f"{file} has {size:,} bytes, not {wanted[file]:,}"
            for file, size in sizes.items()
            if size != wanted[file]
        ]
        if faults:
            return f"not complete in {folder}: {', '.join(faults)}", fetch
        check = f"checksums: {prepare_command(self.name, data_dir, 'verify')}"
        return f"complete in {folder}, by file sizes", check


CIFAR10 = Cifar(
    name="cifar10",
    image_shape=(3, 32, 32),
    num_classes=10,
    test_images=10_000,
    validation_size=5_000,
    pad=4,
    mirror=True,
    confusable=("cifar101", "cifar10c"),
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

CIFAR100 = Cifar(
    name="cifar100",
    image_shape=(3, 32, 32),
    num_classes=100,
    test_images=10_000,
    validation_size=5_000,
    pad=4,
    mirror=True,
    confusable=("cifar20", "cifar100c"),
    folder="cifar-100-binary",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archive_md5="03b5dce01913d631647c71ecec9e9cb8",
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    label_limits=(20, 100),
)

DATASETS.add("cifar10", CIFAR10)
DATASETS.add("cifar100", CIFAR100)
