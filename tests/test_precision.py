"""What "auto" chooses: a function of machine, recipe and networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import PLAIN, assert_same_result, at_step, info, interrupt, tiny

from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.networks.complexity import Complexity, complexity
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.runs.frames import load_runs
from resnet_lab.training import precision
from resnet_lab.training.precision import choose_precision
from resnet_lab.training.train import train

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def size(network: str) -> Complexity:
    return complexity(NetworkSpec.parse(network), num_classes=10)


def chosen(device: torch.device = CPU, network: str = "plain-20", **recipe: Any) -> tuple[Any, Any]:
    settings = {"precision": "auto", "compile": "auto", **recipe}
    found = choose_precision(RecipeConfig(**settings), [size(network)], device)
    return found.precision, found.compile


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def has_bfloat16(monkeypatch: pytest.MonkeyPatch, answer: bool | None) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: answer)


# A plain-20 step of 128 images is 6 x 40.8e6 x 128 = 3.13e10 operations: 0.313 s at 1e11 a second.
# Compiling 20 layers takes 52 s and must save 104: half of 664 steps.


@pytest.mark.parametrize("iterations", [192, 64_000])
@pytest.mark.parametrize("answer", [False, None])
def test_a_processor_without_bfloat16_stays_with_float32_uncompiled(
    iterations: int, answer: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_bfloat16(monkeypatch, answer)
    assert chosen(iterations=iterations) == ("float32", False)


@pytest.mark.parametrize(
    ("iterations", "choice"),
    [(192, ("float32", False)), (660, ("float32", False)), (670, ("bfloat16", True))],
)
def test_on_a_processor_with_bfloat16_both_come_together(
    iterations: int, choice: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_bfloat16(monkeypatch, True)
    assert chosen(iterations=iterations) == choice
    assert chosen(iterations=iterations, compile=False) == ("float32", False)
    assert chosen(iterations=iterations, precision="float32") == ("float32", False)
    assert chosen(iterations=iterations, precision="bfloat16") == ("bfloat16", choice[1])


def test_cost_and_gain_grow_together_with_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    has_bfloat16(monkeypatch, True)
    assert chosen(network="plain-110", iterations=580) == ("float32", False)
    assert chosen(network="plain-110", iterations=600) == ("bfloat16", True)


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_a_gpu_takes_bfloat16_where_it_has_it_and_compiles_when_told(
    capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert chosen(CUDA) == (precision, False)
    assert chosen(CUDA, compile=True) == (precision, True)


def test_elsewhere_nothing_is_risked() -> None:
    assert chosen(MPS) == ("float32", False)


@pytest.mark.parametrize("device", [CPU, MPS])
def test_what_the_recipe_says_is_done(device: torch.device) -> None:
    assert chosen(device, precision="bfloat16", compile=True) == ("bfloat16", True)
    assert chosen(device, precision="float32", compile=False) == ("float32", False)


def test_a_run_says_what_was_chosen_and_equals_the_one_told_so() -> None:
    run = train(tiny("auto", precision="auto", compile="auto"))
    told = train(tiny("told"))
    assert_same_result(run, told, PLAIN)
    known = info(run)["provenance"]
    assert (known["precision"], known["compile"]) == ("float32", False)
    frame = load_runs(run).runs
    assert set(zip(frame["precision"], frame["compile"], strict=True)) == {("float32", False)}
    assert info(run)["run"] != info(told)["run"]  # elsewhere it may be another result


def test_a_run_that_continues_keeps_the_arithmetic_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny(tmp_path, network=PLAIN, precision="auto", compile="auto")
    reference = train(tiny(tmp_path / "told", network=PLAIN))
    with monkeypatch.context() as patched:
        at_step(patched, 4, interrupt)
        train(config)
    has_bfloat16(monkeypatch, True)
    monkeypatch.setattr(precision, "MARGIN", 0.0)  # whatever is gained, it pays
    run = train(config)
    assert info(run)["provenance"]["precision"] == "float32"
    assert_same_result(run, reference, PLAIN)
