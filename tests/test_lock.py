from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_runs import PLAIN, ROOT, at_step, info, tiny

from resnet_lab.cli import main
from resnet_lab.errors import RunFailed, RunHeld, UserError
from resnet_lab.runs import lock
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.runs.lock import RunLock
from resnet_lab.runs.owner import Owner
from resnet_lab.training.train import train

ELSEWHERE = "elsewhere pid:[1] 7 100\n2026-01-01T00:00:00+00:00\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life every hundredth of a second; half a second without one is death."""
    monkeypatch.setattr(lock, "BEAT", 0.01)
    monkeypatch.setattr(lock, "SILENCE", 0.5)


def locks() -> list[str]:
    return sorted(path.name for path in Path().glob(".lock*"))


@contextmanager
def holding() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of this folder until it is ended."""
    program = (
        "from pathlib import Path; from resnet_lab.runs.lock import RunLock\n"
        "with RunLock(Path()): print('held', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_lock_is_there_while_it_is_held_and_gone_afterwards() -> None:
    with RunLock(Path()) as held:
        assert locks() == [".lock-1"]
        assert Owner.parse(Path(".lock-1").read_text().splitlines()[0]) == Owner.here()
        held.check()
    assert locks() == []
    with pytest.raises(ValueError, match="broken"), RunLock(Path()):
        raise ValueError("broken")
    assert locks() == []


def test_a_second_process_is_refused_at_once_and_told_who_trains() -> None:
    with holding() as process:
        with pytest.raises(UserError) as refused, RunLock(Path("").absolute()):
            pass
        told = str(refused.value)
        assert f"is being trained by process {process.pid} on {Owner.here().host}, since 2" in told
        assert told.endswith("wait for it or end it, and the same command continues")
        assert locks() == [".lock-1"]
        process.communicate("\n")
    with RunLock(Path()):
        pass


def test_a_holder_has_a_moment_to_write_who_it_is() -> None:
    Path(".lock-1").touch()
    text = f"{Owner.here()}\n2026-01-01T00:00:00+00:00\n"
    timer = threading.Timer(0.2, lambda: Path(".lock-1").write_text(text))
    timer.start()
    with pytest.raises(RunHeld, match=f"by process {os.getpid()} on "), RunLock(Path()):
        pass
    timer.join()


def test_the_lock_of_a_killed_process_is_taken_over_at_once() -> None:
    with holding() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert locks() == [".lock-1"]
        with RunLock(Path()):
            assert locks() == [".lock-2"]
    assert locks() == []


@pytest.mark.parametrize("when", [0.0, 4e9], ids=["1970", "2096"])
@pytest.mark.parametrize("text", [ELSEWHERE, "", "\0\0\0", "garbled\n"])
def test_a_silent_holder_on_another_machine_is_dead_whatever_the_clocks_say(
    text: str, when: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SILENCE", 0.05)
    monkeypatch.setattr(lock, "MOMENT", 0.05)
    Path(".lock-3").write_text(text)
    os.utime(".lock-3", (when, when))
    with pytest.warns(UserWarning, match="waiting up to 0 s for a sign of life"), RunLock(Path()):
        assert locks() == [".lock-4"]


@pytest.mark.usefixtures("quick")
def test_a_holder_on_another_machine_that_shows_life_is_not_disturbed() -> None:
    Path(".lock-1").write_text(ELSEWHERE)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.02):
            os.utime(".lock-1")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with (
            pytest.warns(UserWarning, match="by process 7 on elsewhere, since 2026-01-01"),
            pytest.raises(UserError, match="is being trained by process 7 on elsewhere"),
            RunLock(Path()),
        ):
            pass
    finally:
        done.set()
        thread.join()
    assert locks() == [".lock-1"]


@pytest.mark.usefixtures("quick")
def test_a_lock_that_is_released_while_one_waits_is_free() -> None:
    Path(".lock-1").write_text(ELSEWHERE)
    timer = threading.Timer(0.1, Path(".lock-1").unlink)
    timer.start()
    with pytest.warns(UserWarning, match="waiting"), RunLock(Path()):
        assert locks() == [".lock-1"] or locks() == [".lock-2"]


@pytest.mark.usefixtures("quick")
def test_a_holder_touches_its_lock() -> None:
    with RunLock(Path()):
        before = Path(".lock-1").stat().st_mtime_ns
        deadline = time.monotonic() + 60
        while Path(".lock-1").stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_of_many_that_want_a_dead_ones_lock_one_at_a_time_has_it() -> None:
    with holding() as process:
        pass
    assert process.poll() is not None
    Path(".lock-2").write_text(Path(".lock-1").read_text())
    inside, most, taken = [0], [0], [0]
    guard, start = threading.Lock(), threading.Barrier(12)

    def contend(_: int) -> None:
        start.wait()
        for _ in range(6):
            try:
                with RunLock(Path()):
                    with guard:
                        inside[0] += 1
                        taken[0] += 1
                        most[0] = max(most[0], inside[0])
                    time.sleep(0.001)
                    with guard:
                        inside[0] -= 1
            except UserError:
                pass

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(contend, range(12)))
    assert most == [1]
    assert taken[0] >= 1
    assert locks() == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_message(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, *arguments: int) -> int:
        if ".lock-" in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError) as refused:
        train(tiny(network=PLAIN))
    run = RunDirectory.of(tiny(network=PLAIN)).path
    assert str(refused.value) == (
        f"cannot write the run directory {run}: {os.strerror(number)}; "
        "choose another with --runs-dir"
    )


# Runs


def test_a_run_that_is_being_trained_is_not_trained_by_another_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command_again() -> None:
        flags = ["--recipe.iterations=12", "--recipe.batch_size=16", "--recording.probe_size=16"]
        flags += ["--recipe.log_every=4", "--recipe.evaluate_every=6", "--trainer.device=cpu"]
        assert main(["train", f"--network={PLAIN}", *flags]) == 2

    at_step(monkeypatch, 5, command_again)
    run = train(tiny(network=PLAIN))
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {run} is being trained by process {os.getpid()} on ")
    assert len(told.splitlines()) == 1
    assert info(run)["status"] == "finished"
    assert not list(run.glob(".*"))


def test_a_process_whose_run_was_taken_over_writes_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = RunDirectory.of(tiny(network=PLAIN)).path
    taken: dict[Path, bytes] = {}

    def take_over() -> None:
        (run / ".lock-2").write_text(ELSEWHERE)
        (run / ".lock-1").unlink()
        (run / "run.json").write_text("the other one's")
        taken.update({path: path.read_bytes() for path in run.rglob("*") if path.is_file()})

    at_step(monkeypatch, 5, take_over)
    with pytest.raises(RunFailed, match="was taken over by another process while this one was"):
        train(tiny(network=PLAIN, trainer={"checkpoint_steps": 7}))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == taken


def test_a_run_that_was_finished_while_one_waited_is_not_trained_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = train(tiny("other", network=PLAIN))
    held = RunDirectory.held

    @contextmanager
    def after_another(self: RunDirectory) -> Iterator[None]:
        with held(self):
            shutil.copytree(other, self.path, dirs_exist_ok=True)
            yield

    monkeypatch.setattr(RunDirectory, "held", after_another)
    at_step(monkeypatch, 0, lambda: pytest.fail("it was trained again"))
    run = train(tiny(network=PLAIN))
    assert (run / "run.json").read_bytes() == (other / "run.json").read_bytes()
