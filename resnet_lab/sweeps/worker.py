"""One worker of a sweep: it takes runs from the queue and trains them until none is left."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from resnet_lab.configuration.config import Config
from resnet_lab.errors import RunHeld, UserError
from resnet_lab.runs.directory import RunDirectory, read_info
from resnet_lab.sweeps.heartbeat import Heartbeat
from resnet_lab.sweeps.presence import place_of
from resnet_lab.sweeps.queue import ERROR, EVALUATIONS, FAILURES, PLACE, RUN, SLOT, Queue
from resnet_lab.sweeps.storage import GRACE, patiently
from resnet_lab.sweeps.verdict import (
    RESULTS,
    TrialJudge,
    best_value,
    final_value,
    result_in_words,
    results,
    shown_metric,
    split_metric,
)
from resnet_lab.sweeps.work import Work
from resnet_lab.training.interruption import Interruption

if TYPE_CHECKING:
    from optuna import Trial

Tell = Callable[[str, str, str], None]
"""Told of what happens: (kind, run, detail); kinds are begun, finished, stopped, interrupted,
failed, left, when another process trains the run, and refused, when the user has to act first: the
first run cannot begin by a mistake, or the journal's disk is full."""
LONGEST_PAUSE = 60.0
"""Seconds after which a run that another process trains is looked at again, at the latest."""


class Tickets(Protocol):
    """How many more runs may begin, over all workers."""

    def acquire(self, block: bool = ...) -> bool:
        """Take one; False when none is left."""
        ...

    def release(self) -> None:
        """Give one back."""
        ...


class _Stopped(Exception):
    """The worker is to end: it was interrupted, or the user has to act first."""


class _Left:
    """Slots that are not taken: what the sweep no longer wants, and what other processes train.

    The latter are left to them for a second, and longer each time.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pauses: dict[str, float] = {}
        self._ends: dict[str, float] = {}

    def leave(self, slot: str) -> None:
        pause = min(2 * self._pauses.get(slot, 0.5), LONGEST_PAUSE)
        self._pauses[slot], self._ends[slot] = pause, time.monotonic() + pause

    def __contains__(self, slot: object) -> bool:
        wanted = self._work.has(None if slot is None else str(slot))
        return not wanted or time.monotonic() < self._ends.get(str(slot), 0.0)


def run_worker(work: Work, tell: Tell, tickets: Tickets | None = None) -> None:
    """Train runs until none waits, none is left to fear for, or the worker is interrupted.

    Args:
        work: of the sweep.
        tell: hears of each run.
        tickets: of the whole command; None: as many runs as there are.
    """
    with (
        Interruption() as interruption,
        contextlib.closing(work.open()) as queue,
        contextlib.suppress(_Stopped),
    ):
        left = _Left(work)
        while not interruption.requested and _one(work, queue, tell, tickets, interruption, left):
            pass


def _one(
    work: Work,
    queue: Queue,
    tell: Tell,
    tickets: Tickets | None,
    interruption: Interruption,
    left: _Left,
) -> bool:
    """Train the next run; False when there is none."""
    if target_reached(work, queue) or (tickets is not None and not tickets.acquire(False)):
        return False
    trial = _next(work, queue, interruption, left)
    begun = trial is not None
    if trial is not None:
        with Heartbeat(queue.storage, trial, work.heartbeat):
            begun = _train(work, queue, trial, tell, left)
    if not begun and tickets is not None:
        tickets.release()
    return trial is not None


def _next(work: Work, queue: Queue, interruption: Interruption, left: _Left) -> Trial | None:
    """Take a waiting run. Where others still train, stay long enough to see one of them die.

    Runs that are left to other processes are waited for as long as it takes.
    """
    deadline = time.monotonic() + GRACE * work.heartbeat + 1
    while not interruption.requested:
        queue.requeue_dead()
        trial = queue.take(left)
        if trial is not None:
            return trial
        waiting, running = (
            any(work.has(trial.user_attrs.get(SLOT)) for trial in trials)
            for trials in (queue.waiting(), queue.running())
        )
        if not waiting and (not running or time.monotonic() > deadline):
            return None
        time.sleep(min(1.0, work.heartbeat / 2))
    return None


def target_reached(work: Work, queue: Queue) -> bool:
    """Whether a run has come down to the metric's target, so that no further one is needed."""
    target = work.sweep.metric.target
    if target is None:
        return False
    best = best_value(queue.attempts().values())
    return best is not None and best <= target


