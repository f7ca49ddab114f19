from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2
from sklearn.datasets import load_digits
from tiny_runs import ROOT, info
from torch import Tensor
from torchvision.transforms import v2

from resnet_lab.data import crops
from resnet_lab.data.config import DataConfig
from resnet_lab.data.image_batches import EvaluationReader, RawBatch, read_batches
from resnet_lab.data.image_tree import read_trees
from resnet_lab.data.load import load_data
from resnet_lab.data.loader import Data
from resnet_lab.data.prepare import prepare, verify
from resnet_lab.data.randomness import derived_generator
from resnet_lab.errors import RunFailed, UserError

# From Python 3.12 on, forking workers beside PyTorch's threads earns a warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

SIZES = [(300, 260), (250, 330), (240, 240), (300, 260)]  # (width, height)


def write_tree(root: Path, per_class: dict[str, int]) -> None:
    """Write digits 0 to 2 enlarged and coloured, one class each, as PNG and JPEG, one grey."""
    pixels, classes = load_digits(return_X_y=True)
    for part, count in per_class.items():
        for digit in range(3):
            folder = root / part / f"digit-{digit}"
            folder.mkdir(parents=True)
            for number, image in enumerate(pixels[classes == digit][:count]):
                grey = Image.fromarray((image.reshape(8, 8) * 15).astype(np.uint8))
                colours = Image.merge("RGB", [grey, grey.rotate(90), grey.rotate(180)])
                source = grey if number == 1 else colours
                large = source.resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC)
                large.save(folder / f"{number}.{'jpg' if number % 2 else 'png'}")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_tree(root / "imagenet", {"train": 4, "val": 2})
    return root


def load(data_dir: Path, **config: object) -> Data:
    settings = {"name": "imagenet", "validation_size": 3, "workers": 0, **config}
    return load_data(DataConfig(**settings), data_dir)  # type: ignore[arg-type]


def equal(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def photograph(width: int = 300, height: int = 260) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 10, width // 10, 3))
    small = Image.fromarray(pixels.astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def test_ten_crops_and_the_centre_are_torchvisions() -> None:
    image = v2.functional.pil_to_tensor(photograph())
    resized = v2.Resize(256, antialias=True)(image)
    ten = crops.evaluation_views(image, "ten-crop")
    assert len(ten) == 10
    for crop, expected in zip(ten, v2.TenCrop(224)(resized), strict=True):
        assert torch.equal(crop, expected)
    (centre,) = crops.evaluation_views(image, "centre")
    assert torch.equal(centre, ten[4])
    assert torch.equal(centre, v2.CenterCrop(224)(resized))


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (224, 224)])
def test_multi_scale_views_have_the_papers_shorter_sides(width: int, height: int) -> None:
    image = v2.functional.pil_to_tensor(photograph(width, height))
    scaled = crops.evaluation_views(image, "multi-scale")
    assert [min(view.shape[1:]) for view in scaled] == [224, 256, 384, 480, 640]
    for view in scaled:
        assert view.shape[2] / view.shape[1] == pytest.approx(width / height, abs=0.01)


def test_training_draws_every_scale_place_and_mirror_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbered = torch.arange(30).view(1, 6, 5).expand(3, -1, -1)  # a crop of 4 has 3 x 2 places
    sides: list[int] = []

    def resize(image: Tensor, side: int) -> Tensor:
        sides.append(side)
        return numbered

    monkeypatch.setattr(crops, "CROP", 4)
    monkeypatch.setattr(crops, "resize_shorter_side", resize)
    drawn_crops = []
    for place in range(6750):
        crop = crops.training_view(numbered, derived_generator(0, "augment", 0, place))
        drawn_crops.append(tuple(crop.flatten().tolist()))
    windows = [numbered[:, y : y + 4, x : x + 4] for y in range(3) for x in range(2)]
    expected = {
        tuple(view.flatten().tolist()) for window in windows for view in (window, window.flip(2))
    }
    assert set(drawn_crops) == expected
    assert set(sides) == set(range(256, 481))
    for drawn, cells in ((sides, 225), (drawn_crops, 12)):
        counts = np.unique(drawn, return_counts=True, axis=0)[1]
        mean = len(drawn) / cells
        assert ((counts - mean) ** 2 / mean).sum() < chi2.ppf(0.999, cells - 1)


