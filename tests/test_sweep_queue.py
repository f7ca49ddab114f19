from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.trial import TrialState

from resnet_lab.errors import UserError
from resnet_lab.runs.owner import Owner
from resnet_lab.sweeps.queue import (
    DUPLICATE,
    ERROR,
    FAILURES,
    GRACE,
    HEARTBEAT,
    MAX_DEATHS,
    OWNER,
    SLOT,
    Queue,
    Slot,
    open_study,
)
from resnet_lab.sweeps.storage import open_storage

SLOTS = [Slot(key, {"network": key}) for key in ("a", "b", "c")]
GONE = f"{str(Owner.here()).rsplit(' ', 2)[0]} 1 0"
"""A process of this machine that is no more: process 1 did not start at tick 0."""


@pytest.fixture(params=["journal", "postgresql"])
def storage_url(request: pytest.FixtureRequest) -> str | None:
    """None for a journal file, or the address of a real server."""
    return None if request.param == "journal" else request.getfixturevalue("postgresql")


def opened(url: str | None, name: str = "study", heartbeat: int = 60) -> closing[Queue]:
    storage = open_storage(url, Path.cwd())
    return closing(Queue(open_study(name, storage, None), storage, heartbeat))


@pytest.fixture
def queue(storage_url: str | None, tmp_path: Path) -> Iterator[Queue]:
    with opened(storage_url, tmp_path.name) as queue:
        queue.fill(SLOTS)
        yield queue


def slot(trial: Any) -> str:
    return str(trial.user_attrs[SLOT])


def take(queue: Queue) -> Any:
    trial = queue.take()
    assert trial is not None
    return trial


def states(queue: Queue) -> dict[str, str]:
    return {key: trial.state.name for key, trial in queue.attempts().items()}


def test_each_slot_is_taken_once_and_in_order(queue: Queue) -> None:
    assert [slot(take(queue)) for _ in SLOTS] == ["a", "b", "c"]
    assert queue.take() is None
    assert states(queue) == dict.fromkeys("abc", "RUNNING")
    assert all(trial.user_attrs[OWNER] == str(Owner.here()) for trial in queue.running())


def test_filling_again_adds_what_is_new_and_what_failed_alone(queue: Queue) -> None:
    done, failed, _ = [take(queue) for _ in SLOTS]
    queue.study.tell(done, 1.0)
    failed.set_user_attr(ERROR, "cosmic ray")
    queue.study.tell(failed, state=TrialState.FAIL)
    queue.fill([*SLOTS, Slot("d", {})])
    assert states(queue) == {"a": "COMPLETE", "b": "WAITING", "c": "RUNNING", "d": "WAITING"}
    again = take(queue)
    assert (slot(again), again.user_attrs.get(ERROR)) == ("b", None)
    assert slot(take(queue)) == "d"


def test_what_is_done_is_done_again_only_when_asked_for(queue: Queue) -> None:
    queue.study.tell(take(queue), 1.0)
    queue.fill(SLOTS, again=["a", "b"])
    assert states(queue) == {"a": "WAITING", "b": "WAITING", "c": "WAITING"}
    assert [slot(take(queue)) for _ in range(3)] == ["b", "c", "a"]
    assert queue.take() is None


def test_two_commands_that_fill_at_once_leave_no_slot_twice(queue: Queue) -> None:
    for one in SLOTS:  # as a second command does that has seen no slot yet
        queue.study.enqueue_trial({}, user_attrs={SLOT: one.key, **one.settings})
    queue.study.tell(take(queue), 1.0)
    assert [slot(take(queue)) for _ in range(2)] == ["b", "c"]
    assert queue.take() is None
    dropped = [trial for trial in queue.study.trials if DUPLICATE in trial.user_attrs]
    assert [(slot(trial), trial.state) for trial in dropped] == [
        (key, TrialState.FAIL) for key in "abc"
    ]
    assert states(queue) == {"a": "COMPLETE", "b": "RUNNING", "c": "RUNNING"}


def test_what_is_put_back_waits_with_its_values_and_evaluations(queue: Queue) -> None:
    first = take(queue)
    drawn = first.suggest_float("lr", 0.0, 1.0)
    first.report(3.0, 1)
    queue.put_back(first)
    again = take(queue)
    assert (slot(again), again.number) == ("a", first.number)
    assert again.suggest_float("lr", 0.0, 1.0) == drawn
    assert queue.study.trials[again.number].intermediate_values == {1: 3.0}


def test_a_retry_keeps_the_values_and_counts_the_failures(queue: Queue) -> None:
    first = take(queue)
    drawn = first.suggest_float("lr", 0.0, 1.0)
    queue.retry(queue.study.tell(first, state=TrialState.FAIL), {FAILURES: 1})
    trials = [take(queue) for _ in range(3)]
    assert [slot(trial) for trial in trials] == ["b", "c", "a"]
    assert trials[2].user_attrs[FAILURES] == 1
    assert trials[2].suggest_float("lr", 0.0, 1.0) == drawn


def test_the_run_of_a_dead_process_is_queued_again_at_once(queue: Queue) -> None:
    trial = take(queue)
    trial.report(3.0, 1)
    queue.requeue_dead()
    assert states(queue)["a"] == "RUNNING"
    trial.set_user_attr(OWNER, GONE)
    for _ in range(2):
        queue.requeue_dead()
    assert states(queue)["a"] == "WAITING"
    again = [take(queue) for _ in range(3)][-1]
    assert slot(again) == "a"
    assert queue.study.trials[again.number].intermediate_values == {1: 3.0}


