"""One worker of a sweep: it takes runs from the queue and trains them until none is left."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory, read_info
from resnet_lab.sweeps.heartbeat import Heartbeat
from resnet_lab.sweeps.queue import ERROR, EVALUATIONS, FAILURES, RUN, Queue
from resnet_lab.sweeps.storage import GRACE
from resnet_lab.sweeps.verdict import TrialJudge, final_value, in_words
from resnet_lab.sweeps.work import Work
from resnet_lab.training.config import Config
from resnet_lab.training.interruption import Interruption

if TYPE_CHECKING:
    from optuna import Trial

Tell = Callable[[str, str, str], None]
"""Told of what happens: (kind, run, detail); kinds are begun, finished, stopped, interrupted,
failed, and refused, when the first run cannot begin by the user's mistake."""


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


def run_worker(work: Work, tell: Tell, tickets: Tickets | None = None) -> None:
    """Train runs until none waits, none is left to fear for, or the worker is interrupted.

    Args:
        work: of the sweep.
        tell: hears of each run.
        tickets: of the whole command; None: as many runs as there are.
    """
    with (
        contextlib.closing(work.open()) as queue,
        Interruption() as interruption,
        contextlib.suppress(_Stopped),
    ):
        while not interruption.requested and _one(work, queue, tell, tickets, interruption):
            pass


def _one(
    work: Work, queue: Queue, tell: Tell, tickets: Tickets | None, interruption: Interruption
) -> bool:
    """Train the next run; False when there is none."""
    if _reached(work, queue) or (tickets is not None and not tickets.acquire(False)):
        return False
    trial = _next(work, queue, interruption)
    if trial is None:
        if tickets is not None:
            tickets.release()
        return False
    with Heartbeat(queue.storage, trial, work.heartbeat):
        _train(work, queue, trial, tell)
    return True


def _next(work: Work, queue: Queue, interruption: Interruption) -> Trial | None:
    """Take a waiting run. Where others still train, stay long enough to see one of them die."""
    deadline = time.monotonic() + GRACE * work.heartbeat + 1
    while not interruption.requested:
        queue.requeue_dead()
        trial = queue.take()
        if trial is not None:
            return trial
        if not queue.running() or time.monotonic() > deadline:
            return None
        time.sleep(min(1.0, work.heartbeat / 2))
    return None


def _reached(work: Work, queue: Queue) -> bool:
    """Whether a run has come down to the metric's target, so that no further one is needed."""
    target = work.sweep.metric.target
    if target is None:
        return False
    values = [trial.value for trial in queue.attempts().values() if trial.value is not None]
    return any(value <= target for value in values)


def _train(work: Work, queue: Queue, trial: Trial, tell: Tell) -> None:
    name = f"trial {trial.number}"
    try:
        config = work.config(trial)
        name = RunDirectory.of(config).path.name
        trial.set_user_attr(RUN, name)
        recipe = config.recipe
        trial.set_user_attr(EVALUATIONS, max(1, recipe.iterations // recipe.evaluate_every))
        tell("begun", name, "")
        stops = work.sweep.early_terminate is not None
        judge = TrialJudge(trial, config, work.sweep.metric.name, stops)
        info = read_info(_run(work, config, judge, trial))
    except Exception as error:
        _failed(work, queue, trial, tell, name, error)
        return
    except BaseException:
        queue.put_back(trial)
        raise
    _conclude(work, queue, trial, tell, info)


def _run(work: Work, config: Config, judge: TrialJudge, trial: Trial) -> Path:
    """Train here, or, where several processes train together, in a process group of their own."""
    if config.trainer.processes == 1:
        return work.train(config, judge)
    from resnet_lab.sweeps.group import train_in_group

    return train_in_group(work, config, trial)


def _conclude(work: Work, queue: Queue, trial: Trial, tell: Tell, info: Mapping[str, Any]) -> None:
    from optuna.trial import TrialState

    name, status = str(info["name"]), str(info["status"])
    if status == "finished":
        value = final_value(info, work.sweep.metric.name)
        _patiently(lambda: queue.study.tell(trial, value, skip_if_finished=True))
        tell("finished", name, in_words(work.sweep.metric.name, value))
    elif status == "stopped":
        _patiently(lambda: queue.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True))
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

    if isinstance(error, UserError) and not _others_train(work, queue):
        queue.put_back(trial)
        tell("refused", name, str(error))
        raise _Stopped
    text = f"{type(error).__name__}: {error}"
    failures = trial.user_attrs.get(FAILURES, 0)
    trial.set_user_attr(ERROR, text)
    frozen = queue.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    if failures < work.retries:
        queue.retry(frozen, {FAILURES: failures + 1})
        text += f" (trying again, {failures + 1} of {work.retries})"
    tell("failed", name, text)


def _others_train(work: Work, queue: Queue) -> bool:
    """Whether another run is being trained, or has been since this command began."""
    ended = [trial.datetime_complete for trial in queue.attempts().values() if trial.value]
    since = any(when is not None and when.timestamp() >= work.began for when in ended)
    return since or len(queue.running()) > 1


def _patiently(act: Callable[[], Any]) -> None:
    """Do what needs the storage, and wait for it for ten minutes if it is away."""
    from optuna.exceptions import StorageInternalError

    for pause in (1, 2, 5, 10, 30, 60, 120, 180, 192):
        try:
            act()
            return
        except StorageInternalError:
            time.sleep(pause)
    act()


def use_devices(devices: Sequence[str]) -> None:
    """Let this process see these GPUs only; none given: as it is."""
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
