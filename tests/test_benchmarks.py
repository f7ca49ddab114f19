"""The benchmarks' own arithmetic and turn-taking; their numbers are nobody's to assert."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import PAIR, PLAIN, ROOT, info, tiny

from resnet_lab.networks.complexity import layer_table
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.schedule import RecordingConfig, recording_steps
from resnet_lab.training.train import train


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the benchmarks be imported by name, and forgotten again."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_contestants_take_turns_in_both_orders() -> None:
    turns, calls = load("turns"), []
    contestants = {name: turns.Loop(lambda name=name: calls.append(name), 1) for name in "ab"}
    times = turns.take_turns(contestants, rounds=3, updates=2)
    assert "".join(calls) == "ab" + "aabb" + "bbaa" + "aabb"
    assert [len(times[name].seconds) for name in "ab"] == [3, 3]


def test_a_training_stands_still_between_its_turns() -> None:
    turns = load("turns")
    config = tiny(iterations=500, log_every=500, evaluate_every=500)
    training = turns.Training(config, warm=2)
    training.warm_up()
    made = sum(training.run(wanted)[0] for wanted in (1, 10, 10))
    training.stop()
    run = next(Path(config.runs_dir).iterdir())
    assert made >= 21
    assert info(run)["status"] == "interrupted"
    assert info(run)["step"] >= made + 2
    assert info(run)["step"] < 500


def test_a_training_that_fails_says_so_instead_of_waiting() -> None:
    turns = load("turns")
    training = turns.Training(tiny(batch_size=100_000))
    with pytest.raises(ValueError, match="100000"):
        training.warm_up()


def test_ratios_are_taken_turn_by_turn() -> None:
    turns = load("turns")
    ratio = turns.Times([1.0, 3.0, 2.0]).over(turns.Times([2.0, 2.0, 2.0]))
    assert ratio == {"undisturbed": 0.75, "median": 1.0, "lowest": 0.5, "highest": 1.5}


def test_overheads_are_percent_over_what_they_are_laid_upon() -> None:
    overheads, turns = load("overheads"), load("turns")
    seconds = {
        "bare": 1.0,
        "plain": 1.02,
        "lab": 1.0,
        "norms": 1.03,
        "everything": 2.0,
        "extra": 5.0,
    }
    seconds |= {"twin": 3.0, "pair": 4.08}
    found = overheads.compare({name: turns.Times([one] * 3) for name, one in seconds.items()})
    assert {name: values["undisturbed"] for name, values in found.items()} == pytest.approx(
        {
            "Lightning's own loop over the bare one": 2.0,
            "the chosen loop over the bare one": 0.0,
            "norms at every step": 3.0,
            "everything at every step": 100.0,
            "all and extra at every step": 400.0,
            "a pair over its two members alone": 2.0,
            "everything at the default schedule": round(
                100 * len(recording_steps(64_000, RecordingConfig())) / 64_000, 3
            ),
            "all and extra at the default schedule": round(
                400 * len(recording_steps(64_000, RecordingConfig())) / 64_000, 3
            ),
        }
    )


def test_the_bytes_of_a_step_are_those_of_its_tensors() -> None:
    floor = load("floor")
    table = layer_table(NetworkSpec.parse("resnet-20"), num_classes=10)
    stem, first, *_, classifier = table
    assert floor._elements(stem) == 3 * 3 * 32 * 32 + 11 * 16 * 32 * 32
    assert floor._elements(first) == 14 * 16 * 32 * 32
    halving = next(layer for layer in table if layer.stride == 2)
    assert floor._elements(halving) == 3 * 16 * 32 * 32 + 11 * 32 * 16 * 16
    assert floor._elements(classifier) == 3 * 64 + 3 * 10


def test_made_images_are_read_by_the_projects_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    shaped = load("cifar_shaped")
    shaped.write(Path("data"))
    config = shaped.config(
        PLAIN,
        Path("data"),
        run="one",
        device="cpu",
        recording=RecordingConfig(enabled=False),
        iterations=4,
    )
    known = info(train(config))
    assert known["data"]["counts"] == {"train": 50_000, "test": 10_000}
    assert known["data"]["image_shape"] == [3, 32, 32]


def test_the_textbook_loop_learns() -> None:
    textbook, shaped = load("textbook"), load("cifar_shaped")
    images, labels = shaped.pixels("test")
    few: dict[str, Any] = {"classes": 100, "batch_size": 16, "workers": 0}
    step = textbook.textbook_step(
        PAIR[1], images[:16], labels[:16], device=torch.device("cpu"), **few
    )
    losses = [step() for _ in range(12)]
    assert losses[-1] < losses[0]


def test_arithmetics_are_compared_seed_by_seed() -> None:
    precision = load("precision")
    settings = {"network": PLAIN, "iterations": 8, "log_every": 2, "evaluate_every": 8}
    for seed in (0, 1):
        for kind in ("float32", "bfloat16"):
            train(tiny(seed=seed, precision=kind, **settings))
    from resnet_lab.runs.frames import load_runs

    runs = load_runs("runs")
    found = SimpleNamespace(**precision.compare(runs, PLAIN))
    errors = runs.runs.pivot(index="seed", columns="precision", values="test_error")
    difference = (errors["bfloat16"] - errors["float32"]).mean()
    assert vars(found)["n"] == 2
    assert vars(found)["test error, difference"] == pytest.approx(difference, abs=1e-3)
    assert 0 < vars(found)["loss apart, arithmetics"] < vars(found)["loss apart, seeds"]
