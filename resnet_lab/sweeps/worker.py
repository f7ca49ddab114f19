"""A sweep's worker: take runs from the queue and train them until none is left."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from resnet_lab.configuration.config import Config
from resnet_lab.errors import RunHeld, UserError
from resnet_lab.runs.directory import RunDirectory, read_info
from resnet_lab.sweeps.job import Job
from resnet_lab.sweeps.metric import (
    RESULTS,
    best_value,
    final_value,
    result_in_words,
    results,
    shown_metric,
    split_metric,
)
from resnet_lab.sweeps.missing_runs import place_of
from resnet_lab.sweeps.pruning import TrialJudge
from resnet_lab.sweeps.queue import ERROR, EVALUATIONS, FAILURES, PLACE, RUN, SLOT, Queue
from resnet_lab.sweeps.storage import patiently
from resnet_lab.training.interruption import Interruption

if TYPE_CHECKING:
    import threading
    from multiprocessing import synchronize

    from optuna import Trial

Tell = Callable[[str, str, str], None]
"""Callback for events: (kind, run, detail). Kinds are begun, finished, stopped, interrupted,
failed, left (another process trains the run) and refused (the user has to act first: the first run
cannot begin, or the journal's disk is full)."""
Tickets: TypeAlias = "threading.Semaphore | synchronize.Semaphore"
"""How many more runs may begin, over all workers."""
LONGEST_PAUSE = 60.0
"""Most seconds between two attempts at a run that another process trains."""


class _Stopped(Exception):
    """The worker must end: it was interrupted, or the user has to act first."""


class _Left:
    """Slots to skip: those that the sweep no longer wants or that other processes train.

    The latter are skipped for a second, and longer each time.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pauses: dict[object, tuple[float, float]] = {}

    def leave(self, slot: str) -> None:
        pause = min(2 * self._pauses.get(slot, (0.5, 0))[0], LONGEST_PAUSE)
        self._pauses[slot] = pause, time.monotonic() + pause

    def __contains__(self, slot: object) -> bool:
        wanted = self._job.has(None if slot is None else str(slot))
        return not wanted or time.monotonic() < self._pauses.get(slot, (0.0, 0.0))[1]


def run_worker(job: Job, tell: Tell, tickets: Tickets | None = None) -> None:
    """Train runs until none waits and no other worker's may return, or until interrupted.

    Args:
        job: of the sweep.
        tell: called for each run's events.
        tickets: shared by the whole command; None: no limit.
    """
    with (
        Interruption() as interruption,
        contextlib.closing(job.open()) as queue,
        contextlib.suppress(_Stopped),
    ):
        worker = _Worker(job, queue, tell, tickets, interruption)
        while not interruption.requested and worker.one():
            pass


@dataclass
class _Worker:
    job: Job
    queue: Queue
    tell: Tell
    tickets: Tickets | None
    interruption: Interruption
    left: _Left = field(init=False)

    def __post_init__(self) -> None:
        self.left = _Left(self.job)

    def one(self) -> bool:
        """Train the next run; False when there is none."""
        if target_reached(self.job, self.queue):
            return False
        if self.tickets is not None and not self.tickets.acquire(False):
            return False
        trial = self.next_trial()
        begun = trial is not None
        if trial is not None:
            with self.queue.heartbeat(trial):
                begun = self.train(trial)
        if not begun and self.tickets is not None:
            self.tickets.release()
        return trial is not None

    def next_trial(self) -> Trial | None:
        """Take a waiting run. While others train, wait long enough to notice a dead worker.

        Waits without limit for runs that other processes train.
        """
        deadline = time.monotonic() + self.queue.grace + 1
        while not self.interruption.requested:
            self.queue.requeue_dead()
            trial = self.queue.take(self.left)
            if trial is not None:
                return trial
            waiting, running = (
                any(self.job.has(trial.user_attrs.get(SLOT)) for trial in trials)
                for trials in (self.queue.waiting(), self.queue.running())
            )
            if not waiting and (not running or time.monotonic() > deadline):
                return None
            time.sleep(min(1.0, self.job.heartbeat / 2))
        return None

    def train(self, trial: Trial) -> bool:
        """Train a run; False if another process trains it."""
        name = f"trial {trial.number}"
        try:
            config = patiently(lambda: self.job.config(trial))
            name = RunDirectory.of(config).path.name
            recipe = config.recipe
            evaluations = max(1, recipe.iterations // recipe.evaluate_every)
            noted = {RUN: name, PLACE: place_of(self.job.folder), EVALUATIONS: evaluations}
            for attribute, value in noted.items():
                self.queue.note(trial, attribute, value)
            self.tell("begun", name, "")
            info = read_info(self.run(config, trial))
            self.check_measured(info)
        except RunHeld as error:
            self.left.leave(trial.user_attrs[SLOT])
            self.queue.put_back(trial)
            self.tell("left", name, str(error))
            return False
        except Exception as error:
            self.failed(trial, name, error)
            return True
        except BaseException as error:
            self.queue.put_back(trial)
            if not isinstance(error, KeyboardInterrupt):
                raise
            self.tell("interrupted", name, "before its next step")
            raise _Stopped from error
        self.conclude(trial, info)
        return True

    def run(self, config: Config, trial: Trial) -> Path:
        """Train in this process, or start the processes of a multi-process run."""
        if config.trainer.processes > 1:
            from resnet_lab.sweeps.ranks import train_in_ranks

            return train_in_ranks(self.job, config, trial)
        sweep = self.job.sweep
        stops = sweep.early_terminate is not None
        judge = patiently(lambda: TrialJudge(trial, config, sweep.metric.name, stops))
        return self.job.train(config, judge)

    def check_measured(self, info: Mapping[str, Any]) -> None:
        """Raise UserError if a finished run lacks the number by which runs are compared."""
        sweep = self.job.sweep
        wanted = split_metric(sweep.metric.name)[1]
        compares = sweep.compares and info["status"] == "finished"
        if compares and shown_metric(info, wanted) != wanted:
            raise UserError(
                f"metric is '{wanted}', which the run does not have: a top-5 error needs data of "
                "100 classes or more; choose validation_error or validation_loss"
            )

    def conclude(self, trial: Trial, info: Mapping[str, Any]) -> None:
        """Record and report how a run has ended."""
        name, status, metric = info["name"], info["status"], self.job.sweep.metric.name
        if status == "finished":
            self.queue.note(trial, RESULTS, results(info, metric))
            self.queue.end(trial, "COMPLETE", final_value(info, metric))
            self.tell("finished", name, result_in_words(info, metric))
        elif status == "stopped":
            self.queue.end(trial, "PRUNED")
            self.tell("stopped", name, f"at step {info['step']:,}")
        else:
            self.queue.put_back(trial)
            self.tell("interrupted", name, f"at step {info['step']:,}")
            raise _Stopped

    def failed(self, trial: Trial, name: str, error: Exception) -> None:
        """Record an error, and queue the run again if retries are left.

        Before the command has trained anything, a user's mistake is reported, not counted.
        """
        if isinstance(error, UserError) and not self.others_train(trial):
            self.queue.put_back(trial)
            self.tell("refused", name, str(error))
            raise _Stopped
        text = f"{type(error).__name__}: {error}"
        failures = trial.user_attrs.get(FAILURES, 0)
        self.queue.note(trial, ERROR, text)
        ended = self.queue.end(trial, "FAIL")
        if failures < self.job.retries:
            self.queue.retry(ended, {FAILURES: failures + 1})
            text += f" (trying again, {failures + 1} of {self.job.retries})"
        self.tell("failed", name, text)

    def others_train(self, mine: Trial) -> bool:
        """Whether another run is being trained, or has been since this command began.

        A run counts once it has a directory: until then its worker may find the same mistake.
        """
        trials = self.queue.attempts().values()
        ended = [trial.datetime_complete for trial in trials if trial.value is not None]
        since = any(when is not None and when.timestamp() >= self.job.began for when in ended)
        others = [trial for trial in self.queue.running() if trial.number != mine.number]
        names = [str(trial.user_attrs.get(RUN)) for trial in others]
        return since or any((self.job.folder / name / "run.json").exists() for name in names)


def target_reached(job: Job, queue: Queue) -> bool:
    """Whether a run has reached the metric's target, so that no further run is needed."""
    target = job.sweep.metric.target
    if target is None:
        return False
    best = best_value(queue.attempts().values())
    return best is not None and best <= target


def use_devices(devices: Sequence[str]) -> None:
    """Make only these GPUs visible to this process; with none given, change nothing."""
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
