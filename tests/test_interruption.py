"""Signals that come before, between and after what handles them: none is lost, all stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_sweep_workers import grid, study, sweeping, until
from tiny_runs import PAIR, ROOT, assert_same_result, info, interrupt, tiny

import resnet_lab.training.train
from resnet_lab.cli import main
from resnet_lab.training.interruption import (
    SIGNALS,
    Interruption,
    interruption_requested,
    let_signals_in,
    signals_held_back,
)
from resnet_lab.training.train import train


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_known_to_what_is_entered_later(number: signal.Signals) -> None:
    with Interruption() as outer:
        interrupt(number)
        with Interruption(), Interruption() as inner:
            assert inner.requested
            assert interruption_requested()
        assert outer.requested
    assert not interruption_requested()


def test_a_signal_is_obeyed_at_once_where_nothing_would_be_lost() -> None:
    with Interruption(at_once=True) as early:
        with pytest.raises(KeyboardInterrupt):
            interrupt(signal.SIGTERM)
        assert early.requested  # whoever has swallowed it hears of it again
        with Interruption() as late:
            assert late.requested
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption():
        interrupt()
        with pytest.raises(KeyboardInterrupt), Interruption(at_once=True):
            raise AssertionError("entered, although a signal had come")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_request_is_no_signal_and_stays_inside() -> None:
    with Interruption():
        with Interruption() as asked:
            asked.request()
        with Interruption() as next_one:
            assert not next_one.requested


def test_signals_are_handled_again_after_a_library_has_taken_them() -> None:
    with Interruption() as interruption:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        interruption.take_back()
        interrupt()
        assert interruption.requested
    before = signal.getsignal(signal.SIGTERM)
    interruption.take_back()  # too late: it is left
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_terminal_that_closes_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            interrupt(signal.SIGHUP)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_new_process_gets_the_signals_that_came_before_its_handlers() -> None:
    program = """
import signal
from resnet_lab.training.interruption import Interruption, let_signals_in
signal.raise_signal(signal.SIGTERM)
signal.raise_signal(signal.SIGINT)
with Interruption() as interruption:
    before = interruption.requested
    let_signals_in()
    print(before, interruption.requested)
"""
    with signals_held_back():
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.communicate(timeout=60)[0] == "False True\n"
    assert process.returncode == 0
    let_signals_in()


@contextmanager
def signalled_while_data_are_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A signal between the command's own handling of signals and the training's."""
    read = resnet_lab.training.train.load_data

    def load(*arguments: Any) -> Any:
        interrupt()
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(resnet_lab.training.train, "load_data", load)
        yield


def test_a_run_that_was_to_stop_before_it_began_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = signalled_while_data_are_read(monkeypatch)
    with begun, Interruption(), pytest.raises(KeyboardInterrupt):
        train(tiny())
    assert not list(Path("runs").rglob("run.json"))


def test_under_an_agent_it_takes_one_step_so_that_it_can_be_continued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = train(tiny("undisturbed"))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep0")
    with signalled_while_data_are_read(monkeypatch), Interruption():
        run = train(tiny())
    assert (info(run)["status"], info(run)["step"]) == ("interrupted", 1)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000001.ckpt"]
    train(tiny())
    assert_same_result(run, undisturbed, *PAIR)


@pytest.mark.parametrize("count", [(), ("--count", "1")])
def test_a_sweep_that_is_stopped_while_its_run_starts_is_not_done(
    count: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = grid(seed={"value": 0}, **{"recipe.iterations": {"value": 2}})
    with signalled_while_data_are_read(monkeypatch):
        assert main(["sweep", file, *count]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "0 of 2 runs finished",
        "interrupted: the same command continues",
    ]
    with study(None) as queue:
        assert [trial.state.name for trial in queue.study.trials] == ["WAITING"] * 2
    assert main(["sweep", file]) == 0
    with study(None) as queue:
        assert [trial.state.name for trial in queue.study.trials] == ["COMPLETE"] * 2


def test_a_signal_in_the_last_step_of_all_leaves_a_sweep_that_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = grid(seed={"value": 0}, **{"recipe.iterations": {"value": 2}})
    assert main(["sweep", file, "--count", "1"]) == 0
    save = resnet_lab.training.train.save_weights

    def save_and_signal(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        interrupt()

    monkeypatch.setattr(resnet_lab.training.train, "save_weights", save_and_signal)
    assert main(["sweep", file]) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out.splitlines()


SLOW_START = """
import os, sys, time
if "--multiprocessing-fork" in sys.argv:
    open(f"started-{os.getpid()}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
"""
"""A worker's interpreter takes as long to start as the test wants."""


@pytest.mark.parametrize("to", ["command", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_is_stopped_while_its_workers_start(
    number: signal.Signals, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sitecustomize.py").write_text(SLOW_START)
    file = grid()
    with sweeping(file, "--workers", "2", paths=(Path.cwd(),)) as process:
        until(lambda: len(list(Path.cwd().glob("started-*"))) == 2)
        workers = [int(path.name.partition("-")[2]) for path in Path.cwd().glob("started-*")]
        os.kill(process.pid, number) if to == "command" else os.killpg(process.pid, number)
        Path("go").touch()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert out.splitlines() == ["0 of 6 runs finished", "interrupted: the same command continues"]
    assert err == ""
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert not list(Path("runs").rglob("run.json"))
