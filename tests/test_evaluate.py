"""resnet-lab evaluate: weights have one error wherever they lie, and what is assumed is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import RESIDUAL, info, member, tiny, weights

from resnet_lab.cli import main
from resnet_lab.data.config import DataConfig
from resnet_lab.data.inputs import Inputs
from resnet_lab.data.load import load_data
from resnet_lab.errors import UserError
from resnet_lab.networks.network import build_network
from resnet_lab.networks.weights import save_weights
from resnet_lab.training.train import train

FILE = f"{RESIDUAL}.pt"
Evaluate = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Evaluate on digits, unless flags say otherwise: exit code, JSON and standard error."""

    def call(
        file: Path | str, *flags: str, network: str = RESIDUAL, data: str = "digits"
    ) -> tuple[int, dict[str, Any], str]:
        line = ["evaluate", str(file), f"--network={network}", f"--data={data}", "--device=cpu"]
        code = main([*line, "--json", *flags])
        printed = capsys.readouterr()
        return code, json.loads(printed.out or "{}"), printed.err

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose normalisation is not the default one."""
    data = {"normalise": "channel", "validation_size": 700}
    runs = tmp_path_factory.mktemp("runs")
    return train(tiny(runs, network=RESIDUAL, data=data, trainer={"checkpoint_steps": 6}))


def images_in(folder: Path, classes: str) -> None:
    """An image folder of three images a class and part."""
    random = np.random.default_rng(0)
    for part, one in product(("train", "val"), classes):
        place = folder / "imagefolder" / part / one
        place.mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 255, (230, 230, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")


# Files of this project


def test_weights_have_the_same_error_wherever_they_lie(run: Path, evaluate: Evaluate) -> None:
    shutil.copy(run / "weights" / FILE, "moved.pt")
    _, there, _ = evaluate(run / "weights" / FILE)
    code, here, told = evaluate("moved.pt")
    assert (code, told) == (0, "")
    assert here == there
    assert here["error"] == member(run, RESIDUAL)["final"]["test_error"]
    assert (here["normalise"], here["notes"]) == ("channel", [])
    _, other, _ = evaluate("moved.pt", "--normalise=pixel-mean")
    assert other["loss"] != here["loss"]  # so the normalisation matters
    assert evaluate("moved.pt", "--normalise=channel")[1] == here


def test_another_normalisation_is_measured_alike_wherever_weights_lie(
    run: Path, evaluate: Evaluate
) -> None:
    shutil.copy(run / "weights" / FILE, "moved.pt")
    _, there, told = evaluate(run / "weights" / FILE, "--normalise=pixel-mean")
    _, here, _ = evaluate("moved.pt", "--normalise=pixel-mean")
    assert there["loss"] == here["loss"]
    assert told == f"resnet-lab: {run / 'weights' / FILE} was trained with normalise channel\n"


def test_a_file_says_what_its_inputs_were(run: Path) -> None:
    state: Any = torch.load(run / "weights" / FILE, weights_only=True)
    said = state._metadata["resnet_lab"]
    expected = load_data(DataConfig(normalise="channel", validation_size=700)).normalisation
    found = Inputs.from_dict(said["inputs"])
    assert said["network"] == RESIDUAL
    assert (found.data, found.protocol, found.kind) == ("digits", "737/700", "channel")
    assert (found.image_shape, found.num_classes, found.classes) == ((1, 8, 8), 10, None)
    assert torch.equal(found.normalisation.mean, expected.mean)
    assert expected.std is not None
    assert found.normalisation.std is not None
    assert torch.equal(found.normalisation.std, expected.std)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", 5),
        ("normalise", "whitened"),
        ("mean", None),
        ("mean", torch.zeros(1)),
        ("mean", torch.full((1, 1, 1), float("nan"))),
        ("mean", torch.zeros(3, 1, 1)),
        ("mean", torch.empty(1, 1, 1, device="meta")),
        ("mean", torch.zeros(1).expand(1, 10**6, 10**6)),
        ("num_classes", torch.zeros(2)),
        ("std", torch.zeros(1, 1, 1)),
        ("std", "1"),
        ("image_shape", [1, 8]),
        ("num_classes", None),
        ("classes", [1, 2]),
    ],
)
def test_inputs_that_cannot_be_read_are_an_error(run: Path, key: str, value: Any) -> None:
    state: Any = torch.load(run / "weights" / FILE, weights_only=True)
    with pytest.raises(UserError, match="what it says of its inputs cannot be read"):
        Inputs.from_dict({**state._metadata["resnet_lab"]["inputs"], key: value})


def test_a_file_of_an_earlier_version_is_normalised_as_its_run(
    run: Path, evaluate: Evaluate
) -> None:
    old = Path(shutil.copytree(run, "old")) / "weights" / FILE
    torch.save(dict(weights(run, RESIDUAL)), old)
    assert evaluate(old) == evaluate(run / "weights" / FILE)
    code, _, told = evaluate(old, network="plain-8-x0.25")
    assert code == 2
    assert told.endswith(
        f"holds the weights of {RESIDUAL}, not of plain-8-x0.25: give --network {RESIDUAL}\n"
    )


def test_what_a_silent_file_leaves_open_is_told(run: Path, evaluate: Evaluate) -> None:
    torch.save(dict(weights(run, RESIDUAL)), "silent.pt")
    code, found, told = evaluate("silent.pt")
    network, inputs = told.splitlines()
    assert code == 0
    assert f"silent.pt does not say which network it holds: {RESIDUAL} was assumed" in network
    assert "silent.pt does not say how its inputs were normalised: pixel-mean" in inputs
    assert "To choose, give --normalise pixel-mean, channel, imagenet, or the numbers" in inputs
    assert [f"resnet-lab: {note}" for note in found["notes"]] == [network, inputs]
    _, _, told = evaluate("silent.pt", "--normalise=channel")
    assert told.splitlines() == [network]


def test_weights_saved_without_inputs_say_so(evaluate: Evaluate) -> None:
    save_weights(build_network(RESIDUAL, num_classes=10, in_channels=1), "weights.pt")
    code, _, told = evaluate("weights.pt")
    assert code == 0
    assert told.startswith("resnet-lab: weights.pt does not say how its inputs were normalised")
    data = load_data(DataConfig(normalise="channel"))
    network = build_network(RESIDUAL, num_classes=10, in_channels=1)
    save_weights(network, "weights.pt", inputs=data.inputs().as_dict())
    code, found, told = evaluate("weights.pt")
    assert (code, found["normalise"], told) == (0, "channel", "")


def test_a_runs_checkpoint_is_no_weights_file(run: Path, evaluate: Evaluate) -> None:
    (checkpoint,) = (run / "checkpoints").iterdir()
    code, _, told = evaluate(checkpoint)
    assert code == 2
    assert "not a weights file but a checkpoint, from which a run continues" in told


def test_outputs_of_an_image_folder_stand_for_its_classes(
    tmp_path: Path, evaluate: Evaluate
) -> None:
    images_in(tmp_path / "one", "ab")
    images_in(tmp_path / "other", "xy")
    data = {"name": "imagefolder", "protocol": "full", "normalise": "channel", "workers": 0}
    config = tiny(network=RESIDUAL, data=data, batch_size=2, iterations=2)
    run = train(replace(config, data_dir=str(tmp_path / "one")))
    shutil.copy(run / "weights" / FILE, "moved.pt")
    _, found, told = evaluate("moved.pt", "--data-dir=one", data="imagefolder")
    final = member(run, RESIDUAL)["final"]
    assert (found["error"], found["loss"], told) == (final["test_error"], final["test_loss"], "")
    code, _, told = evaluate("moved.pt", "--data-dir=other", data="imagefolder")
    assert code == 2
    assert "moved.pt tells the classes a, b apart, and imagefolder has x, y" in told


def test_other_data_than_those_of_the_training_are_told(tmp_path: Path, evaluate: Evaluate) -> None:
    images_in(tmp_path, "ab")
    network = build_network(RESIDUAL, num_classes=2)
    data = load_data(DataConfig("imagefolder", protocol="full", normalise="imagenet"), tmp_path)
    inputs = replace(data.inputs(), data="cifar10", classes=None)
    save_weights(network, "weights.pt", inputs=inputs.as_dict())
    code, found, told = evaluate("weights.pt", "--data-dir=.", data="imagefolder")
    assert (code, found["normalise"]) == (0, "imagenet")
    assert told == (
        "resnet-lab: weights.pt was trained on cifar10, not on imagefolder: its inputs are "
        "normalised as they were there\n"
    )


# Files of others


def in_torchvisions_names(name: str, classes: int, channels: int) -> None:
    """Write others.pt: a network whose tensors are named as torchvision's."""
    state = {}
    network = build_network(name, num_classes=classes, in_channels=channels)
    for key, tensor in network.state_dict().items():
        key = key.replace("stem.conv", "conv1").replace("stem.norm", "bn1")
        key = key.replace("head.classifier", "fc").replace("stage", "layer").replace("norm", "bn")
        state[key.replace("block1", "0").replace("block2", "1")] = tensor
    torch.save(state, "others.pt")


