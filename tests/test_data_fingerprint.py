from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_data_cifar import SMALL100, write

from resnet_lab.data import image_tree as module
from resnet_lab.data.checksums import write_checksums
from resnet_lab.data.config import DataConfig
from resnet_lab.data.dataset import DATASETS
from resnet_lab.data.datasets.cifar import CIFAR10
from resnet_lab.data.datasets.digits import read_digits
from resnet_lab.data.fingerprint import fingerprint
from resnet_lab.errors import UserError

FOLDERS = DataConfig("imagefolder")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two classes of two files each; what is in a file is no matter here."""
    root = tmp_path / "images"
    for part in ("train", "val"):
        for one in "ab":
            (root / part / one).mkdir(parents=True)
            for name in ("0.png", "1.JPG"):
                (root / part / one / name).write_text(f"{part} {one} {name}")
    return root


def test_the_digits_are_known_by_their_labels_and_pixels() -> None:
    for part, images in zip(("train", "test"), read_digits(), strict=True):
        content = images.labels.numpy().tobytes() + images.images.numpy().tobytes()
        expected = f"contents:{hashlib.sha256(content).hexdigest()[:16]}"
        assert fingerprint(DataConfig("digits"), Path("nowhere"))[part] == expected
    known = fingerprint(DataConfig("digits", test=False), Path("nowhere"))
    assert list(known) == ["images", "train"]
    assert known["images"] == len(read_digits()[0])


def test_cifar_is_known_by_the_checksums_its_files_are_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = b"".join(f"{file}\0{CIFAR10.sha256[file]}\0".encode() for file in CIFAR10.train)
    expected = {"images": 50_000, "train": f"contents:{hashlib.sha256(words).hexdigest()[:16]}"}
    assert fingerprint(DataConfig("cifar10", test=False), tmp_path) == expected
    with pytest.raises(UserError, match=r"cifar100 is not complete: train\.bin, test\.bin missing"):
        fingerprint(DataConfig("cifar100"), tmp_path)
    monkeypatch.setitem(DATASETS._known, "cifar100", SMALL100)
    write(SMALL100, tmp_path)
    read = fingerprint(DataConfig("cifar100"), tmp_path)
    write_checksums(tmp_path / SMALL100.folder, list(SMALL100.records))
    assert fingerprint(DataConfig("cifar100"), tmp_path) == read
    assert read["images"] == sum(SMALL100.train.values())
    assert len({read["train"], read["test"], expected["train"]}) == 3


def test_the_same_images_elsewhere_listed_otherwise_have_the_same_fingerprint(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = fingerprint(FOLDERS, data_dir)
    assert known["images"] == 4
    assert {known[part].split(":")[0] for part in ("train", "test")} == {"contents"}
    other = shutil.copytree(data_dir, data_dir.parent / "elsewhere" / "imagefolder")
    for path in sorted(other.rglob("*.png")):
        os.utime(path, (0, 0))
        path.with_name(f"._{path.name}").write_text("AppleDouble")
        path.with_name("notes.txt").touch()
    (other / "train" / ".ipynb_checkpoints").mkdir()
    (other / "train" / "a").rename(other.parent / "of-a")
    (other / "train" / "a").symlink_to(other.parent / "of-a")
    scandir = os.scandir
    monkeypatch.setattr("os.scandir", lambda path: reversed([*scandir(path)]))
    assert fingerprint(FOLDERS, other.parent) == known
    monkeypatch.chdir(other.parent)
    assert fingerprint(FOLDERS, Path()) == known


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda part: (part / "a/0.png").write_text((part / "b/0.png").read_text()),
    "size": lambda part: (part / "a/0.png").write_text("longer than it was"),
    "name": lambda part: (part / "a/0.png").rename(part / "a/2.png"),
    "label": lambda part: (part / "a/0.png").rename(part / "b/2.png"),
    "one more": lambda part: shutil.copy(part / "a/0.png", part / "a/2.png"),
    "one less": lambda part: (part / "a/0.png").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_have_another_fingerprint(data_dir: Path, change: str) -> None:
    known = fingerprint(FOLDERS, data_dir)
    CHANGES[change](data_dir / "val")
    changed = fingerprint(FOLDERS, data_dir)
    assert changed["train"] == known["train"]
    assert changed["test"] != known["test"]
    without = replace(FOLDERS, test=False)
    assert fingerprint(without, data_dir) == {"images": 4, "train": known["train"]}
    CHANGES[change](data_dir / "train")
    assert fingerprint(without, data_dir)["train"] != known["train"]


@pytest.mark.parametrize("change", CHANGES)
def test_of_many_bytes_only_names_and_sizes_count(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    total = sum(path.stat().st_size for path in data_dir.glob("train/*/*"))
    monkeypatch.setattr(module, "MOST_BYTES", total - 1)
    config = replace(FOLDERS, test=False)
    known = fingerprint(config, data_dir)
    assert known["train"].startswith("sizes:")
    CHANGES[change](data_dir / "train")
    assert (fingerprint(config, data_dir) == known) == (change == "content")


def test_without_test_images_their_folder_is_not_looked_at(data_dir: Path) -> None:
    known = fingerprint(FOLDERS, data_dir)
    shutil.rmtree(data_dir / "val")
    known.pop("test")
    assert fingerprint(replace(FOLDERS, test=False), data_dir) == known
    with pytest.raises(UserError, match="imagefolder has no folder"):
        fingerprint(FOLDERS, data_dir)
