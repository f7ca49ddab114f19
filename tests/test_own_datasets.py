"""The user's own data sets: one function, trained, resumed and reported as the project's are."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extending_page import examples
from PIL import Image
from registered_parts import parts_taken_back
from tiny_runs import PAIR, assert_same_result, at_step, info, interrupt, tiny
from torch.utils.data import IterableDataset, TensorDataset

import resnet_lab as rl
from resnet_lab.cli import main
from resnet_lab.data.fingerprint import fingerprint
from resnet_lab.machine import machine_facts
from resnet_lab.parts import files
from resnet_lab.training.train import train

FILE = """
import torch
import resnet_lab as rl


@rl.dataset("mine", pad=1, mirror=False, classes=["low", "high", "odd"])
def mine(data_dir):
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(96) % 3
    images = torch.randint(0, 256, (96, 2, 6, 6), generator=random, dtype=torch.uint8)
    return rl.Images(train=(images[:72], labels[:72]), test=(images[72:], labels[72:]))
"""
IMAGES = torch.arange(60 * 3 * 4 * 4).remainder(251).to(torch.uint8).view(60, 3, 4, 4)
LABELS = torch.arange(60) % 3
TRAIN, TEST = (IMAGES[:48], LABELS[:48]), (IMAGES[48:], LABELS[48:])


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with parts_taken_back():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def own(train: Any = TRAIN, test: Any = TEST, name: str = "own", **options: Any) -> str:
    """Register a data set of these parts and return its name."""
    rl.dataset(name, **options)(lambda data_dir: rl.Images(train=train, test=test))
    return name


def load(name: str, **config: Any) -> Any:
    return rl.load_data(rl.DataConfig(name, **config))


# What it is


def test_it_is_read_split_and_normalised_as_the_projects_are(file: Path) -> None:
    rl.load_parts(file)
    data = load("mine", normalise="channel")
    assert data.describe() == {
        "name": "mine",
        "protocol": "65/7",
        "counts": {"train": 65, "validation": 7, "test": 24},
        "split_seed": 0,
        "normalise": "channel",
        "augment": "paper",
        "test_view": "centre",
        "image_shape": [2, 6, 6],
        "num_classes": 3,
    }
    assert data.inputs().classes == ("low", "high", "odd")
    parts = {part: [*data.evaluation_batches(part, batch_size=99)] for part in data.counts}
    [((train,), _)] = parts["train"]
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    [(_, labels)] = parts["test"]
    assert labels.tolist() == (torch.arange(72, 96) % 3).tolist()


def test_the_example_of_the_docs_is_a_data_set(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(examples("Data sets")[0])
    rl.load_parts(file)
    data = load("stripes", normalise="channel")
    assert (data.protocol, data.num_classes, data.image_shape) == ("900/100", 2, (1, 16, 16))
    [((train,), labels)] = data.evaluation_batches("train", batch_size=999)
    changes = [(train.diff(dim=axis).abs().mean((1, 2, 3))) for axis in (2, 3)]
    across = changes[0] > changes[1]
    assert float((across == (labels == 0)).float().mean()) > 0.8


def test_it_is_augmented_as_the_decorator_says() -> None:
    own(pad=0, mirror=False)
    plain, untouched = (load("own", augment=one) for one in ("paper", "none"))
    own(name="mirrored", pad=0, mirror=True, validation_size=9)
    mirrored = load("mirrored")
    assert mirrored.protocol == "39/9"
    x, _ = plain.train_batch(0, seed=0, batch_size=16)
    assert torch.equal(x, untouched.train_batch(0, seed=0, batch_size=16)[0])
    full = {"protocol": "full", "normalise": "imagenet"}
    x, _ = load("own", **full).train_batch(0, seed=0, batch_size=16)
    y, _ = load("mirrored", **full).train_batch(0, seed=0, batch_size=16)
    kept = [*map(torch.equal, x, y)]
    assert [torch.equal(*pair) for pair in zip(x, y.flip(3), strict=True)] == [
        not one for one in kept
    ]
    assert 0 < sum(kept) < 16


class Pairs:
    """A map-style Dataset without torch's base class; items are made from an index."""

    def __init__(self, make: Callable[[int], Any], count: int = 48) -> None:
        self.make, self.count, self.reads = make, count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Any:
        self.reads += 1
        return self.make(place)


