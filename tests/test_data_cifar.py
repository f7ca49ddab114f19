from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_lab.data.checksums import file_checksum, write_checksums
from resnet_lab.data.cifar import read_cifar
from resnet_lab.data.config import DataConfig
from resnet_lab.data.dataset import DATASETS
from resnet_lab.data.datasets.cifar import CIFAR10, CIFAR100, Cifar
from resnet_lab.data.load import load_data
from resnet_lab.data.prepare import prepare, verify
from resnet_lab.errors import UserError

SMALL10 = replace(
    CIFAR10, train=dict.fromkeys(CIFAR10.train, 8), test={"test_batch.bin": 4}, sha256={}
)
SMALL100 = replace(CIFAR100, train={"train.bin": 8}, test={"test.bin": 4})


def write(version: Cifar, data_dir: Path) -> dict[str, np.ndarray]:
    """Write random records as the data set's page describes them, and return them by file."""
    random = np.random.default_rng(0)
    folder = data_dir / version.folder
    folder.mkdir()
    records = {}
    for file, count in version.records.items():
        labels = random.integers(0, version.label_limits, (count, len(version.label_limits)))
        pixels = random.integers(0, 256, (count, 3072))
        records[file] = np.hstack([labels, pixels]).astype(np.uint8)
        (folder / file).write_bytes(records[file].tobytes())
    return records


@pytest.mark.parametrize("version", [SMALL10, SMALL100], ids=["cifar10", "cifar100"])
def test_what_is_written_is_read(version: Cifar, tmp_path: Path) -> None:
    records = write(version, tmp_path)
    skip = len(version.label_limits)
    for part, files in zip(
        read_cifar(version, tmp_path), (version.train, version.test), strict=True
    ):
        content = np.vstack([records[file] for file in files])
        assert part.images.dtype == torch.uint8
        assert part.images.shape == (len(content), 3, 32, 32)
        assert part.labels.tolist() == content[:, skip - 1].tolist()  # fine labels of CIFAR-100
        red, green, blue = content[3, skip:].reshape(3, 1024)
        assert part.images[3, :, 1, 2].tolist() == [red[34], green[34], blue[34]]  # row by row


@pytest.mark.parametrize("version", [SMALL10, SMALL100], ids=["cifar10", "cifar100"])
def test_loading_by_name(version: Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(version, tmp_path)
    monkeypatch.setitem(DATASETS._known, version.name, version)
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path))
    data = load_data(DataConfig(version.name, protocol="full"))
    assert data.num_classes == version.num_classes
    assert data.image_shape == (3, 32, 32)
    assert data.counts == {"train": sum(version.train.values()), "test": 4}
    x, _ = data.train_batch(0, seed=0, batch_size=8)
    assert x.shape == (8, 3, 32, 32)


def test_the_real_files_have_the_published_sizes() -> None:
    sizes = {
        version.name: {f: n * version.record_bytes for f, n in version.records.items()}
        for version in (CIFAR10, CIFAR100)
    }
    batches = [f"data_batch_{number}.bin" for number in (1, 2, 3, 4, 5)]
    assert sizes["cifar10"] == dict.fromkeys([*batches, "test_batch.bin"], 30_730_000)
    assert sizes["cifar100"] == {"train.bin": 153_700_000, "test.bin": 30_740_000}
    assert (CIFAR10.num_classes, CIFAR100.num_classes) == (10, 100)