def test_the_training_view_depends_on_the_generator_alone() -> None:
    image = v2.functional.pil_to_tensor(photograph(500, 520))
    generator = derived_generator(1)
    view = crops.training_view(image, generator)
    assert (view.dtype, view.shape) == (torch.uint8, (3, 224, 224))
    assert torch.equal(view, crops.training_view(image, derived_generator(1)))
    assert not torch.equal(view, crops.training_view(image, generator))


def test_colour_shifts_follow_the_published_components() -> None:
    values, vectors = np.array([0.2175, 0.0188, 0.0045]), np.array(crops.COLOUR_COMPONENTS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-3)
    alpha = 0.1 * torch.randn(3, generator=derived_generator(7)).numpy()
    shift = sum(alpha[i] * values[i] * vectors[:, i] for i in range(3))
    np.testing.assert_allclose(crops.colour_shift(derived_generator(7)), shift, atol=1e-7)
    shifts = np.stack([crops.colour_shift(derived_generator(seed)) for seed in range(4000)])
    covariance = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), covariance, rtol=0.08)
    np.testing.assert_allclose(shifts.mean(0), 0, atol=4 * 0.1 * 0.2175 * 0.6 / 4000**0.5)


def test_a_tree_is_split_and_described(data_dir: Path) -> None:
    data = load(data_dir)
    assert data.describe() == {
        "name": "imagenet",
        "protocol": "9/3",
        "counts": {"train": 9, "validation": 3, "test": 6},
        "split_seed": 0,
        "normalise": "pixel-mean",
        "augment": "paper",
        "test_view": "centre",
        "image_shape": [3, 224, 224],
        "num_classes": 3,
    }
    seen = {
        part: [y for _, labels in data.evaluation_batches(part, batch_size=2) for y in labels]
        for part in ("train", "validation", "test")
    }
    assert sorted(map(int, seen["train"] + seen["validation"])) == [0] * 4 + [1] * 4 + [2] * 4
    assert list(map(int, seen["test"])) == [0, 0, 1, 1, 2, 2]


def test_other_folders_lie_in_the_data_directory_itself(data_dir: Path) -> None:
    data = load(data_dir / "imagenet", name="imagefolder", validation_size=None)
    assert data.counts == {"train": 11, "validation": 1, "test": 6}