def pillow(place: int) -> tuple[Image.Image, int]:
    return Image.fromarray(IMAGES[place].permute(1, 2, 0).numpy()), int(LABELS[place])


FORMS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: (IMAGES[:48].numpy(), LABELS[:48].numpy().astype(np.int16)),
    "floats": lambda: (IMAGES[:48].float() / 255, LABELS[:48].tolist()),
    "function": lambda: lambda: TRAIN,
    "tensor dataset": lambda: TensorDataset(*TRAIN),
    "floats of a dataset": lambda: Pairs(lambda n: (IMAGES[n].double() / 255, LABELS[n])),
    "pillow": lambda: Pairs(pillow),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_images_is_the_same_data(form: str) -> None:
    own(name="tensors")
    own(train=FORMS[form]())
    configs = [rl.DataConfig(name) for name in ("tensors", "own")]
    known, found = map(fingerprint, configs)
    assert known == found
    assert known["images"] == 48
    x, y = (rl.load_data(config).train_batch(3, seed=0, batch_size=8)[0] for config in configs)
    assert torch.equal(x, y)


def test_without_test_images_none_are_read() -> None:
    test = Pairs(lambda place: 1 / 0)
    own(test=test)
    without = rl.DataConfig("own", test=False)
    assert list(fingerprint(without)) == ["images", "train"]
    assert rl.load_data(without).counts == {"train": 44, "validation": 4}
    assert test.reads == 0
    own(test=lambda: 1 / 0, name="called")
    assert load("called", test=False).counts == {"train": 44, "validation": 4}
    own(test=None, name="none")
    assert load("none", test=False).counts == {"train": 44, "validation": 4}


def test_the_fingerprint_is_of_pixels_and_labels_and_the_function_is_called_once() -> None:
    calls = []

    @rl.dataset("counted")
    def counted(data_dir: Path) -> rl.Images:
        calls.append(data_dir)
        return rl.Images(train=TRAIN, test=TEST)

    content = b"(48, 3, 4, 4)" + TRAIN[0].numpy().tobytes() + TRAIN[1].numpy().tobytes()
    config = rl.Config(data=rl.DataConfig("counted"), data_dir="here")
    known = config.fingerprint()
    assert known["train"] == f"contents:{hashlib.sha256(content).hexdigest()[:16]}"
    assert config.fingerprint() == known
    rl.load_data(config.data, "here")
    assert calls == [Path("here")]
    changed = IMAGES[:48].clone()
    changed[7, 0, 1, 1] += 1
    for name, part in (("pixel", (changed, LABELS[:48])), ("label", (IMAGES[:48], LABELS[1:49]))):
        own(name=name, train=part)
        found = fingerprint(rl.DataConfig(name))
        assert found["train"] != known["train"]
        assert found["test"] == known["test"]


# What is refused


def unpaired(place: int) -> Any:
    return IMAGES[place]


def of_two_sizes(place: int) -> Any:
    return IMAGES[place, :, : 3 + place % 2], 0


