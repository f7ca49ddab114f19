"""A sweep on this machine: it fills the queue, starts workers, and tells how it went."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.files import NO_ROOM
from resnet_lab.lifecycle import leave
from resnet_lab.sweeps.duration import Clock
from resnet_lab.sweeps.parent_death import end_with
from resnet_lab.sweeps.progress import View
from resnet_lab.sweeps.queue import ERROR, RUN, Queue, Slot
from resnet_lab.sweeps.storage import DEATHS
from resnet_lab.sweeps.verdict import is_lost
from resnet_lab.sweeps.work import Work
from resnet_lab.sweeps.worker import run_worker, target_reached, use_devices
from resnet_lab.training.interruption import Interruption, let_signals_in, signals_held_back

MOMENT = 10.0
"""Seconds that workers have to end when they are to end at once."""

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext, SpawnProcess

    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Outcome:
    """How a sweep stands.

    Attributes:
        slots: how many runs make the study.
        finished: of them, trained to the end.
        stopped: of them, ended early by the sweep.
        failed: (name, error) of those whose last attempt raised, or lost its worker.
        interrupted: whether this command was stopped before all that was asked for was done.
        diverged: how many runs have a network that diverged.
        elsewhere: how many runs other commands train now.
        enough: whether no more was asked for: --count runs have ended, or the target is reached.
        absent: how many runs have ended that are not in this runs directory.
    """

    slots: int
    finished: int
    stopped: int
    failed: tuple[tuple[str, str], ...]
    interrupted: bool = False
    diverged: int = 0
    elsewhere: int = 0
    enough: bool = False
    absent: int = 0

    @property
    def left(self) -> int:
        """Runs that have neither come to an end nor failed, and that nobody trains."""
        known = self.finished + self.stopped + len(self.failed) + self.elsewhere
        return self.slots - known - self.absent

    @property
    def complete(self) -> bool:
        """Whether every run has come to its end."""
        return self.finished + self.stopped == self.slots

    @property
    def exit_code(self) -> int:
        """0 if all that was asked for is done."""
        left = self.left > 0 and not self.enough
        return int(bool(self.failed) or self.interrupted or self.absent > 0 or left)


def run_locally(
    work: Work,
    slots: Sequence[Slot],
    *,
    again: Sequence[str] = (),
    workers: int = 1,
    devices: Sequence[str] = (),
    count: int | None = None,
    clock: Clock | None = None,
) -> Outcome:
    """Train every slot's run that is not done.

    One worker is this process; more are processes of their own, each used for many runs. Progress
    is told on standard error.

    Args:
        work: of the sweep.
        slots: that make the study.
        again: keys of those to train although the study has them as done.
        workers: processes that train at the same time.
        devices: GPUs, dealt out to the workers; none: each sees all there are.
        count: how many runs may begin; None: all.
        clock: says how long what is left will take; None: nobody does.

    Raises:
        UserError: the first run cannot begin: data are missing, say.
    """
    keys = [slot.key for slot in slots]
    with Interruption() as interruption, contextlib.closing(work.open()) as queue:
        queue.fill(slots, again)
        metric = work.sweep.metric.name if work.sweep.compares else None
        view = View(queue, keys, metric, bar=workers > 1, clock=clock)
        view.say_what_is_left()
        if workers == 1:
            use_devices(devices)
            tickets = None if count is None else threading.Semaphore(count)
            run_worker(work, view.tell, tickets)
        else:
            _Crew(work, queue, view, devices, workers, count).run()
        view.close()
        if view.refusal is not None:
            raise UserError(view.refusal)
        result = outcome(queue, keys)
        enough = (count is not None and view.ended >= count) or target_reached(work, queue)
        stopped = view.interrupted or interruption.requested
        return dataclasses.replace(
            result, enough=enough, interrupted=stopped and not (enough or result.complete)
        )


def outcome(queue: Queue, keys: Sequence[str]) -> Outcome:
    """Read from the study how its slots stand."""
    attempts = queue.attempts()
    last = [attempts[key] for key in keys if key in attempts]
    states = [trial.state.name for trial in last]
    failed = [(_name(trial), _error(trial)) for trial in last if trial.state.name == "FAIL"]
    return Outcome(
        slots=len(keys),
        finished=states.count("COMPLETE"),
        stopped=states.count("PRUNED"),
        elsewhere=states.count("RUNNING"),
        failed=tuple(failed),
        diverged=sum(map(is_lost, last)),
    )


def _name(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(RUN, f"trial {trial.number}"))


def _error(trial: FrozenTrial) -> str:
    deaths = len(trial.system_attrs.get("retry_history", [])) + 1
    return str(trial.user_attrs.get(ERROR, f"its worker died, {deaths} times"))


class _Crew:
    """Worker processes: started, watched, replaced when they die, asked to stop."""

    def __init__(
        self,
        work: Work,
        queue: Queue,
        view: View,
        devices: Sequence[str],
        workers: int,
        count: int | None,
    ) -> None:
        self._work = dataclasses.replace(work, progress=False)
        self._queue = queue
        self._view = view
        self._hands = [tuple(devices[i::workers]) for i in range(workers)]
        if 0 < len(devices) < workers:
            self._hands = [(devices[i % len(devices)],) for i in range(workers)]
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._tickets = None if count is None else self._context.Semaphore(count)
        self._team: dict[Connection, tuple[int, SpawnProcess]] = {}
        self._deaths = 0
        self._interruption = Interruption()

    @property
    def _stopping(self) -> bool:
        return self._interruption.requested or self._view.refusal is not None

    def run(self) -> None:
        """Work until every worker has ended by itself; a second Ctrl-C ends them at once."""
        with self._interruption, _shared_threads(len(self._hands)):
            try:
                self._work_to_the_end()
            except BaseException:
                _end_at_once()
                raise

    def _work_to_the_end(self) -> None:
        for number in range(len(self._hands)):
            if not self._stopping:
                self._start(number)
        asked = False
        while self._team:
            self._listen()
            if self._stopping and not asked:
                self._ask_to_stop()
                asked = True
            self._view.look()

    def _start(self, number: int) -> None:
        # A pipe for each: a worker that is killed can leave none but its own in disorder.
        ear, mouth = self._context.Pipe(duplex=False)
        arguments = (self._work, mouth, self._tickets, self._hands[number])
        process = self._context.Process(target=_work_in_a_process, args=arguments)
        resource_tracker.ensure_running()  # which lets signals in
        with signals_held_back():
            process.start()
        mouth.close()
        self._team[ear] = number, process

    def _listen(self) -> None:
        """Hear what workers say, for a moment, and see which have ended."""
        for ear in wait(list(self._team), timeout=0.3):
            assert isinstance(ear, Connection)
            try:
                self._view.tell(*ear.recv())
            except (EOFError, OSError):
                self._bury(*self._team.pop(ear))

    def _ask_to_stop(self) -> None:
        """Workers have had Ctrl-C from the terminal themselves; any other signal is handed on."""
        for _, process in self._team.values():
            process.terminate()

    def _bury(self, number: int, process: SpawnProcess) -> None:
        """Put another in the place of a worker that has died, and its run back into the queue."""
        process.join()
        if not process.exitcode or self._stopping:
            return
        self._deaths += 1
        self._queue.requeue_dead()
        if self._tickets is not None:
            self._tickets.release()
        if self._deaths > self._view.begun + DEATHS:
            self._view.say(f"workers keep dying (exit code {process.exitcode}): giving up")
            return
        self._view.say(f"a worker died (exit code {process.exitcode}): starting another")
        self._start(number)


def _end_at_once() -> None:
    """End the workers as a second Ctrl-C does, and kill what has not ended in a moment."""
    workers = multiprocessing.active_children()
    try:
        for process in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGINT)
        deadline = time.monotonic() + MOMENT
        for process in workers:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in workers:
            process.kill()


def _work_in_a_process(work: Work, mouth: Connection, tickets: Any, devices: Sequence[str]) -> None:
    command = multiprocessing.parent_process()
    assert command is not None

    def tell(kind: str, run: str, detail: str) -> None:
        with contextlib.suppress(OSError):  # the command is dead, and this worker about to end
            mouth.send((kind, run, detail))

    with Interruption(), contextlib.suppress(KeyboardInterrupt):
        let_signals_in()
        end_with(int(command.pid or 0), signal.SIGTERM)
        use_devices(devices)
        try:
            run_worker(work, tell, tickets)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            tell("refused", "", f"{error.strerror}: make room, and give the command again")
        leave(0)
    leave(1)


def _cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _shared_threads:
    """While entered, processes that are started share the processor's cores evenly."""

    def __init__(self, workers: int) -> None:
        self._threads = str(max(1, _cores() // workers))
        self._set = "OMP_NUM_THREADS" not in os.environ

    def __enter__(self) -> None:
        if self._set:
            os.environ["OMP_NUM_THREADS"] = self._threads

    def __exit__(self, *_: object) -> None:
        if self._set:
            del os.environ["OMP_NUM_THREADS"]


def print_outcome(result: Outcome) -> None:
    """Say how a sweep stands, and what failed."""
    early = f", {result.stopped} of them stopped early" if result.stopped else ""
    lost = f"; in {result.diverged} of them a network diverged" if result.diverged else ""
    print(f"{result.finished + result.stopped} of {result.slots} runs finished{early}{lost}")
    for name, error in result.failed:
        print(f"failed: {name}: {error}")
    if result.interrupted:
        print("interrupted: the same command continues")
    elif result.left and not result.enough:
        print(f"{result.left} runs are left: the same command continues")
    if result.elsewhere:
        print(f"{result.elsewhere} runs are being trained by other commands")