def test_a_run_that_kills_its_workers_is_given_up(queue: Queue) -> None:
    for _ in range(MAX_DEATHS + 1):
        trial = take(queue)
        while slot(trial) != "a":
            trial = take(queue)
        trial.set_user_attr(OWNER, GONE)
        queue.requeue_dead()
    assert states(queue)["a"] == "FAIL"


def test_a_worker_elsewhere_that_is_silent_is_taken_for_dead(
    storage_url: str | None, tmp_path: Path
) -> None:
    with opened(storage_url, tmp_path.name, heartbeat=1) as queue:
        queue.fill(SLOTS[:2])
        silent, lively = take(queue), take(queue)
        for trial in (silent, lively):
            trial.set_user_attr(OWNER, "another-host pid:[1] 7 123")
        queue.requeue_dead()
        with queue.heartbeat(lively):
            time.sleep(GRACE + 1.5)
            assert queue.dead() == set()  # the silent one never gave a sign
            queue.requeue_dead()
            assert states(queue) == {"a": "WAITING", "b": "RUNNING"}


def test_a_full_disk_does_not_end_the_heartbeat(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trial, beats = take(queue), []

    def full(*args: object) -> None:
        beats.append(args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(queue, "_heartbeat", 0.02)
    monkeypatch.setattr(queue.storage, "set_trial_system_attr", full)
    with queue.heartbeat(trial):
        while len(beats) < 3:
            time.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_a_plan_tells_of_a_worker_elsewhere_that_is_long_silent(queue: Queue) -> None:
    """By the clocks, in one look: what is acted on is what a process has seen itself."""
    trial = take(queue)
    trial.set_user_attr(OWNER, "another-host pid:[1] 7 123")
    for age, dead in ((0, set()), (10_000, {trial.number})):
        queue.storage.set_trial_system_attr(trial._trial_id, HEARTBEAT, time.time() - age)
        assert queue.dead() == dead
        queue.requeue_dead()
        assert states(queue)["a"] == "RUNNING"


def test_a_clock_that_jumps_makes_nobody_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time
    with opened(None, tmp_path.name, heartbeat=1) as queue:
        queue.fill(SLOTS[:1])
        trial = take(queue)
        trial.set_user_attr(OWNER, "another-host pid:[1] 7 123")
        for jump in (1e6, -1e6, 1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: clock() + jump)
            queue.storage.set_trial_system_attr(trial._trial_id, HEARTBEAT, time.time())
            queue.requeue_dead()
        assert states(queue) == {"a": "RUNNING"}


def test_slots_are_passed_over(queue: Queue) -> None:
    trial = queue.take(left=["a"])
    assert trial is not None
    assert slot(trial) == "b"
    assert "a" in {each.user_attrs["slot"] for each in queue.waiting()}


def take_all(url: str | None, name: str, folder: str, start: Any, found: Any) -> None:
    os.chdir(folder)
    with opened(url, name) as queue:
        start.wait()
        while (trial := queue.take()) is not None:
            found.put(slot(trial))
    found.put(None)


def test_processes_that_race_take_each_slot_once(storage_url: str | None, tmp_path: Path) -> None:
    with opened(storage_url, tmp_path.name) as queue:
        queue.fill([Slot(str(number), {}) for number in range(12)])
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(3), context.Queue()
    arguments = (storage_url, tmp_path.name, str(tmp_path), start, found)
    team = [context.Process(target=take_all, args=arguments) for _ in range(3)]
    for process in team:
        process.start()
    heard = [found.get(timeout=60) for _ in range(12 + 3)]
    for process in team:
        process.join(60)
    assert sorted(filter(None, heard), key=int) == [str(number) for number in range(12)]


def test_a_journal_does_not_move_with_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = open_storage(None, Path("study"))
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    open_study("study", storage, None)
    assert not list(Path.cwd().iterdir())


def test_a_search_cannot_change_its_parameters_on_its_way() -> None:
    storage = open_storage(None, Path.cwd())
    open_study("study", storage, "lr from 0 to 1")
    open_study("study", storage, "lr from 0 to 1")
    with pytest.raises(UserError, match="study 'study' was begun with other parameters"):
        open_study("study", storage, "lr from 0 to 2")


def test_processes_are_known_to_be_dead_only_where_they_can_be_seen() -> None:
    assert not Owner.here().is_dead()
    assert Owner.parse(GONE).is_dead()
    assert not Owner.parse(GONE.replace(socket.gethostname(), "another-host")).is_dead()
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from resnet_lab.runs.owner import Owner; print(Owner.here()); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert not Owner.parse(owner).is_dead()
    child.kill()
    child.communicate(timeout=30)
    assert Owner.parse(owner).is_dead()


def test_a_study_opens_in_the_dashboard(queue: Queue) -> None:
    from optuna_dashboard import wsgi

    trial = take(queue)
    trial.report(3.0, 1)
    queue.study.tell(trial, 2.5)
    said: dict[str, Any] = {}
    environ: dict[str, Any] = {"PATH_INFO": "/api/studies"}
    setup_testing_defaults(environ)

    def start_response(status: str, headers: Any, problem: Any = None) -> None:
        said["status"] = status

    body = b"".join(wsgi(queue.storage)(environ, start_response))
    assert said["status"] == "200 OK"
    assert queue.study.study_name.encode() in body
    assert optuna.study.get_all_study_names(queue.storage)