def random_crop(place: int) -> Any:
    return torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8), 0


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([TRAIN])


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no test part": ({"test": None}, "it has no test images: return rl.Images(train=..., test="),
    "no pair": ({"train": IMAGES}, "its training part is a Tensor: give (images, labels), or a"),
    "mapping": ({"test": {}}, "its test part is a dict: give (images, labels), or a map-style"),
    "iterable": ({"train": Stream()}, "its training part is a Stream: give (images, labels), or"),
    "no images": ({"train": (IMAGES[:0], LABELS[:0])}, "its training part has no images"),
    "no items": ({"train": Pairs(pillow, 0)}, "its training part has no images: it is empty"),
    "flat": ({"train": (IMAGES.flatten(1), LABELS)}, "uint8 (60, 48): give (N, C, H, W)"),
    "grey": ({"train": (IMAGES[:, 0], LABELS)}, "uint8 (60, 4, 4): give (N, C, H, W)"),
    "channels last": (
        {"train": (torch.zeros(9, 8, 8, 3, dtype=torch.uint8), LABELS[:9])},
        "uint8 (9, 8, 8, 3), channels last: permute them (0, 3, 1, 2)",
    ),
    "whole numbers": ({"train": (IMAGES.long(), LABELS)}, "int64 (60, 3, 4, 4): give uint8, or"),
    "normalised": ({"train": (IMAGES - 9.0, LABELS)}, "pixels from -9 to 241: give uint8"),
    "not a number": ({"train": (IMAGES * float("nan"), LABELS)}, "pixels from nan to nan: give"),
    "lengths": ({"train": (IMAGES, LABELS[:9])}, "its training part has 60 images and 9 labels"),
    "float labels": ({"train": (IMAGES, LABELS.float())}, "labels of float32 (60,): give one"),
    "one-hot": ({"test": (IMAGES, LABELS[:, None])}, "its test part has labels of int64 (60, 1): "),
    "ragged": ({"train": ([[1], [1, 2]], [0, 1])}, "its training part: setting an array element"),
    "negative": ({"train": (IMAGES, LABELS - 1)}, "training image 0 has label -1: labels must"),
    "label of no class": (
        {"classes": ["a", "b"]},
        "training image 2 has label 2: labels must be 0 to 1",
    ),
    "label of the test part": (
        {"test": (IMAGES, LABELS + 1)},
        "test image 2 has label 3: labels must be 0 to 2",
    ),
    "empty class": (
        {"train": (IMAGES, LABELS * 2), "classes": list("abcde")},
        "there is no training image of class 1 (b); labels are 0 to 4, and each must have one",
    ),
    "one class": ({"train": (IMAGES, LABELS * 0)}, "60 training images of 1 classes: give 2 of"),
    "channels": ({"test": (IMAGES[:, :1], LABELS)}, "(3, 4, 4) and test images (1, 4, 4) (channel"),
    "item": ({"train": Pairs(unpaired)}, "its training part: item 0 is no (image, label): give"),
    "label of an item": (
        {"train": Pairs(lambda place: (IMAGES[place], "cat"))},
        "its training part: the label of item 0 is 'cat': give a whole number",
    ),
    "two sizes": ({"train": Pairs(of_two_sizes)}, "images must have one size: stack expects"),
    "random": ({"train": Pairs(random_crop)}, "image 0 differs each time it is read: leave random"),
    "too large": (
        {"train": Pairs(pillow, 10**9)},
        "1,000,000,000 images of uint8 (3, 4, 4) are 44.7 GiB, and at most 4 are read into memory",
    ),
    "its error": ({"train": lambda: 1 / 0}, "ZeroDivisionError: division by zero"),
    "its missing file": (
        {"train": lambda: Path("no/file").read_bytes()},
        f"own cannot be read ({__file__}, line ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_trained_on_is_refused_in_one_line(case: str) -> None:
    given, message = REFUSALS[case]
    own(**given)
    for action in (load, lambda name: fingerprint(rl.DataConfig(name))):
        with pytest.raises(rl.UserError) as error:
            action("own")
        assert str(error.value).startswith("data: own")
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Mine", {}, "data set 'Mine': give small letters, digits, - and _, a letter first"),
        ("cifar10", {}, "data set 'cifar10' is there already"),
        ("own", {"pad": -1}, "pad is -1: give 0 to 64"),
        ("own", {"validation_size": 0}, "validation_size is 0: give 1 or more"),
        ("own", {"classes": "abc"}, "classes is 'abc': give a list of names"),
        ("own", {"classes": ["a", "a"]}, "two classes are called 'a'"),
    ],
)
def test_a_decorator_that_cannot_be_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(rl.UserError, match=re.escape(message)):
        own(name=name, **options)