@pytest.mark.parametrize("augment", ["paper", "none"])
def test_training_batches_are_the_same_with_and_without_workers(
    data_dir: Path, augment: str
) -> None:
    def batches(workers: int, start: int = 0) -> list[tuple[Tensor, Tensor]]:
        data = load(data_dir, workers=workers, augment=augment, normalise="imagenet")
        return list(data.train_batches(seed=3, batch_size=6, start=lambda: start, stop=3))

    before = torch.get_rng_state()
    alone, together = batches(0), batches(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(alone) == 3
    assert all(equal(one, other) for one, other in zip(alone, together, strict=True))
    assert all(equal(one, other) for one, other in zip(alone[1:], batches(0, 1), strict=True))
    data = load(data_dir, augment=augment, normalise="imagenet")
    assert equal(data.train_batch(2, seed=3, batch_size=6), alone[2])
    assert alone[0][0].shape == (6, 3, 224, 224)
    assert sorted(torch.cat([y for _, y in alone])[:9].tolist()) == sorted(
        torch.cat([y for _, y in data.evaluation_batches("train", batch_size=9)]).tolist()
    )


def test_shares_of_processes_join_to_the_whole_batch(data_dir: Path) -> None:
    data = load(data_dir, normalise="imagenet")
    whole = data.train_batch(1, seed=0, batch_size=6)
    shares = [
        data.train_batch(1, seed=0, batch_size=6, rank=rank, world_size=3) for rank in range(3)
    ]
    x, y = (torch.cat(part) for part in zip(*shares, strict=True))
    assert equal((x, y), whole)
    assert not torch.equal(x, data.train_batch(1, seed=1, batch_size=6)[0])


def test_the_colour_shift_is_all_that_colour_augmentation_adds(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(data_dir, normalise="imagenet")
    x, _ = data.train_batch(0, seed=0, batch_size=4)
    monkeypatch.setattr(
        "resnet_lab.data.image_batches.colour_shift", lambda generator: torch.zeros(3)
    )
    plain, _ = data.train_batch(0, seed=0, batch_size=4)
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    for place in range(4):
        generator = derived_generator(0, "augment", 0, place)
        crops.training_view(torch.zeros(3, 260, 300, dtype=torch.uint8), generator)
        shift = ((x[place] - plain[place]) * std).mean((1, 2))
        torch.testing.assert_close(shift, crops.colour_shift(generator), atol=1e-6, rtol=0)


def test_evaluation_covers_every_image_once_over_processes_and_workers(data_dir: Path) -> None:
    data = load(data_dir, workers=2, normalise="imagenet", protocol="full", validation_size=None)
    alone = load(data_dir, normalise="imagenet", protocol="full", validation_size=None)
    (((whole,), labels),) = alone.evaluation_batches("train", batch_size=12)
    shares = [
        list(data.evaluation_batches("train", batch_size=2, rank=rank, world_size=5))
        for rank in range(5)
    ]
    for rank, batches in enumerate(shares):
        assert torch.equal(torch.cat([view for (view,), _ in batches]), whole[rank::5])
        assert torch.equal(torch.cat([y for _, y in batches]), labels[rank::5])


def test_ten_crops_come_as_ten_views_of_a_batch(data_dir: Path) -> None:
    data = load(data_dir, test_view="ten-crop", normalise="imagenet")
    batches = list(data.evaluation_batches("test", batch_size=4))
    assert [[tuple(view.shape) for view in found] for found, _ in batches] == [
        [(4, 3, 224, 224)] * 10,
        [(2, 3, 224, 224)] * 10,
    ]


def test_multi_scale_batches_hold_only_neighbours_of_one_size(data_dir: Path) -> None:
    data = load(data_dir, test_view="multi-scale")
    batches = list(data.evaluation_batches("test", batch_size=6))
    assert [y.tolist() for _, y in batches] == [[0], [0], [1], [1], [2], [2]]
    shapes = [[tuple(view.shape[2:]) for view in found] for found, _ in batches[:2]]
    assert shapes[0] == [(224, 258), (256, 295), (384, 443), (480, 553), (640, 738)]
    assert shapes[1] == [(295, 224), (337, 256), (506, 384), (633, 480), (844, 640)]


@pytest.mark.parametrize("normalise", ["pixel-mean", "channel"])
def test_statistics_are_those_of_the_training_parts_centre_views(
    data_dir: Path, normalise: str
) -> None:
    data = load(data_dir, normalise=normalise, augment="none")
    ((inputs,), _), *_ = data.evaluation_batches("train", batch_size=9)
    if normalise == "pixel-mean":
        assert float(inputs.mean(0).abs().max()) < 1e-6
        assert 0.1 < float(inputs.std()) < 0.5
    else:
        torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
        deviation = inputs.double().std((0, 2, 3), correction=0)
        torch.testing.assert_close(deviation.float(), torch.ones(3), atol=1e-4, rtol=0)


def test_the_probe_is_fixed_and_from_the_training_part(data_dir: Path) -> None:
    data = load(data_dir, normalise="imagenet")
    x, y = data.probe_batch(4)
    assert equal((x, y), data.probe_batch(4))
    ((inputs,), _), *_ = data.evaluation_batches("train", batch_size=9)
    assert all((inputs == image).flatten(1).all(1).sum() == 1 for image in x)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named(tmp_path: Path, workers: int) -> None:
    write_tree(tmp_path, {"train": 2, "val": 1})
    broken = tmp_path / "val" / "digit-1" / "0.png"
    broken.write_bytes(broken.read_bytes()[:300])
    data = load(tmp_path, workers=workers, normalise="imagenet")
    with pytest.raises(UserError) as error:
        list(data.evaluation_batches("test", batch_size=2))
    assert str(error.value).startswith(f"data: {broken} is not a readable image (")
    assert str(error.value).endswith("); replace it")
    assert "\n" not in str(error.value)


class Dying(EvaluationReader):
    """Its process dies as one that writes where shared memory has ended, or has none left."""

    def read(self, plan: list[int]) -> list[RawBatch]:
        os.kill(os.getpid(), signal.Signals(plan[0]))
        raise AssertionError


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGKILL])
def test_a_worker_that_dies_ends_the_reading_with_one_message(
    data_dir: Path, number: signal.Signals
) -> None:
    reader = Dying(read_trees("imagenet", data_dir)[0], "centre")
    with pytest.raises(RunFailed, match=r"DataLoader worker .*or --data\.workers 0, which reads"):
        list(read_batches(reader, [[int(number)]] * 8, workers=2))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_what_a_worker_cannot_share_is_said_and_not_waited_for(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(tensor: Tensor) -> Tensor:
        raise RuntimeError(f"unable to allocate shared memory(shm): {os.strerror(number)}")

    monkeypatch.setattr(Tensor, "share_memory_", full)
    batches = load(data_dir, normalise="imagenet", workers=2)
    with pytest.raises(RunFailed, match=f"{os.strerror(number)}.*--shm-size") as error:
        list(batches.evaluation_batches("test", batch_size=2))
    assert "\n" not in str(error.value)
    alone = load(data_dir, normalise="imagenet")
    assert len(list(alone.evaluation_batches("test", batch_size=2))) > 1


def test_one_megabyte_of_shared_memory_ends_a_run_with_a_message(data_dir: Path) -> None:
    train = "train --network=plain-18-x0.25 --data.name=imagenet --recipe.iterations=3 "
    train += "--recipe.batch_size=8 --trainer.device=cpu --data.workers=2 --data.validation_size=3"
    command = [sys.executable, "-m", "resnet_lab", *train.split(), f"--data-dir={data_dir}"]
    small = f"mount -t tmpfs -o size=1m tmpfs /dev/shm && {shlex.join(command)}"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs a privilege")
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", small],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    [told] = ended.stderr.splitlines()
    assert told.startswith("resnet-lab: the processes that read images cannot hand them over (")
    assert "No space left on device" in told
    assert "--shm-size" in told
    [run] = Path("runs").iterdir()
    assert info(run)["status"] == "failed"
    assert info(run)["error"] == f"RunFailed: {told.removeprefix('resnet-lab: ')}"


def test_preparing_and_verifying_check_every_file(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train": 2, "val": 1})
    expected = [
        f"imagefolder: 6 images of 3 classes in {tmp_path / 'train'}: every file is an image",
        f"imagefolder: 3 images of 3 classes in {tmp_path / 'val'}: every file is an image",
    ]
    assert verify("imagefolder", tmp_path) == prepare("imagefolder", tmp_path) == expected
    broken = tmp_path / "train" / "digit-2" / "1.jpg"
    broken.write_text("no image")
    with pytest.raises(UserError) as error:
        verify("imagefolder", tmp_path)
    assert str(error.value) == (
        f"data: 1 of 6 files in {tmp_path / 'train'} are no images: {broken}; replace them"
    )


def test_a_missing_folder_is_named_with_its_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_trees("imagenet", tmp_path)
    assert str(error.value) == (
        f"data: imagenet has no folder {tmp_path / 'train'}; it must hold "
        "train/CLASS/*.jpg and val/CLASS/*.jpg (or .png and the like). "
        "Put the images there, or name their folder with --data-dir"
    )


def test_empty_and_unshared_classes_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train": 1, "val": 1})
    (tmp_path / "val" / "digit-2").rename(tmp_path / "val" / "digit-3")
    with pytest.raises(UserError, match="only one of them has digit-2, digit-3"):
        read_trees("imagenet", tmp_path)
    (tmp_path / "train" / "digit-0" / "0.png").unlink()
    with pytest.raises(UserError, match="imagenet: Found no valid file for the classes digit-0"):
        read_trees("imagenet", tmp_path)