def test_missing_files_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    write(SMALL10, tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    (folder / "data_batch_2.bin").unlink()
    (folder / "test_batch.bin").unlink()
    with pytest.raises(UserError) as error:
        read_cifar(SMALL10, tmp_path)
    assert str(error.value) == (
        f"data: cifar10 is not complete: data_batch_2.bin, test_batch.bin missing in {folder}. "
        f"Get it with `resnet-lab data prepare cifar10 --data-dir {tmp_path}`, or fetch "
        f"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz by hand into {tmp_path} "
        "and do the same"
    )


def missing(data_dir: Path) -> str:
    with pytest.raises(UserError) as error:
        read_cifar(SMALL10, data_dir)
    return str(error.value)


@pytest.mark.parametrize("given", ["{folder}", "link"])
def test_the_folder_of_the_files_is_no_data_directory_and_the_right_one_is_named(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(SMALL10, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / SMALL10.folder)
    data_dir = tmp_path / given.format(folder=SMALL10.folder)
    said = (
        f"data: cifar10: the data directory {data_dir} is the folder of its files, and must be the "
        f"one that holds cifar-10-batches-bin: give --data-dir {tmp_path} or "
        f"RESNET_LAB_DATA={tmp_path}"
    )
    assert missing(data_dir) == said
    monkeypatch.setitem(DATASETS._known, "cifar10", SMALL10)
    monkeypatch.delattr("urllib.request.urlopen")
    with pytest.raises(UserError) as error:
        prepare("cifar10", data_dir)
    assert str(error.value) == said


def test_an_archive_that_is_there_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    command = f"`resnet-lab data prepare cifar10 --data-dir {tmp_path}`"
    end = f". {tmp_path}/cifar-10-binary.tar.gz is there: {command} unpacks it"
    assert missing(tmp_path).endswith(end)
    write(SMALL10, tmp_path)
    (tmp_path / SMALL10.folder / "data_batch_4.bin").unlink()
    assert missing(tmp_path).startswith("data: cifar10 is not complete: data_batch_4.bin missing")
    assert missing(tmp_path).endswith(end)


def test_files_a_level_deeper_or_higher_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    write(SMALL10, tmp_path / "sets")
    folder = tmp_path / "sets" / SMALL10.folder
    assert missing(tmp_path).endswith(f". There is {folder}: give --data-dir {tmp_path / 'sets'}")
    loose = folder.rename(tmp_path / "sets" / "cifar")
    assert missing(loose).endswith(
        f". {loose}/data_batch_1.bin is there: it and its like belong in {loose / SMALL10.folder}"
    )


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-10-python.tar.gz"])
def test_the_pickled_version_is_not_read_and_the_right_archive_named(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    end = (
        f". {tmp_path / name} is another version, which is not read. Get it with `resnet-lab data "
        "prepare cifar10 --data-dir {data_dir}`, or fetch "
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz by hand into {data_dir} and do "
        "the same"
    )
    assert missing(tmp_path).endswith(end.format(data_dir=tmp_path))
    assert missing(tmp_path / name).endswith(end.format(data_dir=tmp_path / name))


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path) -> None:
    write(SMALL10, tmp_path)
    path = tmp_path / SMALL10.folder / "data_batch_3.bin"
    expected = file_checksum(path, "sha256")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_cifar(replace(SMALL10, sha256={path.name: expected}), tmp_path)
    assert str(error.value) == (
        f"data: {path} is damaged: sha256 expected {expected}, "
        f"found {file_checksum(path, 'sha256')}; bytes expected 24584, found 24584. "
        f"`resnet-lab data prepare cifar10 --data-dir {tmp_path}` replaces it"
    )


def test_checksums_beside_the_files_are_compared_too(tmp_path: Path) -> None:
    write(SMALL100, tmp_path)
    folder = tmp_path / SMALL100.folder
    write_checksums(folder, ["train.bin", "test.bin"])
    read_cifar(SMALL100, tmp_path)
    content = (folder / "test.bin").read_bytes()
    (folder / "test.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"test\.bin is damaged: sha256 expected \w{64}, found"):
        read_cifar(SMALL100, tmp_path)


def test_a_file_of_the_wrong_size_is_damaged(tmp_path: Path) -> None:
    write(SMALL100, tmp_path)
    path = tmp_path / SMALL100.folder / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError) as error:
        read_cifar(SMALL100, tmp_path)
    assert str(error.value) == (
        f"data: {path} is damaged: bytes expected 24592, found 24591. "
        f"`resnet-lab data prepare cifar100 --data-dir {tmp_path}` replaces it"
    )


@pytest.mark.parametrize(("position", "limit"), [(0, 20), (1, 100)])
def test_a_label_out_of_range_is_damage(tmp_path: Path, position: int, limit: int) -> None:
    records = write(SMALL100, tmp_path)["train.bin"]
    records[5, position] = limit
    path = tmp_path / SMALL100.folder / "train.bin"
    path.write_bytes(records.tobytes())
    with pytest.raises(UserError) as error:
        read_cifar(SMALL100, tmp_path)
    assert str(error.value) == (
        f"data: {path} is damaged: record 5 has label {limit}, which must be below {limit}. "
        f"`resnet-lab data prepare cifar100 --data-dir {tmp_path}` replaces it"
    )


@pytest.fixture(scope="module")
def real_data_dir() -> Path:
    data_dir = Path(os.environ.get("RESNET_LAB_DATA", "/nonexistent"))
    if not (data_dir / CIFAR10.folder).is_dir():
        pytest.skip("needs the real CIFAR-10: $RESNET_LAB_DATA/cifar-10-batches-bin")
    return data_dir


def test_the_real_cifar10_is_complete_and_balanced(real_data_dir: Path) -> None:
    assert verify("cifar10", real_data_dir) == [
        f"cifar10: 50000 training and 10000 test images in {real_data_dir / CIFAR10.folder}: "
        "checksums, sizes and labels are right"
    ]
    train, test = read_cifar(CIFAR10, real_data_dir)
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    mean = torch.stack([train.images[:, channel].float().mean() for channel in range(3)]) / 255
    torch.testing.assert_close(mean, torch.tensor([0.49140, 0.48216, 0.44653]), atol=1e-5, rtol=0)


def test_the_real_cifar10_in_the_papers_protocols(real_data_dir: Path) -> None:
    data = load_data(DataConfig("cifar10"), real_data_dir)
    assert data.protocol == "45k/5k"
    assert data.counts == {"train": 45_000, "validation": 5_000, "test": 10_000}
    total, squares = torch.zeros(3, 32, 32), 0.0
    for (inputs,), _ in data.evaluation_batches("train", batch_size=4500):
        total += inputs.sum(0)
        squares += float(inputs.square().mean()) / 10
    assert float(total.abs().max()) / 45_000 < 1e-6
    assert squares**0.5 == pytest.approx(0.2488, abs=5e-4)
