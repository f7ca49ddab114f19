from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_cohort import break_update, poison
from tiny_runs import (
    PAIR,
    PLAIN,
    ROOT,
    assert_same_result,
    at_step,
    info,
    interrupt,
    member,
    resumed,
    rows,
    tiny,
)

from resnet_lab.configuration.config import Config
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
    assert resumed(run) == stops
    assert all(entry["bit_exact"] for entry in info(run)["provenance"]["resumed"])
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


@pytest.mark.parametrize(("broken", "stops"), [(4, (5, 6)), (5, (6, 7)), (11, (9, 11))])
def test_an_update_that_diverges_is_seen_where_the_whole_run_sees_it(
    broken: int, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_update(monkeypatch, PLAIN, broken)
    reference = train(tiny("reference"))
    for stop in stops:
        at_step(monkeypatch, stop - 1, interrupt)
        train(tiny())
    run = train(tiny())
    assert resumed(run) == list(stops)
    assert info(run)["networks"] == info(reference)["networks"]
    assert member(run, PLAIN)["status"] == "diverged"
    assert member(run, PLAIN)["diverged_at"] == broken + 1
    assert_same_result(run, reference, *PAIR)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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
    assert resumed(run)[0] in (8, 9), "the last one was perhaps still being written"
    assert not list(run.rglob(".*"))
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
    assert resumed(run) == [6]
    assert_same_result(run, undisturbed, *PAIR)


def test_without_any_whole_checkpoint_the_run_begins_anew(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(trainer=EVERY_STEP)
    for path in stopped_with_checkpoints(config, monkeypatch):
        truncate(path)
    with pytest.warns(UserWarning, match=r"is damaged|no whole checkpoint") as reported:
        run = train(config)
    *damaged, end = [str(warning.message) for warning in reported]
    assert [" is damaged (it is cut off" in text for text in damaged] == [True, True]
    assert end == f"{run} has no whole checkpoint: it begins at step 0"
    assert "resumed" not in info(run)["provenance"]
    assert_same_result(run, undisturbed, *PAIR)


def test_a_checkpoint_holds_tensors_and_plain_values_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = stopped_with_checkpoints(tiny(trainer=EVERY_STEP), monkeypatch)[-1]
    state = torch.load(newest, weights_only=True)
    assert state["global_step"] == 7
    assert state["cohort"]["names"] == list(PAIR)


# Power loss: any file may be cut off, garbled or gone


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("plain"), network=PLAIN))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one network, stopped after 7 steps with checkpoints of the last two."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 6, interrupt)
        return train(tiny(folder, network=PLAIN, trainer=EVERY_STEP))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit, at a place that depends on the file's name alone."""
    content = bytearray(path.read_bytes())
    content[random.Random(path.name).randrange(len(content))] ^= 4
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


FILES = {
    "run.json": ["run.json"],
    "config.yaml": ["config.yaml"],
    "rows": ["metrics.parquet", "layers.parquet"],
    "last checkpoint": ["checkpoints/step-000000007.ckpt"],
    "all of them": [
        *("run.json", "config.yaml", "metrics.parquet", "layers.parquet"),
        "checkpoints/step-000000007.ckpt",
    ],
}


@pytest.mark.filterwarnings("ignore:.*(is damaged|cannot be read).*")
@pytest.mark.parametrize("harm", [halve, flip, empty, Path.unlink], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_after_a_loss_of_power_the_run_ends_as_an_undisturbed_one(
    files: list[str], harm: Callable[[Path], None], interrupted: Path, plain: Path
) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    for name in files:
        harm(run / name)
    config = tiny(network=PLAIN)
    assert train(config) == run
    assert info(run)["status"] == "finished"
    assert resumed(run) == [6 if "checkpoints/step-000000007.ckpt" in files else 7]
    assert info(run)["networks"] == info(plain)["networks"]
    assert (run / "config.yaml").read_text() == yaml.safe_dump(config.as_dict(), sort_keys=False)
    assert_same_result(run, plain, PLAIN)


@pytest.mark.filterwarnings("ignore:.*(is damaged|cannot be read|no whole checkpoint).*")
def test_when_nothing_is_left_the_run_begins_anew(interrupted: Path, plain: Path) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    for path in [path for path in run.rglob("*") if path.is_file()]:
        halve(path)
    train(tiny(network=PLAIN))
    assert resumed(run) == []
    assert_same_result(run, plain, PLAIN)


def test_rows_of_a_run_that_begins_anew_are_not_there_twice(interrupted: Path, plain: Path) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    assert len(rows(run, "layers")) > 0
    shutil.rmtree(run / "checkpoints")
    train(tiny(network=PLAIN))
    assert_same_result(run, plain, PLAIN)


# Elsewhere


def test_a_run_that_continues_elsewhere_says_that_its_bits_may_differ(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    monkeypatch.setattr("resnet_lab.runs.provenance._processor", lambda: "another one")
    processor = info(run)["provenance"]["processor"]
    torch.set_num_threads(2)
    try:
        train(tiny(network=PLAIN))
    finally:
        torch.set_num_threads(1)
    origin = info(run)["provenance"]
    [entry] = origin["resumed"]
    assert (entry["step"], entry["bit_exact"]) == (7, False)
    assert entry["because"] == [
        "device cpu (1 threads) -> cpu (2 threads)",
        f"processor {processor} -> another one",
    ]
    assert (origin["processor"], origin["threads"], origin["processes"]) == ("another one", 2, 1)


TWO = """
import os, pathlib, signal, sys, time, pytest, torch
torch.set_num_threads(1)
from tiny_runs import PLAIN, at_step, tiny
from resnet_lab.training.train import train
folder, step = sys.argv[1], int(sys.argv[2])

def die():
    last = f"*/checkpoints/step-{step - step % 3:09d}.ckpt"
    while not list(pathlib.Path(folder).glob(last)):
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)

if step:
    at_step(pytest.MonkeyPatch(), step, die)
trainer = {"devices": 2, "checkpoint_steps": 3}
train(tiny(folder, network=PLAIN, precise_bn=32, drops=[8], trainer=trainer))
"""


@pytest.mark.slow
def test_two_processes_that_are_killed_continue_bit_for_bit() -> None:
    Path("two.py").write_text(TWO)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path}

    def start(folder: str, step: int) -> tuple[int, Path]:
        command = [sys.executable, "two.py", folder, str(step)]
        ended = subprocess.run(command, env=environment, start_new_session=True, timeout=120)
        [run] = Path(folder).iterdir()
        return ended.returncode, run

    assert start("killed", 5)[0] == -signal.SIGKILL
    assert start("killed", 10)[0] == -signal.SIGKILL
    (code, run), (_, whole) = start("killed", 0), start("whole", 0)
    assert code == 0
    assert resumed(run) == [3, 9]
    assert [entry["bit_exact"] for entry in info(run)["provenance"]["resumed"]] == [True, True]
    assert info(run)["networks"] == info(whole)["networks"]
    assert_same_result(run, whole, PLAIN)
