from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import BinaryIO
from urllib.error import URLError
from urllib.response import addinfourl

import pytest

from resnet_lab.data.checksums import file_checksum
from resnet_lab.data.dataset import DATASETS
from resnet_lab.data.datasets.cifar import CIFAR100, Cifar
from resnet_lab.data.download import unpack
from resnet_lab.data.prepare import prepare, verify
from resnet_lab.errors import UserError

FOLDER = CIFAR100.folder
CONTENT = {
    f"{FOLDER}/train.bin": bytes([3, 40]) + bytes(3072) + bytes([19, 99]) + bytes(3072),
    f"{FOLDER}/test.bin": bytes([0, 7]) + bytes(3072),
    f"{FOLDER}/fine_label_names.txt": b"apple\n",
}


def write_archive(path: Path, content: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, data in content:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def members(content: dict[str, bytes]) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(name), data) for name, data in content.items()]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "elsewhere.tar.gz", members(CONTENT))


@pytest.fixture
def small(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Cifar:
    """CIFAR-100 of three images; fetching it reads a local file."""
    version = replace(
        CIFAR100,
        train={"train.bin": 2},
        test={"test.bin": 1},
        archive_md5=file_checksum(archive, "md5"),
    )
    monkeypatch.setitem(DATASETS._known, "cifar100", version)

    def open_url(url: str, timeout: float) -> addinfourl:
        assert url == "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
        assert timeout > 0
        return addinfourl(archive.open("rb"), Message(), url)

    monkeypatch.setattr("urllib.request.urlopen", open_url)
    return version


@pytest.fixture
def offline(small: Cifar, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, timeout: float) -> BinaryIO:
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.mark.usefixtures("small")
def test_preparing_fetches_unpacks_and_verifies(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "yet" / "there"
    checked = (
        f"cifar100: 2 training and 1 test images in {data_dir / FOLDER}: "
        "checksums, sizes and labels are right"
    )
    assert prepare("cifar100", data_dir) == [
        f"cifar100: unpacked into {data_dir / FOLDER}",
        checked,
    ]
    files = sorted(path.name for path in data_dir.rglob("*") if path.is_file())
    assert files == ["SHA256SUMS", "test.bin", "train.bin"]
    assert (data_dir / FOLDER / "train.bin").read_bytes() == CONTENT[f"{FOLDER}/train.bin"]
    assert verify("cifar100", data_dir) == [checked]


@pytest.mark.usefixtures("small")
def test_what_is_there_and_sound_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("cifar100", tmp_path)
    monkeypatch.delattr("urllib.request.urlopen")
    assert prepare("cifar100", tmp_path)[-1] == "nothing to prepare"


@pytest.mark.usefixtures("small")
def test_damaged_files_are_found_and_replaced(tmp_path: Path) -> None:
    prepare("cifar100", tmp_path)
    path = tmp_path / FOLDER / "test.bin"
    path.write_bytes(bytes([0, 8]) + bytes(3072))
    with pytest.raises(UserError, match="is damaged"):
        verify("cifar100", tmp_path)
    prepare("cifar100", tmp_path)
    assert path.read_bytes() == CONTENT[f"{FOLDER}/test.bin"]


@pytest.mark.usefixtures("offline")
def test_without_internet_the_message_says_what_to_fetch_and_where_it_goes(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        prepare("cifar100", tmp_path)
    assert str(error.value) == (
        "data: https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz cannot be fetched "
        "(Name or service not known). Fetch it by hand, put it at "
        f"{tmp_path / 'cifar-100-binary.tar.gz'} and prepare the data again. "
        f"It holds train.bin, test.bin, which belong in {tmp_path / FOLDER}"
    )


@pytest.mark.usefixtures("offline")
def test_an_archive_fetched_by_hand_is_used_and_kept(tmp_path: Path, archive: Path) -> None:
    by_hand = tmp_path / "cifar-100-binary.tar.gz"
    archive.rename(by_hand)
    prepare("cifar100", tmp_path)
    assert by_hand.is_file()
    assert (tmp_path / FOLDER / "train.bin").is_file()


@pytest.mark.usefixtures("offline")
def test_a_wrong_archive_is_refused_with_both_checksums(tmp_path: Path, small: Cifar) -> None:
    by_hand = tmp_path / "cifar-100-binary.tar.gz"
    by_hand.write_bytes(b"cut off")
    with pytest.raises(UserError) as error:
        prepare("cifar100", tmp_path)
    assert str(error.value).startswith(
        f"data: {by_hand} is not the archive it should be, or is damaged: "
        f"md5 expected {small.archive_md5}, found {file_checksum(by_hand, 'md5')}. "
        "Remove it and fetch it again."
    )
    assert not (tmp_path / FOLDER).exists()


def test_a_wrong_download_leaves_nothing_behind(
    tmp_path: Path, small: Cifar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS._known, "cifar100", replace(small, archive_md5="0" * 32))
    data_dir = tmp_path / "data"
    with pytest.raises(UserError, match="md5 expected 00000000000000000000000000000000, found"):
        prepare("cifar100", data_dir)
    assert list(data_dir.iterdir()) == []


def symbolic_link(target: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo(f"{FOLDER}/test.bin")
    link.type = tarfile.SYMTYPE
    link.linkname = target
    return link


@pytest.mark.parametrize(
    "evil",
    [
        tarfile.TarInfo("../outside.bin"),
        tarfile.TarInfo(f"{FOLDER}/../../outside.bin"),
        tarfile.TarInfo("/outside.bin"),
        symbolic_link("../../outside.bin"),
        symbolic_link("/etc/passwd"),
    ],
    ids=lambda member: member.linkname or member.name,
)
def test_an_archive_that_points_outside_is_not_unpacked(
    tmp_path: Path, evil: tarfile.TarInfo
) -> None:
    content = [*members(CONTENT), (evil, b"")]
    archive = write_archive(tmp_path / "evil.tar.gz", content)
    data_dir = tmp_path / "data"
    with pytest.raises(UserError, match=r"evil\.tar\.gz cannot be unpacked: .*(outside|absolute)"):
        unpack(archive, FOLDER, ["train.bin"], data_dir)
    assert [path for path in data_dir.rglob("*") if path.is_file()] == []
    assert not list(tmp_path.rglob("outside.bin"))


def test_only_expected_files_are_taken(tmp_path: Path, archive: Path) -> None:
    unpack(archive, FOLDER, ["test.bin"], tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").rglob("*") if path.is_file()] == ["test.bin"]


def test_an_archive_without_an_expected_file_changes_nothing(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(UserError, match=f"it holds no file {FOLDER}/valid.bin"):
        unpack(archive, FOLDER, ["test.bin", "valid.bin"], tmp_path / "data")
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_a_damaged_archive_is_named(tmp_path: Path, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"elsewhere\.tar\.gz cannot be unpacked"):
        unpack(archive, FOLDER, ["train.bin"], tmp_path / "data")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, small: Cifar) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"data: {tmp_path}/file/data cannot be written to"):
        prepare(small.name, tmp_path / "file" / "data")


def test_digits_need_nothing(tmp_path: Path) -> None:
    assert prepare("digits", tmp_path) == [
        "digits: 1437 training and 360 test images are in scikit-learn"
    ]


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    for action in (prepare, verify):
        with pytest.raises(UserError, match="unknown name 'cifar-10', did you mean 'cifar10'"):
            action("cifar-10", tmp_path)
