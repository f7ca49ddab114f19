"""Local engine: fill the queue, start workers and report the outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from resnet_lab.errors import UserError
from resnet_lab.files import NO_ROOM
from resnet_lab.lifecycle import leave
from resnet_lab.sweeps.duration import Clock
from resnet_lab.sweeps.job import Job
from resnet_lab.sweeps.outcome import Outcome, outcome
from resnet_lab.sweeps.parent_death import end_with
from resnet_lab.sweeps.progress import View
from resnet_lab.sweeps.queue import MAX_DEATHS, Queue, Slot
from resnet_lab.sweeps.worker import Tickets, run_worker, target_reached, use_devices
from resnet_lab.training.interruption import Interruption, let_signals_in, signals_held_back

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

SECONDS_TO_END = 10.0
"""Seconds that workers have to end before they are killed."""


def run_locally(
    job: Job,
    slots: Sequence[Slot],
    clock: Clock,
    *,
    again: Sequence[str],
    workers: int,
    devices: Sequence[str],
    count: int | None,
) -> Outcome:
    """Train the run of every slot that is not done.

    A single worker is this process; several are processes of their own, each used for many runs.
    Progress is printed to standard error.

    Args:
        job: of the sweep.
        slots: that make the study.
        clock: estimates the time left.
        again: keys of slots to train again although the study has them as done.
        workers: processes that train at the same time.
        devices: GPUs, distributed over the workers; none: each sees all there are.
        count: how many runs may begin; None: all.

    Raises:
        UserError: the first run cannot begin, for example because data are missing.
    """
    keys = [slot.key for slot in slots]
    with Interruption() as interruption, contextlib.closing(job.open()) as queue:
        queue.fill(slots, again)
        metric = job.sweep.metric.name if job.sweep.compares else None
        view = View(queue, keys, metric, clock, bar=workers > 1)
        view.say_what_is_left()
        if workers == 1:
            use_devices(devices)
            tickets = None if count is None else threading.Semaphore(count)
            run_worker(job, view.tell, tickets)
        else:
            _Crew(job, queue, view, _dealt_out(devices, workers), count).run()
        view.close()
        if view.refusal is not None:
            raise UserError(view.refusal)
        result = outcome(queue, keys)
        enough = (count is not None and view.ended >= count) or target_reached(job, queue)
        stopped = view.interrupted or interruption.requested
        return dataclasses.replace(
            result, enough=enough, interrupted=stopped and not (enough or result.complete)
        )


def _dealt_out(devices: Sequence[str], workers: int) -> list[Sequence[str]]:
    """The GPUs of each worker; with fewer GPUs than workers, several share one."""
    if 0 < len(devices) < workers:
        return [(devices[i % len(devices)],) for i in range(workers)]
    return [devices[i::workers] for i in range(workers)]


class _Crew:
    """Worker processes: started, watched, replaced when they die, asked to stop."""

    def __init__(
        self,
        job: Job,
        queue: Queue,
        view: View,
        devices: Sequence[Sequence[str]],
        count: int | None,
    ) -> None:
        self._job = dataclasses.replace(job, progress=False)
        self._queue = queue
        self._view = view
        self._devices = devices
        self._context = multiprocessing.get_context("spawn")
        self._tickets = None if count is None else self._context.Semaphore(count)
        self._team: dict[Connection, tuple[int, SpawnProcess]] = {}
        self._deaths = 0
        self._interruption = Interruption()

    @property
    def _stopping(self) -> bool:
        return self._interruption.requested or self._view.refusal is not None

    def run(self) -> None:
        """Work until every worker has ended by itself; a second Ctrl-C ends them at once."""
        with self._interruption, _shared_cores(len(self._devices)):
            try:
                self._work_to_the_end()
            except BaseException:
                _end_at_once()
                raise

    def _work_to_the_end(self) -> None:
        for number in range(len(self._devices)):
            if not self._stopping:
                self._start(number)
        asked = False
        while self._team:
            self._listen()
            if self._stopping and not asked:
                # Workers get Ctrl-C from the terminal directly; other signals are forwarded.
                for _, process in self._team.values():
                    process.terminate()
                asked = True
            self._view.look()

    def _start(self, number: int) -> None:
        # A pipe for each worker: one that is killed can corrupt only its own.
        ear, mouth = self._context.Pipe(duplex=False)
        arguments = (self._job, mouth, self._tickets, self._devices[number])
        process = self._context.Process(target=_work_in_a_process, args=arguments)
        resource_tracker.ensure_running()  # which unblocks signals
        with signals_held_back():
            process.start()
        mouth.close()
        self._team[ear] = number, process

    def _listen(self) -> None:
        """Read the workers' messages for a moment, and see which workers have ended."""
        for ear in wait(list(self._team), timeout=0.3):
            assert isinstance(ear, Connection)
            try:
                self._view.tell(*ear.recv())
            except (EOFError, OSError):
                self._bury(*self._team.pop(ear))

    def _bury(self, number: int, process: SpawnProcess) -> None:
        """Replace a worker that has died, and put its run back into the queue."""
        process.join()
        if not process.exitcode or self._stopping:
            return
        self._deaths += 1
        self._queue.requeue_dead()
        if self._tickets is not None:
            self._tickets.release()
        died = f"(exit code {process.exitcode})"
        if self._deaths > self._view.begun + MAX_DEATHS:
            self._view.say(f"workers keep dying {died}: giving up")
            return
        self._view.say(f"a worker died {died}: starting another")
        self._start(number)


def _end_at_once() -> None:
    """End the workers after a second Ctrl-C, and kill those that do not end in time."""
    workers = multiprocessing.active_children()
    try:
        for process in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGINT)
        deadline = time.monotonic() + SECONDS_TO_END
        for process in workers:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in workers:
            process.kill()


def _work_in_a_process(
    job: Job, mouth: Connection, tickets: Tickets | None, devices: Sequence[str]
) -> None:
    command = multiprocessing.parent_process()
    assert command is not None

    def tell(kind: str, run: str, detail: str) -> None:
        with contextlib.suppress(OSError):  # the command is dead, so this worker will end
            mouth.send((kind, run, detail))

    with Interruption(), contextlib.suppress(KeyboardInterrupt):
        let_signals_in()
        end_with(int(command.pid or 0), signal.SIGTERM)
        use_devices(devices)
        try:
            run_worker(job, tell, tickets)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            tell("refused", "", f"{error.strerror}: make room, and give the command again")
        leave(0)
    leave(1)


@contextlib.contextmanager
def _shared_cores(workers: int) -> Iterator[None]:
    """While entered, started processes share this one's cores evenly."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ["OMP_NUM_THREADS"] = str(max(1, (mine or 1) // workers))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
