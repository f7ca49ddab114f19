"""The three loops: one result. What only a GPU can show is skipped without one, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_cohort import RECIPES, break_update, poison
from tiny_runs import (
    PAIR,
    PLAIN,
    assert_same_result,
    at_step,
    info,
    interrupt,
    member,
    tiny,
    weights,
)
from torch import Tensor

from resnet_lab.configuration.config import Loop, TrainerConfig
from resnet_lab.data.config import DataConfig
from resnet_lab.data.load import load_data
from resnet_lab.data.loader import Data
from resnet_lab.errors import UserError
from resnet_lab.training import cuda_graph, loop
from resnet_lab.training import train as training
from resnet_lab.training.cohort import Cohort
from resnet_lab.training.loop import next_look
from resnet_lab.training.train import train

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def by(
    way: Loop,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    trainer: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Train by a loop; "graph" is the graph's program, run by the CPU kernel by kernel."""
    with monkeypatch.context() as patched:
        patched.setattr(training, "choose_loop", lambda *_: way)
        run = train(tiny(folder, trainer=trainer, **settings))
    assert info(run)["provenance"]["loop"] == way
    return run


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize("way", ["stretches", "graph"])
def test_every_loop_gives_the_bits_of_lightnings_own(
    way: Loop, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"iterations": 40, "log_every": 20, "evaluate_every": 20, **recipe}
    reference = by("plain", "plain", monkeypatch, **settings)
    run = by(way, way, monkeypatch, **settings)
    assert_same_result(run, reference, *PAIR)
    assert info(run)["networks"] == info(reference)["networks"]


def test_augmented_images_are_planned_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"augment": "paper"}
    plain = by("plain", "plain", monkeypatch, data=data, iterations=24)
    graph = by("graph", "graph", monkeypatch, data=data, iterations=24)
    assert_same_result(graph, plain, *PAIR)


def test_a_stretch_longer_than_a_plan_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"iterations": 30, "log_every": 30, "evaluate_every": 30}
    recording = {"enabled": False}
    plain = by("plain", "plain", monkeypatch, recording=recording, **settings)
    monkeypatch.setattr(cuda_graph, "LONGEST", 7)
    graph = by("graph", "graph", monkeypatch, recording=recording, **settings)
    assert_same_result(graph, plain, *PAIR)