def test_a_classifier_called_fc_is_not_enough_for_imagenets_constants(evaluate: Evaluate) -> None:
    in_torchvisions_names("resnet-8-x0.25", 10, 1)
    code, _, told = evaluate("others.pt")
    assert code == 2
    assert told.startswith(
        "resnet-lab: others.pt does not say how its inputs were normalised: give --normalise "
        "pixel-mean, channel, imagenet, or the numbers as MEANS/DEVIATIONS"
    )
    code, found, told = evaluate("others.pt", "--normalise=channel")
    assert (code, found["normalise"], told) == (0, "channel", "")


def test_numbers_that_are_given_are_used(evaluate: Evaluate) -> None:
    in_torchvisions_names("resnet-8-x0.25", 10, 1)
    data = load_data(DataConfig(protocol="full", normalise="channel")).normalisation
    assert data.std is not None
    numbers = f"{data.mean.item()}/{data.std.item()}"
    _, measured, _ = evaluate("others.pt", "--normalise=channel")
    _, found, _ = evaluate("others.pt", f"--normalise={numbers}")
    assert (found["loss"], found["normalise"]) == (measured["loss"], numbers)
    assert evaluate("others.pt", "--normalise=0.5/1")[1]["loss"] != found["loss"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chanel", "unknown 'chanel', did you mean 'channel'?: give --normalise pixel-mean"),
        ("0.5/nan", "unknown '0.5/nan': give"),
        ("0.5,0.5/1", "as many deviations above 0 as it has means"),
        ("0.5/0", "as many deviations above 0 as it has means"),
        ("0,0,0/1,1,1", "it is for 3 channels, and the images of digits have 1"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(
    evaluate: Evaluate, text: str, message: str
) -> None:
    in_torchvisions_names("resnet-8-x0.25", 10, 1)
    code, _, told = evaluate("others.pt", f"--normalise={text}")
    assert code == 2
    assert message in told


def test_torchvisions_weights_on_images_have_imagenets_constants_and_say_so(
    tmp_path: Path, evaluate: Evaluate
) -> None:
    images_in(tmp_path, "ab")
    in_torchvisions_names("resnet-18-x0.0625", 2, 3)
    flags = {"network": "resnet-18-x0.0625", "data": "imagefolder"}
    code, found, told = evaluate("others.pt", "--data-dir=.", **flags)
    assert (code, found["normalise"]) == (0, "imagenet")
    assert "imagenet's constants were assumed, as in torchvision's code. To choose, give" in told
    _, same, told = evaluate("others.pt", "--data-dir=.", "--normalise=imagenet", **flags)
    assert (same["loss"], told) == (found["loss"], "")


def test_a_foreign_file_beside_a_foreign_config_is_read(evaluate: Evaluate) -> None:
    in_torchvisions_names("resnet-8-x0.25", 10, 1)
    Path("weights").mkdir()
    Path("others.pt").rename("weights/others.pt")
    Path("config.yaml").write_text("backbone: resnet\n")
    assert evaluate("weights/others.pt", "--normalise=channel")[0] == 0


def test_the_same_run_writes_the_same_bytes_of_weights(run: Path) -> None:
    again = train(tiny(network=RESIDUAL, data={"normalise": "channel", "validation_size": 700}))
    assert info(again)["run"] == info(run)["run"]
    assert (again / "weights" / FILE).read_bytes() == (run / "weights" / FILE).read_bytes()