def test_what_does_not_fit_its_images_is_refused_when_they_are_known() -> None:
    rl.dataset("nothing")(lambda data_dir: {"train": TRAIN})  # type: ignore[arg-type,return-value]
    with pytest.raises(rl.UserError, match=r"its function returns a dict: return rl\.Images\("):
        load("nothing")
    with pytest.raises(rl.UserError, match="3 is no function of the data directory"):
        rl.dataset("number")(3)  # type: ignore[type-var]
    grey = [(images[:, :1], labels) for images, labels in (TRAIN, TEST)]
    own(*grey, name="grey")
    with pytest.raises(rl.UserError, match="'imagenet' needs colour images and grey are grey"):
        load("grey", normalise="imagenet")
    own()
    with pytest.raises(rl.UserError, match="leaves nothing of the 48 training images of own"):
        load("own", validation_size=48)
    with pytest.raises(rl.UserError, match="needs imagenet or imagefolder; own has the single"):
        rl.DataConfig("own", test_view="ten-crop")


# What a run makes of it


def test_a_pair_is_resumed_bit_for_bit(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rl.load_parts(file)
    data = {"name": "mine"}
    whole = train(tiny("whole", data=data))
    with monkeypatch.context() as patch:
        at_step(patch, 4, interrupt)
        half = train(tiny("parts", data=data))
    assert (info(half)["status"], info(half)["step"]) == ("interrupted", 5)
    assert train(tiny("parts", data=data)) == half
    assert_same_result(whole, half, *PAIR)


def test_the_command_line_trains_evaluates_and_reports_it_and_a_change_is_another_run(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.VARIABLE, "")
    parts = ["--parts", str(file)]
    line = [*("train", "--network", "plain-8-x0.25,resnet-8-x0.25", "--data.name", "mine")]
    line += ["--recipe.iterations=2", "--recipe.drops=[]", "--recipe.batch_size=16"]
    line += ["--trainer.device", "cpu", "--recording.probe_size=8", *parts]
    assert main(line) == 0
    assert main(line) == 0
    assert "already finished" in capsys.readouterr().out
    [run] = map(Path, rl.load_runs("runs").runs["path"].unique())
    known = json.loads((run / "run.json").read_text())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert known["provenance"]["parts"] == [{"path": str(file), "sha256": digest}]
    assert known["identity"]["code"] == {"parts.dataset.mine": digest[:16]}
    assert known["identity"]["data"]["fingerprint"]["images"] == 72

    weights = run / "weights" / "plain-8-x0.25.pt"
    evaluate = ["evaluate", str(weights), "--network", "plain-8-x0.25", "--data", "mine"]
    assert main([*evaluate, "--device", "cpu", *parts]) == 0
    assert "plain-8-x0.25 on mine: test error" in capsys.readouterr().out
    assert main(["data", "verify", "mine", *parts]) == 0
    said = capsys.readouterr().out
    assert said == "mine: 72 training and 24 test images of 2x6x6, 3 classes\n"
    [fact] = [one for one in machine_facts() if one.name == "mine"]
    assert fact.state == f"your own, in {file}"
    assert main(["report", "runs", "--out", "page", *parts]) == 0
    assert "mine" in capsys.readouterr().out

    for change in (("mirror=False", "mirror=True"), ("manual_seed(0)", "manual_seed(1)")):
        file.write_text(FILE.replace(*change))
        assert main(line) == 0
        assert "already finished" not in capsys.readouterr().out
    runs = rl.load_runs("runs").runs
    assert runs["path"].nunique() == 3
    assert runs["data_fingerprint"].nunique() == 2
    files.forget_files()
    monkeypatch.setenv(files.VARIABLE, "")
    assert main([*evaluate, "--device", "cpu"]) == 2
    assert "data sets of your own are loaded by --parts FILE.py" in capsys.readouterr().err


def test_options_count_where_no_file_does() -> None:
    code = "def mine(data_dir): return rl.Images(train=TRAIN, test=TEST)"
    space = {"rl": rl, "TRAIN": TRAIN, "TEST": TEST, "__name__": "notebook"}
    exec(code, space)
    known = set()
    for mirror in (True, False, True):
        with parts_taken_back():
            rl.dataset("mine", mirror=mirror)(space["mine"])  # type: ignore[arg-type]
            known.add(rl.Config(data=rl.DataConfig("mine")).run_id())
    assert len(known) == 2
