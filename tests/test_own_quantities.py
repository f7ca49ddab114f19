"""The user's own quantities, and that everything reads the one list of all of them."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from extending_page import examples
from registered_parts import parts_taken_back
from test_identity import begin_in_format_1
from test_recorder import NAMES, Rows, Twins, batch, built, recorder, train
from tiny_runs import PAIR, ROOT, assert_same_result, at_step, info, interrupt, tiny
from torch import Tensor, nn

import resnet_lab as rl
from analysis.groups import split_groups
from analysis.report.explorer import explorer
from resnet_lab.cli.parsing import parse_config
from resnet_lab.networks.network import build_network
from resnet_lab.parts import files
from resnet_lab.parts.registry import additions
from resnet_lab.recording.quantity import Quantity, in_menus, register
from resnet_lab.recording.responses import probe
from resnet_lab.recording.sites import block_sites, weight_sites
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.tracking.history import history

[EXAMPLE] = examples("Quantities")
OWN = {"mean_activation", "alignment", "probe_loss"}


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(files.VARIABLE, "")
    with parts_taken_back():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that the documentation shows."""
    path = tmp_path / "mine.py"
    path.write_text(EXAMPLE)
    return path


# Values


def by_hand(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Outputs of modules, and gradients of the mean loss with respect to them."""
    outputs: dict[str, Tensor] = {}

    def keep(at: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor | None) -> None:
            if output is not None:
                output.retain_grad()
                outputs[at] = output

        return hook

    for at, module in network.named_modules():
        if not isinstance(module, nn.Identity) and at:
            module.register_forward_hook(keep(at))
    images, labels = batch(99, images=4)
    network.train()
    outputs["loss"] = F.cross_entropy(network(images), labels)
    outputs["loss"].backward()  # type: ignore[no-untyped-call]
    return outputs, {at: one.grad for at, one in outputs.items() if one.retains_grad}


@pytest.mark.parametrize("name", ["plain-8-x0.25", "resnet-8-x0.25-B"])
def test_what_is_measured_is_what_autograd_gives_by_hand(name: str) -> None:
    network = build_network(name, num_classes=10)
    hand = copy.deepcopy(network)
    outputs, gradients = by_hand(hand)
    kept = probe(network, *batch(99, images=4), keep={"layer", "block", "network"}).kept

    def close(measured: Tensor | None, expected: Tensor) -> None:
        assert measured is not None
        assert not measured.requires_grad
        torch.testing.assert_close(measured, expected.detach(), rtol=1e-4, atol=1e-6)

    layers: Any = kept["layer"]
    assert [one.site for one in layers] == list(weight_sites(network.spec))
    for one in layers:
        module: Any = hand.get_submodule(one.site.name)
        close(one.weight, network.get_submodule(one.site.name).weight)
        close(one.gradient, module.weight.grad)
        path = one.site.name
        close(one.response, outputs[path if "conv" not in path else path.replace("conv", "norm")])

    blocks: Any = kept["block"]
    assert [one.site for one in blocks] == list(block_sites(network.spec))
    before = outputs["stem"]
    for one in blocks:
        path = one.site.name
        close(one.input, before)
        close(one.branch, outputs[f"{path}.norm2"])
        if name.startswith("plain"):
            assert one.shortcut is None
        else:
            shortcut = outputs.get(f"{path}.shortcut", before)
            close(one.shortcut, shortcut)
            close(one.output, (one.branch + one.shortcut).relu())
        close(one.output, outputs[path])
        close(one.gradient, gradients[path])
        before = outputs[path]

    (whole,) = kept["network"]
    close(whole.logits, outputs["head"])  # type: ignore[union-attr]
    close(whole.loss, outputs["loss"])  # type: ignore[union-attr]
    for at, parameter in hand.named_parameters():
        assert parameter.grad is not None
        close(whole.gradients[at], parameter.grad)  # type: ignore[union-attr]


def test_the_projects_own_are_the_same_beside_them() -> None:
    network = build_network(NAMES[1], num_classes=10)
    alone, beside = probe(network, *batch(9)), probe(network, *batch(9), keep={"layer", "block"})
    for name in ("activation_gradient_norm", "response_std", "variance_ratio"):
        assert torch.equal(getattr(alone, name), getattr(beside, name)), name


# It can't disturb the training


def hostile(measured: Any) -> float:
    """Do whatever could disturb a training that is not guarded."""
    drawn = torch.rand(()).item() + float(np.random.rand()) + random.random()
    torch.manual_seed(7)
    measured.module(measured.images[:2]).sum().backward()
    for parameter in measured.module.parameters():
        parameter.grad = None
    measured.module.eval().requires_grad_(False)
    for one in (measured.images, measured.labels, *measured.module.state_dict().values()):
        one.zero_()
    torch.set_grad_enabled(False)
    return drawn


def test_whatever_it_does_training_stays_bit_for_bit_as_it_is() -> None:
    random.seed(3)
    np.random.seed(3)
    without = train(Twins(built), None)
    states = random.getstate(), str(np.random.get_state())
    rl.quantity("hostile", at="network")(hostile)
    rows, watched = Rows(), Twins(built)
    watching = recorder(rows)
    recorded = train(watched, watching)
    for aspect, expected in without.items():
        torch.testing.assert_close(recorded[aspect], expected, rtol=0, atol=0, msg=aspect)
    assert (random.getstate(), str(np.random.get_state())) == states
    assert torch.is_grad_enabled()
    values = [value for step in (0, 2, 3) for value in rows.values(NAMES[0], step, "hostile")]
    assert len(values) == 3
    assert len(set(values)) == 1  # what it draws is the same each time
    expected = batch(99, images=4)
    assert watching._probe_batch is not None
    for one, other in zip(watching._probe_batch, expected, strict=True):
        assert torch.equal(one, other)


def test_a_run_with_them_resumes_to_the_same_bits_and_is_read_everywhere(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = rl.train(tiny("without"))
    digest = rl.load_parts(file)
    config = tiny("whole")
    known = config.identity()
    assert known.content["code"] == {f"parts.quantity.{name}": digest[:16] for name in OWN}
    whole = rl.train(config)
    at_step(monkeypatch, 4, interrupt)
    assert info(rl.train(tiny("resumed")))["status"] == "interrupted"
    run = rl.train(tiny("resumed"))
    assert_same_result(run, whole, *PAIR)

    layers = rl.load_runs("whole").layers
    old = rl.load_runs("without").layers
    assert set(layers["quantity"]) - set(old["quantity"]) == OWN
    shared = layers[~layers["quantity"].isin(OWN)]["value"]
    assert np.array_equal(shared, old["value"], equal_nan=True)
    losses = layers[layers["quantity"] == "probe_loss"]
    assert {tuple(one) for one in losses[["layer", "name"]].to_numpy()} == {(0, "")}
    assert losses["value"].gt(0).all()

    file.write_text(EXAMPLE.replace("output.mean()", "output.sum()"))
    rl.load_parts(file)
    assert tiny("whole").identity().id != known.id
    assert rl.load_runs("whole").runs["status"].eq("finished").all()
    files.forget_files()  # runs are read without the file, and with runs that lack them
    both = rl.load_runs(".")
    assert set(both.runs["run"]) == {info(whole)["run"], info(without)["run"]}
    assert len(split_groups(both)) == 1  # they were trained alike


def test_a_run_of_format_1_is_another_one_and_stays_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = begin_in_format_1(tiny(iterations=2), monkeypatch, finish=True)
    rl.quantity("mine", at="network")(lambda measured: 1)
    new = rl.train(tiny(iterations=2))
    both = rl.load_runs("runs")
    assert (set(both.runs["path"]), both.skipped) == ({str(old), str(new)}, [])
    assert old != new


# One list


def menu(runs: rl.Runs) -> dict[str, dict[str, Any]]:
    found = explorer(runs)
    assert found is not None
    return {one["id"]: one for one in json.loads(found.data)["quantities"]}


def test_whoever_reads_the_list_knows_a_quantity_that_is_registered() -> None:
    """The recorder, the columns, the explorer's menu and W&B's history; nothing else is told."""
    register(
        Quantity(
            name="parameters_that_train",
            at="network",
            needs="gradients",
            label="parameters with a gradient",
            formula="their number",
            measure=lambda now: torch.tensor([float(len(list(now.network.parameters())))]),
            place=1,
        )
    )
    rl.quantity("depth_so_far", at="block", label="depth", unit="layers")(lambda m: m.site.layer)
    run = rl.train(tiny(iterations=2))
    runs = rl.load_runs("runs")
    layers = runs.layers
    found = layers[layers["quantity"] == "parameters_that_train"]
    assert list(found["layer"].unique()) == [0]
    assert found["value"].unique().tolist() == [23]
    depths = layers[layers["quantity"] == "depth_so_far"]
    assert (depths["value"] == depths["layer"]).all()

    offered = menu(runs)
    assert next(iter(offered)) == "parameters_that_train"
    assert list(offered)[-1] == "depth_so_far"
    assert set(offered) == set(layers["quantity"])
    assert offered["parameters_that_train"] == {
        **{"id": "parameters_that_train", "label": "parameters with a gradient"},
        **{"whole": True, "log": True},
    }
    assert offered["depth_so_far"] == {
        **{"id": "depth_so_far", "label": "depth (layers)", "whole": False, "log": False}
    }
    assert offered["total_gradient_norm"]["whole"]

    table = RunDirectory(run)
    table.resume(2)
    row = next(history(table.metrics.rows(), table.layers.rows(), PAIR))
    assert row[f"{PAIR[0]}/network/parameters_that_train"] == 23
    assert row[f"{PAIR[0]}/layers/depth_so_far"] == [3, 5, 7]
    assert row[f"{PAIR[0]}/stem/gradient_norm"] == row[f"{PAIR[0]}/layers/gradient_norm"][0]


def test_the_documents_say_what_the_list_says() -> None:
    text = (ROOT / "docs/runs.md").read_text()
    said = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", text, re.M))
    known = {one.name: one.formula for one in in_menus()}
    assert {name: said[name] for name in said if name in known} == known


def test_what_is_recorded_can_be_chosen() -> None:
    config = rl.RecordingConfig(quantities="update_norm, total_gradient_norm,update_norm")
    assert config.quantities == "total_gradient_norm,update_norm"
    rows = Rows()
    train(Twins(built), recorder(rows, config=config), steps=1)
    assert set(rows.column("quantity")) == {"update_norm", "total_gradient_norm"}
    rl.quantity("mine", at="network")(lambda measured: 1)
    assert "code" not in tiny(recording={"quantities": "update_norm"}).identity().content
    assert "code" not in tiny(recording={"probe": False}).identity().content
    assert "code" in tiny(recording={"quantities": "mine"}).identity().content


# Mistakes


@pytest.mark.parametrize(
    ("name", "at", "function", "message"),
    [
        ("gradient_norm", "layer", len, "quantity 'gradient_norm' is there already"),
        ("mine", "blok", len, "quantity 'mine': at is 'blok', did you mean 'block'"),
        ("my mean", "block", len, "quantity 'my mean': a name has letters"),
        ("mine", "block", lambda: 1, "quantity 'mine': .* must be a function of one argument"),
        ("mine", "block", 3, "quantity 'mine': 3 must be a function of one argument"),
    ],
)
def test_what_can_be_no_quantity_is_refused(
    name: str, at: Any, function: Any, message: str
) -> None:
    before = additions()
    with pytest.raises(rl.UserError, match=message):
        rl.quantity(name, at=at)(function if function is not len else lambda measured: 1)
    assert additions() == before


def test_an_unknown_name_is_told_the_nearest_and_stays_readable_where_it_is_stored() -> None:
    message = "recording.quantities: unknown quantity 'gradient_nrom', did you mean 'gradient_norm'"
    with pytest.raises(rl.UserError, match=message):
        tiny(recording={"quantities": "gradient_nrom"})
    with pytest.raises(rl.UserError, match=message):
        parse_config(["--recording.quantities", "gradient_nrom"])
    stored = {**tiny().as_dict(), "recording": {"quantities": "of_a_file_that_is_gone"}}
    assert rl.Config.from_stored(stored).recording.quantities == "of_a_file_that_is_gone"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "x = 1\n    return measured.inputs",
            "line 9.: AttributeError: 'MeasuredBlock' obj",
        ),
        (
            "return measured.output",
            r"line 4.: it returns Tensor of shape \(16, 4, 8, 8\); give",
        ),
        ("pass", "line 4.: it returns NoneType; give a number or a tensor with one element"),
    ],
)
def test_a_mistake_in_it_is_one_message_and_nothing_recorded_is_lost(
    body: str, message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(
        "import resnet_lab as rl\n\n\n"
        "@rl.quantity('mine', at='block')\n"
        "def mine(measured, calls=[]):\n"
        f"    calls.append(1)\n    if len(calls) < 13: return 0.5\n    {body}\n"
    )
    rl.load_parts(file)
    with pytest.raises(rl.UserError, match=message) as error:
        rl.train(tiny())
    assert str(error.value).startswith("quantity 'mine' fails at stage1.block1 (")
    assert str(file) in str(error.value)
    files.forget_files()
    runs = rl.load_runs("runs")
    assert set(runs.runs["status"]) == {"failed"}
    found = runs.layers[runs.layers["quantity"] == "mine"]
    assert len(found) == 12  # three blocks of two networks at two steps
    assert found["value"].eq(0.5).all()
