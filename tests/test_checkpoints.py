from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import PLAIN, assert_same_result, at_step, info, interrupt, resumed, tiny

from resnet_lab.cli import main
from resnet_lab.configuration.config import Config, TrainerConfig
from resnet_lab.errors import RunFailed, UserError
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.training import checkpoints
from resnet_lab.training.checkpoint_files import (
    DamagedCheckpoint,
    copied,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from resnet_lab.training.error_messages import in_words
from resnet_lab.training.train import train

EVERY_STEP = {"checkpoint_seconds": 1e-9}
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def small(folder: str | Path = "runs", **trainer: Any) -> Config:
    return tiny(folder, network=PLAIN, trainer=trainer)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after 7 steps, with checkpoints of the last two."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 6, interrupt)
        return train(small(tmp_path_factory.mktemp("interrupted"), **EVERY_STEP))


def newest(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def before_writing(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> None:
    """Do `act` in the writer's thread before each checkpoint is written."""

    def write(path: Path, *content: Any) -> None:
        act(path)
        write_checkpoint(path, *content)

    monkeypatch.setattr(checkpoints, "write_checkpoint", write)


# The file


def test_a_checkpoint_is_read_as_it_was_written_and_any_other_byte_is_noticed(
    interrupted: Path,
) -> None:
    path = newest(interrupted)
    state, content = read_checkpoint(path), path.read_bytes()
    assert state["global_step"] == 7
    assert torch.load(path, weights_only=True).keys() == state.keys()
    other = Path("other.ckpt")
    places = [*range(0, len(content), len(content) // 60), *range(len(content) - 74, len(content))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1
        other.write_bytes(damaged)
        with pytest.raises(DamagedCheckpoint):
            read_checkpoint(other)
    for size in (0, 1, 73, len(content) // 2, len(content) - 1):
        other.write_bytes(content[:size])
        with pytest.raises(DamagedCheckpoint, match="cut off"):
            read_checkpoint(other)


def test_a_checkpoint_of_another_run_is_passed_over(interrupted: Path) -> None:
    run = RunDirectory.of(tiny(network=PLAIN, seed=1))
    shutil.copytree(interrupted / "checkpoints", run.checkpoints)
    with pytest.warns(UserWarning, match=r"is of another run|no whole checkpoint") as reported:
        assert newest_checkpoint(run) is None
    assert len(reported) == 3


def test_a_copy_does_not_change_with_what_it_was_made_of() -> None:
    weights = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    whole = {"a": [weights, (1, "x")], "b": None}
    copy = copied(whole)
    weights.add_(1)
    assert copy["a"][0].sum() == 0
    assert copy["a"][0].stride() == weights.stride()
    assert (copy["a"][1], copy["b"]) == ((1, "x"), None)


# When


@pytest.mark.parametrize(("steps", "expected"), [(5, [5, 10]), (1, [*range(1, 12)]), (50, [])])
def test_checkpoints_by_step(
    steps: int, expected: list[int], undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    before_writing(monkeypatch, lambda path: written.append(int(path.stem[5:])))
    run = train(small(checkpoint_steps=steps))
    assert written == expected
    kept = sorted(int(path.stem[5:]) for path in (run / "checkpoints").iterdir())
    assert kept == expected[-2:]
    assert_same_result(run, undisturbed, PLAIN)


def test_a_checkpoint_is_due_at_the_first_call_at_or_after_its_step() -> None:
    def due(interval: int, calls: list[int]) -> list[int]:
        return [
            now
            for before, now in zip([0, *calls], calls, strict=False)
            if checkpoints._passed(interval, before, now)
        ]

    assert due(10, [4, 8, 12, 16, 20, 24]) == [12, 20]
    assert due(10, [10, 20, 45, 46, 50]) == [10, 20, 45, 50]
    assert due(0, [1, 2, 3]) == []


def test_no_negative_number_of_steps() -> None:
    with pytest.raises(UserError, match=r"^trainer\.checkpoint_steps is -1: give a number"):
        TrainerConfig(checkpoint_steps=-1)


def test_clocks_that_jump_change_nothing(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1e9 * (-1) ** i for i in range(10_000)])
    monkeypatch.setattr("time.time", lambda: next(times))
    at_step(monkeypatch, 6, interrupt)
    config = small(checkpoint_steps=2)
    train(config)
    run = train(config)
    assert resumed(run) == [7]
    assert_same_result(run, undisturbed, PLAIN)


# Beside the training


def test_the_training_goes_on_while_a_checkpoint_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = threading.Event()
    with monkeypatch.context() as patch:
        before_writing(patch, lambda path: later.wait(60) or pytest.fail("it has waited"))
        at_step(patch, 7, later.set)
        late = train(small(checkpoint_steps=5))
    at_once = train(small("at_once", checkpoint_steps=5))
    one, other = (
        read_checkpoint(run / "checkpoints/step-000000005.ckpt") for run in (late, at_once)
    )
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor.nan_to_num(), other["state_dict"][name].nan_to_num()), name
    assert torch.equal(one["rows"]["metrics"], other["rows"]["metrics"])
    assert torch.equal(one["rows"]["layers"], other["rows"]["layers"])


@pytest.mark.parametrize("number", [signal.SIGTERM, None], ids=["interrupted", "broken"])
def test_a_run_does_not_end_before_its_checkpoint_is_written(
    number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        raise ValueError("broken")

    status: list[str] = []
    later = threading.Event()

    def wait(path: Path) -> None:
        later.wait(0.5)
        status.append(info(path.parents[1])["status"])

    before_writing(monkeypatch, wait)
    at_step(monkeypatch, 4, interrupt if number else break_down)
    if number:
        run = train(small(checkpoint_steps=4))
    else:
        with pytest.raises(ValueError, match="broken"):
            train(small(checkpoint_steps=4))
        [run] = Path("runs").iterdir()
    assert set(status) == {"running"}
    assert info(run)["status"] == ("interrupted" if number else "failed")
    assert newest(run).stem == ("step-000000005" if number else "step-000000004")


def test_an_error_while_writing_is_raised_in_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(path: Path) -> None:
        raise ValueError("broken in the thread")

    before_writing(monkeypatch, break_down)
    with pytest.raises(ValueError, match="broken in the thread"):
        train(small(checkpoint_steps=4))
    [run] = Path("runs").iterdir()
    assert (info(run)["status"], info(run)["error"]) == (
        "failed",
        "ValueError: broken in the thread",
    )
    assert not any(path.is_alive() for path in threading.enumerate() if "checkpoints" in path.name)


def test_what_a_killed_process_was_writing_is_removed(interrupted: Path, undisturbed: Path) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    for folder in (".", "checkpoints", "weights"):
        (run / folder / ".step-000000009.ckpt.123.part").write_bytes(b"half")
    train(small())
    assert not list(run.rglob(".*"))
    assert_same_result(run, undisturbed, PLAIN)


def test_new_checkpoints_are_kept_although_damaged_ones_have_higher_steps(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    at_step(monkeypatch, 2, interrupt)
    with pytest.warns(UserWarning, match=r"is damaged|no whole checkpoint"):
        train(small())
    assert [path.stem for path in (run / "checkpoints").iterdir()] == ["step-000000003"]
    train(small())
    assert resumed(run) == [3]


def test_what_a_killed_run_had_no_time_to_delete_is_deleted(interrupted: Path) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    shutil.copy(newest(run), run / "checkpoints" / "step-000000005.ckpt")
    assert len(list((run / "checkpoints").iterdir())) == 3
    train(small())
    assert resumed(run) == [7]
    kept = sorted(path.stem for path in (run / "checkpoints").iterdir())
    assert kept == ["step-000000006", "step-000000007"]


def test_strangers_files_among_the_checkpoints_are_neither_read_nor_deleted(
    interrupted: Path, undisturbed: Path
) -> None:
    run = Path("runs", interrupted.name)
    shutil.copytree(interrupted, run)
    kept = run / "checkpoints" / "step-000000006 (before I tried that).ckpt"
    shutil.copy(newest(run), kept)
    names = ("._step-000000009.ckpt", ".DS_Store", "step-000000009.ckpt~", "step-9.ckpt", "a.ckpt")
    for name in names:
        for folder in ("checkpoints", "weights", "."):
            (run / folder / name).write_bytes(b"a stranger's")
    (run / "checkpoints" / "step-000000008.ckpt").mkdir()
    train(small())
    assert resumed(run) == [7]
    assert kept.exists()
    assert all((run / "checkpoints" / name).exists() for name in names)
    for file in (f"weights/{PLAIN}.pt", "metrics.parquet", "layers.parquet"):
        assert (run / file).read_bytes() == (undisturbed / file).read_bytes()


# No room, no memory


@pytest.fixture
def a_full_disk() -> Iterator[Callable[[int], None]]:
    """Return what keeps files of this process from growing beyond 8 kB.

    It waits for the checkpoint of this step, which is written beside the training.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(after: int) -> None:
        while not list(Path("runs").glob(f"*/checkpoints/step-{after:09}.ckpt")):
            time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_twice(path: Path) -> None:
        if path.stem[5:] in ("000000004", "000000006"):
            raise FULL

    before_writing(monkeypatch, fail_twice)
    with pytest.warns(UserWarning, match=r"no checkpoint could be written .*No space") as told:
        run = train(small(checkpoint_steps=2))
    assert len(told) == 2
    assert sorted(path.stem[-2:] for path in (run / "checkpoints").iterdir()) == ["08", "10"]
    assert_same_result(run, undisturbed, PLAIN)


@pytest.mark.filterwarnings("ignore:no checkpoint could be written")
def test_on_a_disk_that_stays_full_the_run_ends_and_continues_once_there_is_room(
    undisturbed: Path,
    a_full_disk: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_step(monkeypatch, 3, lambda: a_full_disk(2))
    flags = ["--recipe.iterations=12", "--recipe.batch_size=16", "--recording.probe_size=16"]
    flags += ["--recipe.log_every=4", "--recipe.evaluate_every=6", "--trainer.device=cpu"]
    command = ["train", f"--network={PLAIN}", *flags, "--trainer.checkpoint_steps=2"]
    assert main(command) == 1
    [run] = Path("runs").iterdir()
    assert capsys.readouterr().err.splitlines() == [
        f"resnet-lab: no checkpoint could be written to {run} (File too large): the same command "
        "continues from step 2"
    ]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000002.ckpt"]
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, soft))
    assert main(command) == 0
    assert resumed(run) == [2]
    assert_same_result(run, undisturbed, PLAIN)


def test_without_room_for_the_last_files_a_run_is_not_finished(
    undisturbed: Path, a_full_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 11, lambda: a_full_disk(10))
    with pytest.raises(RunFailed, match=r"cannot be written \(File too large\): the run ends at"):
        train(small(checkpoint_steps=5))
    [run] = Path("runs").iterdir()
    assert info(run)["status"] == "failed"
    assert not list((run / "weights").iterdir())
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    train(small())
    assert resumed(run) == [10]
    assert_same_result(run, undisturbed, PLAIN)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "mps", "python"],
)
def test_out_of_memory_is_told_with_the_batch_and_what_to_do(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        raise error

    at_step(monkeypatch, 5, break_down)
    with pytest.raises(RunFailed) as failed:
        train(small())
    told = str(failed.value)
    assert told.startswith(
        f"out of memory at step 5: {PLAIN} with recipe.batch_size 16 and recording.probe_size 16. "
        "Train fewer networks at once (--network), lower the batch size"
    )
    [run] = Path("runs").iterdir()
    assert (info(run)["status"], info(run)["error"]) == ("failed", f"RunFailed: {told}")


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**60, dtype=torch.uint8)
    assert isinstance(in_words(failed.value, small(), Path("run"), 0), RunFailed)


def test_any_other_error_stays_what_it_is() -> None:
    for error in (RuntimeError("shapes differ"), OSError(errno.ENOENT, "no such file")):
        assert in_words(error, small(), Path("run"), 0) is error