def _train(work: Work, queue: Queue, trial: Trial, tell: Tell, left: _Left) -> bool:
    """Train a run; False when another process does."""
    name = f"trial {trial.number}"
    try:
        config = patiently(lambda: work.config(trial))
        name = RunDirectory.of(config).path.name
        queue.note(trial, RUN, name)
        queue.note(trial, PLACE, place_of(work.folder))
        recipe = config.recipe
        queue.note(trial, EVALUATIONS, max(1, recipe.iterations // recipe.evaluate_every))
        tell("begun", name, "")
        stops = work.sweep.early_terminate is not None
        judge = patiently(lambda: TrialJudge(trial, config, work.sweep.metric.name, stops))
        info = read_info(_run(work, config, judge, trial))
        _check_measured(work, info)
    except RunHeld as error:
        left.leave(trial.user_attrs[SLOT])
        queue.put_back(trial)
        tell("left", name, str(error))
        return False
    except Exception as error:
        _failed(work, queue, trial, tell, name, error)
        return True
    except BaseException as error:
        queue.put_back(trial)
        if not isinstance(error, KeyboardInterrupt):
            raise
        tell("interrupted", name, "before its next step")
        raise _Stopped from error
    _conclude(work, queue, trial, tell, info)
    return True


def _run(work: Work, config: Config, judge: TrialJudge, trial: Trial) -> Path:
    """Train here, or, where several processes train together, in a process group of their own."""
    if config.trainer.processes == 1:
        return work.train(config, judge)
    from resnet_lab.sweeps.group import train_in_group

    return train_in_group(work, config, trial)


def _check_measured(work: Work, info: Mapping[str, Any]) -> None:
    """Raise UserError where runs are compared by a number that the finished run does not have."""
    wanted = split_metric(work.sweep.metric.name)[1]
    compares = work.sweep.compares and info["status"] == "finished"
    if compares and shown_metric(info, wanted) != wanted:
        raise UserError(
            f"metric is '{wanted}', which the run does not have: a top-5 error needs data of 100 "
            "classes or more; choose validation_error or validation_loss"
        )


def _conclude(work: Work, queue: Queue, trial: Trial, tell: Tell, info: Mapping[str, Any]) -> None:
    from optuna.trial import TrialState

    name, status = str(info["name"]), str(info["status"])
    if status == "finished":
        metric = work.sweep.metric.name
        queue.note(trial, RESULTS, results(info, metric))
        value = final_value(info, metric)
        patiently(lambda: queue.study.tell(trial, value, skip_if_finished=True))
        tell("finished", name, result_in_words(info, metric))
    elif status == "stopped":
        patiently(lambda: queue.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True))
        tell("stopped", name, f"at step {info['step']:,}")
    else:
        queue.put_back(trial)
        tell("interrupted", name, f"at step {info['step']:,}")
        raise _Stopped


def _failed(
    work: Work, queue: Queue, trial: Trial, tell: Tell, name: str, error: Exception
) -> None:
    """Write down what went wrong; try again if that is wanted.

    Before the command has trained anything, a mistake of the user's is no failure: it is said.
    """
    from optuna.trial import TrialState

    if isinstance(error, UserError) and not _others_train(work, queue, trial):
        queue.put_back(trial)
        tell("refused", name, str(error))
        raise _Stopped
    text = f"{type(error).__name__}: {error}"
    failures = trial.user_attrs.get(FAILURES, 0)
    queue.note(trial, ERROR, text)
    frozen = patiently(
        lambda: queue.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    )
    if failures < work.retries:
        patiently(lambda: queue.retry(frozen, {FAILURES: failures + 1}))
        text += f" (trying again, {failures + 1} of {work.retries})"
    tell("failed", name, text)


def _others_train(work: Work, queue: Queue, mine: Trial) -> bool:
    """Whether another run is being trained, or has been since this command began.

    A run that a worker has taken counts once it has a directory: its worker may be about to find
    the same mistake.
    """
    trials = queue.attempts().values()
    ended = [trial.datetime_complete for trial in trials if trial.value is not None]
    since = any(when is not None and when.timestamp() >= work.began for when in ended)
    others = [trial for trial in queue.running() if trial.number != mine.number]
    names = [str(trial.user_attrs.get(RUN)) for trial in others]
    return since or any((work.folder / name / "run.json").exists() for name in names)


def use_devices(devices: Sequence[str]) -> None:
    """Let this process see these GPUs only; none given: as it is."""
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