@pytest.mark.parametrize(("first", "second"), [("plain", "graph"), ("graph", "plain")])
def test_a_run_may_continue_by_another_loop(
    first: Loop, second: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = by("plain", "reference", monkeypatch, iterations=20)
    with monkeypatch.context() as patched:
        at_step(patched, 4, interrupt)  # a recording step: every loop goes through its hooks
        run = by(first, "runs", patched, iterations=20)
    assert (info(run)["status"], info(run)["step"]) == ("interrupted", 5)
    assert by(second, "runs", monkeypatch, iterations=20) == run
    assert_same_result(run, reference, *PAIR)


def test_the_graphs_program_goes_on_without_a_frozen_member(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"iterations": 40, "log_every": 20, "evaluate_every": 20}
    poison(monkeypatch, {PLAIN: 4})
    plain = by("plain", "plain", monkeypatch, **settings)
    graph = by("graph", "graph", monkeypatch, **settings)
    assert member(graph, PLAIN)["diverged_at"] == 4
    assert info(graph)["networks"] == info(plain)["networks"]
    assert_same_result(graph, plain, *PAIR)


@pytest.mark.parametrize("way", ["stretches", "graph"])
@pytest.mark.parametrize("step", [19, 39])
def test_every_loop_sees_an_update_that_diverges_before_an_evaluation(
    way: Loop, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"iterations": 40, "log_every": 20, "evaluate_every": 20}
    break_update(monkeypatch, PLAIN, step)
    plain = by("plain", "plain", monkeypatch, **settings)
    run = by(way, way, monkeypatch, **settings)
    found = member(run, PLAIN)
    assert (found["status"], found["diverged_at"], found["final"]) == ("diverged", step + 1, {})
    assert info(run)["networks"] == info(plain)["networks"]
    assert_same_result(run, plain, *PAIR)


def test_lightning_sees_one_step_a_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = loop.StretchedCohort.training_step

    def watched(self: Any, batch: Any, batch_idx: int) -> None:
        seen.append(self.global_step)
        step(self, batch, batch_idx)

    monkeypatch.setattr(loop, "PATIENCE", 60.0)
    monkeypatch.setattr(loop.StretchedCohort, "training_step", watched)
    train(tiny(iterations=40, log_every=20, evaluate_every=40, recording={"per_decade": 1}))
    # Recorded: 0, 1, 2, 4, 8, 16 and the last, 39; rows after 20 and 40 updates.
    assert seen == [0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 20, 39]


def test_a_stretch_ends_early_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PATIENCE", -1.0)
    calls: list[int] = []
    step = loop.StretchedCohort.training_step

    def watched(self: Any, batch: Any, batch_idx: int) -> None:
        calls.append(self.global_step)
        step(self, batch, batch_idx)

    monkeypatch.setattr(loop.StretchedCohort, "training_step", watched)
    train(tiny())
    assert calls == list(range(12))


@pytest.mark.parametrize(
    ("step", "stop"),
    [
        (0, 1),  # a recording step
        *((1, 20), (19, 20)),  # the next recording
        *((20, 21), (21, 40), (40, 41)),
        *((41, 50), (50, 60), (60, 100)),  # rows, an evaluation, rows
        *((100, 103), (103, 104), (104, 110)),  # the end
    ],
)
def test_a_stretch_ends_where_somebody_looks(step: int, stop: int) -> None:
    assert next_look(step, [50, 60], 110, [0, 20, 40, 103]) == stop


@pytest.mark.parametrize(
    ("recipe", "trainer", "intervals"),
    [
        ({}, {}, [4, 6]),
        ({"warmup_until_error": 80.0, "warmup_window": 9}, {}, [4, 6, 9]),
        ({}, {"checkpoint_steps": 25}, [4, 6, 25]),
    ],
)
def test_who_looks(recipe: dict[str, Any], trainer: dict[str, Any], intervals: list[int]) -> None:
    assert loop.looks(tiny(trainer=trainer, **recipe)) == intervals


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data(DataConfig())


def test_the_loop_is_the_fastest_tested_one_that_can_be_had(digits: Data) -> None:
    cpu, cuda, mps = (torch.device(name) for name in ("cpu", "cuda", "mps"))
    auto, two = TrainerConfig(), TrainerConfig(devices=2)
    assert loop.choose_loop(auto, digits, cpu) == "stretches"
    assert loop.choose_loop(auto, digits, cuda) == "stretches"  # no test of graphs ran there yet
    assert loop.choose_loop(TrainerConfig(loop="graph"), digits, cuda) == "graph"
    assert loop.choose_loop(auto, digits, mps) == "plain"
    assert loop.choose_loop(two, digits, cuda) == "plain"
    assert loop.choose_loop(TrainerConfig(loop="plain"), digits, cuda) == "plain"


@pytest.mark.parametrize(
    ("trainer", "device", "reason"),
    [
        ({"loop": "graph"}, "cpu", "a CUDA graph needs a GPU and this is cpu"),
        ({"loop": "graph", "devices": 2}, "cuda", "2 processes train together"),
        ({"loop": "stretches"}, "mps", "it is not tried on MPS"),
    ],
)
def test_a_loop_that_cannot_be_had_is_refused(
    trainer: dict[str, Any], device: str, reason: str, digits: Data
) -> None:
    with pytest.raises(UserError, match=reason):
        loop.choose_loop(TrainerConfig(**trainer), digits, torch.device(device))


def tensors(*values: float) -> list[Tensor]:
    return [torch.tensor([value, 1.0]) for value in values]


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (2.0, 2.0, True),
        (2.0, 2.04, True),  # 4 % of the way from 1 to 2
        (2.0, 2.06, False),
        (1.0, 1.0, True),
        (1.0, 1.0001, False),  # it should not have moved
        (float("nan"), float("nan"), True),
        (2.0, float("nan"), False),
        (float("inf"), float("inf"), True),
    ],
)
def test_a_graph_is_believed_when_it_leads_where_its_kernels_lead(
    expected: float, found: float, same: bool
) -> None:
    assert cuda_graph.lead_to_the_same(tensors(1.0), tensors(expected), tensors(found)) == same


@pytest.mark.parametrize(
    ("capture", "message"), [(RuntimeError("no memory"), "no memory"), (False, "differs")]
)
def test_a_graph_that_fails_or_errs_is_done_without(
    capture: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(cls: Any, cohort: Cohort, *_: Any) -> Any:
        made = cls(cohort, *_)
        outcome = capture
        if isinstance(outcome, Exception):
            monkeypatch.setattr(made, "_capture", _raising(outcome))
        else:
            monkeypatch.setattr(made, "_capture", lambda: outcome)
        return made.proven()

    monkeypatch.setattr(cuda_graph.CudaGraph, "of", classmethod(attempt))
    reference = by("plain", "plain", monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(training, "choose_loop", lambda *_: "graph")
        with pytest.warns(UserWarning, match=message):
            run = train(tiny("graph"))
    assert info(run)["provenance"]["loop"] == "stretches"
    assert_same_result(run, reference, *PAIR)


def _raising(error: Exception) -> Any:
    def fail() -> None:
        raise error

    return fail


@needs_gpu
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_replayed_graph_trains_as_the_plain_loop_does(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"iterations": 60, "log_every": 20, "evaluate_every": 20, **recipe}
    trainer = {"device": "cuda"}
    plain = by("plain", "plain", monkeypatch, trainer=trainer, **settings)
    graph = by("graph", "graph", monkeypatch, trainer=trainer, **settings)
    for name in PAIR:
        for key, value in weights(plain, name).items():
            torch.testing.assert_close(weights(graph, name)[key], value, rtol=1e-2, atol=1e-3)
