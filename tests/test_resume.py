from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from test_cohort import poison
from tiny_runs import (
    PAIR,
    PLAIN,
    ROOT,
    assert_same_result,
    at_step,
    info,
    interrupt,
    member,
    tiny,
)

from resnet_lab.training.config import Config
from resnet_lab.training.train import train

EVERY_STEP = {"checkpoint_seconds": 1e-9}
RECIPES: dict[str, dict[str, Any]] = {
    # Epochs have 11 steps; the warm-up ends in the first, the learning rate drops in the second.
    "conditional warm-up and drop": {
        "iterations": 26,
        "batch_size": 128,
        "drops": [19],
        "warmup_until_error": 91.0,
        "warmup_window": 4,
        "test_curve": True,
        "precise_bn": 256,
    },
    "plateau": {
        "iterations": 24,
        "evaluate_every": 2,
        "plateau_patience": 2,
        "lr": 0.3,
        "ghost_batch": 8,
        "clip": 1.0,
    },
}


@pytest.fixture(scope="module", params=list(RECIPES.values()), ids=list(RECIPES))
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """A recipe, and its run without any interruption."""
    return request.param, train(tiny(tmp_path_factory.mktemp("whole"), **request.param))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("undisturbed")))


def test_the_references_really_switch(whole: tuple[dict[str, Any], Path]) -> None:
    recipe, run = whole
    if "warmup_until_error" in recipe:
        assert all(0 < member(run, name)["warmup_ended_at"] <= 12 for name in PAIR)
    else:
        assert all(member(run, name)["drop_steps"] for name in PAIR)


@pytest.mark.parametrize("stops", [[2, 5, 13, 20], [11]], ids=str)
def test_a_run_stopped_again_and_again_equals_an_uninterrupted_one(
    whole: tuple[dict[str, Any], Path], stops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, reference = whole
    config = tiny(**recipe)
    for stop in stops:
        at_step(monkeypatch, stop - 1, interrupt)
        run = train(config)
        assert (info(run)["status"], info(run)["step"]) == ("interrupted", stop)
        assert member(run, PLAIN)["final"] == {}
    assert train(config) == run
    assert info(run)["status"] == "finished"
    assert info(run)["provenance"]["resumed"] == stops
    assert info(run)["networks"] == info(reference)["networks"]
    assert_same_result(run, reference, *PAIR)


def test_a_diverged_member_stays_frozen_when_the_run_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison(monkeypatch, {PLAIN: 2})
    reference = train(tiny("reference"))
    for stop in (3, 4, 6):
        at_step(monkeypatch, stop - 1, interrupt)
        train(tiny())
    run = train(tiny())
    assert info(run)["networks"] == info(reference)["networks"]
    assert member(run, PLAIN)["diverged_at"] == 2
    assert_same_result(run, reference, *PAIR)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_at_the_next_step_with_a_checkpoint(
    number: signal.Signals, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 6, lambda: interrupt(number))
    run = train(tiny())
    assert (info(run)["status"], info(run)["step"]) == ("interrupted", 7)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000007.ckpt"]
    train(tiny())
    assert_same_result(run, undisturbed, *PAIR)


def test_a_second_ctrl_c_ends_the_run_at_once(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        interrupt(signal.SIGINT)
        interrupt(signal.SIGINT)

    at_step(monkeypatch, 6, twice)
    run = train(tiny())
    assert (info(run)["status"], info(run)["step"]) == ("interrupted", 6)
    assert not list((run / "checkpoints").iterdir())
    train(tiny())
    assert "resumed" not in info(run)["provenance"]
    assert_same_result(run, undisturbed, *PAIR)


def test_a_signal_at_the_last_step_leaves_a_finished_run(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 11, interrupt)
    run = train(tiny())
    assert info(run)["status"] == "finished"
    assert_same_result(run, undisturbed, *PAIR)


def killed(step: int) -> Path:
    """Train `tiny()` in another process that is killed in the midst of `step`."""
    script = f"""
        import os, signal, pytest, torch
        torch.set_num_threads(1)
        from tiny_runs import at_step, tiny
        from resnet_lab.training.train import train
        at_step(pytest.MonkeyPatch(), {step}, lambda: os.kill(os.getpid(), signal.SIGKILL))
        train(tiny(trainer={EVERY_STEP}))
    """
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env={**os.environ, "PYTHONPATH": path}
    )
    assert ended.returncode == -signal.SIGKILL
    return next(Path("runs").iterdir())


def test_a_killed_run_continues_from_its_last_checkpoint(undisturbed: Path) -> None:
    run = killed(9)
    assert info(run)["status"] == "running"
    assert train(tiny()) == run
    assert info(run)["provenance"]["resumed"] == [9]
    assert_same_result(run, undisturbed, *PAIR)


def stopped_with_checkpoints(config: Config, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    at_step(monkeypatch, 6, interrupt)
    run = train(config)
    checkpoints = sorted((run / "checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["step-000000006.ckpt", "step-000000007.ckpt"]
    return checkpoints


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def test_a_truncated_checkpoint_is_reported_and_the_one_before_is_used(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(trainer=EVERY_STEP)
    _, newest = stopped_with_checkpoints(config, monkeypatch)
    truncate(newest)
    with pytest.warns(UserWarning, match=f"checkpoint .*{newest.name} is damaged") as reported:
        run = train(config)
    assert len(reported) == 1
    assert info(run)["provenance"]["resumed"] == [6]
    assert_same_result(run, undisturbed, *PAIR)


def test_without_any_whole_checkpoint_the_run_begins_anew(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(trainer=EVERY_STEP)
    for path in stopped_with_checkpoints(config, monkeypatch):
        truncate(path)
    with pytest.warns(UserWarning, match="is damaged"):
        run = train(config)
    assert "resumed" not in info(run)["provenance"]
    assert_same_result(run, undisturbed, *PAIR)


def test_a_checkpoint_holds_tensors_and_plain_values_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = stopped_with_checkpoints(tiny(trainer=EVERY_STEP), monkeypatch)[-1]
    state = torch.load(newest, weights_only=True)
    assert state["global_step"] == 7
    assert state["cohort"]["names"] == list(PAIR)
