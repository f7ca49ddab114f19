"""The runs of a study as a queue that any number of workers share, each run taken once.

A slot is a run that the study wants: a point of a grid, known by its run's identity, or the n-th
draw of a search. An attempt at it is an Optuna trial, which waits in the storage until exactly one
worker takes it. A slot's state is that of its last attempt.

Grids use a study too: Hyperband, retries, dashboards and machines without a shared disk need one.
Finished directories and locks alone would be a second mechanism.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.runs.owner import Owner
from resnet_lab.sweeps.storage import away, close, patiently

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

SLOT = "slot"
RUN = "run"
PLACE = "place"
FLAGS = "flags"
EVALUATIONS = "evaluations"
ERROR = "error"
FAILURES = "failures"
DEATHS = "deaths"
AGAIN = "again_after"
DUPLICATE = "duplicate_of"
OWNER = "owner"
"""User attributes of trials: the slot's key, the run directory's name, its machine and folder, a
search's drawn values, the run's number of evaluations, its error, the numbers of earlier errors and
of dead workers, the superseded attempts, the attempt that supersedes this one, and the worker's
process (empty while no worker has it)."""
HEARTBEAT = "heartbeat"
"""System attribute of a trial: its worker's last heartbeat, in seconds since 1970."""
GRACE = 3
"""Heartbeats that a worker may miss before it counts as dead."""
MAX_DEATHS = 3
"""How often a run whose worker died is tried again, so that a run that kills its workers ends."""


@dataclass(frozen=True)
class Slot:
    """An entry of the queue.

    Attributes:
        key: identity among the slots of the study.
        settings: the flags of a grid's point, shown in dashboards; empty for a search.
    """

    key: str
    settings: Mapping[str, str]


class Queue:
    """The slots of one study in a storage; calls wait while the storage is unreachable.

    Args:
        study: an Optuna study.
        storage: the storage that it is in.
        heartbeat: seconds between two heartbeats of a worker.
    """

    def __init__(self, study: Study, storage: BaseStorage, heartbeat: int = 30) -> None:
        self.study = study
        self.storage = storage
        self.grace = GRACE * heartbeat
        self._heartbeat = heartbeat
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._heard: dict[int, tuple[float | None, float]] = {}

    def close(self) -> None:
        """Close the connections of this process to a database; a journal has none."""
        close(self.storage)

    def trials(self) -> list[FrozenTrial]:
        """All attempts at slots, without duplicates that were given up."""
        every = self._all()
        return [t for t in every if SLOT in t.user_attrs and DUPLICATE not in t.user_attrs]

    def attempts(self) -> dict[str, FrozenTrial]:
        """The last attempt at each slot."""
        return {trial.user_attrs[SLOT]: trial for trial in self.trials()}

    def waiting(self) -> list[FrozenTrial]:
        """The runs that no worker has."""
        return self._all("WAITING")

    def running(self) -> list[FrozenTrial]:
        """The runs that workers have, dead workers included."""
        return self._all("RUNNING")

    def _all(self, state: str | None = None) -> list[FrozenTrial]:
        """All trials of the study, read-only."""
        from optuna.trial import TrialState

        states = None if state is None else (TrialState[state],)
        read = partial(self.storage.get_all_trials, deepcopy=False, states=states)
        return patiently(partial(read, self._study_id))

    def fill(self, slots: Iterable[Slot], again: Iterable[str] = ()) -> None:
        """Queue every slot that has no attempt yet, whose last failed, or that is asked for again.

        Two commands may fill the same study at once: `take` sorts that out.
        """
        known, again = self.attempts(), set(again)
        for slot in slots:
            last = known.get(slot.key)
            if last is None:
                self.study.enqueue_trial({}, user_attrs={SLOT: slot.key, **slot.settings})
            elif last.state.name == "FAIL":
                self.retry(last)
            elif slot.key in again and last.state.is_finished():
                self.retry(last, {AGAIN: last.number})

    def take(self, left: Container[str] = ()) -> Trial | None:
        """Take the first waiting run; None when none waits.

        Args:
            left: keys of slots to pass over.
        """
        import optuna

        for frozen in sorted(self.waiting(), key=lambda trial: trial.number):
            if frozen.user_attrs.get(SLOT) in left:
                continue
            mine = self._change(frozen, "RUNNING")
            if mine and not self._give_up_duplicate(frozen):
                # Optuna's database cache rejects values for a trial that it has not read yet.
                patiently(partial(self.study.get_trials, deepcopy=False))
                trial = patiently(partial(optuna.Trial, self.study, self._id(frozen)))
                self.note(trial, OWNER, str(Owner.here()))
                return trial
        return None

    def _give_up_duplicate(self, mine: FrozenTrial) -> bool:
        """Give this attempt up if an earlier one at its slot has not failed."""
        numbers = range(mine.user_attrs.get(AGAIN, -1) + 1, mine.number)
        for other in self._all():
            same = other.user_attrs.get(SLOT) == mine.user_attrs[SLOT]
            if same and other.number in numbers and other.state.name != "FAIL":
                self.note(mine, DUPLICATE, other.number)
                self._change(mine, "FAIL")
                return True
        return False

    def put_back(self, trial: Trial) -> None:
        """Put an interrupted run of this worker back into the queue."""
        self.note(trial, OWNER, "")
        self._change(trial, "WAITING")

    def note(self, trial: FrozenTrial | Trial, name: str, value: Any) -> None:
        """Set a user attribute of a trial, unless another worker has taken it over."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):
            number = self._id(trial)
            patiently(partial(self.storage.set_trial_user_attr, number, name, value))

    def end(self, trial: Trial, state: str, value: float | None = None) -> FrozenTrial:
        """Set the final state of a run, unless another worker has taken it over."""
        from optuna.trial import TrialState

        tell = partial(self.study.tell, skip_if_finished=True)
        return patiently(partial(tell, trial, value, TrialState[state]))

    def _change(self, trial: FrozenTrial | Trial, state: str) -> bool:
        """Change a trial's state; False if it has ended or another worker has it."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        change = partial(self.storage.set_trial_state_values, self._id(trial))
        with suppress(UpdateFinishedTrialError):
            return patiently(partial(change, TrialState[state]))
        return False

    def _id(self, trial: FrozenTrial | Trial) -> int:
        """The storage's id of a trial."""
        find = self.storage.get_trial_id_from_study_id_trial_number
        return patiently(partial(find, self._study_id, trial.number))

    def retry(
        self,
        trial: FrozenTrial,
        attributes: Mapping[str, Any] | None = None,
        evaluations: Mapping[int, float] | None = None,
    ) -> None:
        """Queue a run once more, with the same values, and these attributes and evaluations."""
        import optuna

        past = (OWNER, ERROR, FAILURES, DEATHS)
        kept = {name: value for name, value in trial.user_attrs.items() if name not in past}
        once_more = optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={**kept, **(attributes or {})},
            intermediate_values=dict(evaluations or {}),
        )
        patiently(partial(self.study.add_trial, once_more))

    @contextmanager
    def heartbeat(self, trial: Trial) -> Iterator[None]:
        """While entered, send heartbeats for this trial."""
        done = threading.Event()
        arguments = self._id(trial), done
        thread = threading.Thread(target=self._beat, args=arguments, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _beat(self, trial_id: int, done: threading.Event) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        while True:
            # The storage is unreachable or its disk full and the next heartbeat may succeed, or
            # others took this worker for dead. What ends the sweep the worker itself will meet.
            with suppress(*away(), OSError, UpdateFinishedTrialError):
                self.storage.set_trial_system_attr(trial_id, HEARTBEAT, time.time())
            if done.wait(self._heartbeat):
                return

    def requeue_dead(self) -> None:
        """Queue the runs of dead workers again: dead processes, or no heartbeat for too long."""
        for trial in self.running():
            # Another worker may have queued it already.
            dead = _has_died(trial) or self._silence(trial) > self.grace
            if dead and self._change(trial, "FAIL"):
                failures, deaths = (trial.user_attrs.get(name, 0) for name in (FAILURES, DEATHS))
                if deaths < MAX_DEATHS:
                    counts = {FAILURES: failures, DEATHS: deaths + 1}
                    self.retry(trial, counts, trial.intermediate_values)

    def _silence(self, trial: FrozenTrial) -> float:
        """Seconds since this process saw a new heartbeat, as clocks of machines differ."""
        sign, now = trial.system_attrs.get(HEARTBEAT), time.monotonic()
        if trial.number not in self._heard or self._heard[trial.number][0] != sign:
            self._heard[trial.number] = sign, now
        return now - self._heard[trial.number][1]

    def dead(self) -> set[int]:
        """Numbers of the running trials whose workers seem to be dead at a single look.

        For workers on other machines this trusts their clocks: report it, do not act on it.
        """
        latest = time.time() - self.grace
        return {
            trial.number
            for trial in self.running()
            if _has_died(trial) or trial.system_attrs.get(HEARTBEAT, latest) < latest
        }


def _has_died(trial: FrozenTrial) -> bool:
    """Whether a trial's worker is known to be dead, which only its own machine can tell."""
    owner = trial.user_attrs.get(OWNER)
    return owner is not None and owner != "" and Owner.parse(owner).is_dead()


def open_study(name: str, storage: BaseStorage, fingerprint: str | None) -> Study:
    """Open or create a study.

    Args:
        name: of the study.
        storage: where it is.
        fingerprint: of a search's parameters; None for a grid, which may grow.

    Raises:
        UserError: the study was begun with other parameters.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    begun: dict[str, Any] = study.user_attrs
    if begun.get("fingerprint", fingerprint) != fingerprint:
        raise UserError(
            f"study '{name}' was begun with other parameters, and a search cannot change them on "
            "its way: give another name with --study"
        )
    if "fingerprint" not in begun:
        study.set_user_attr("fingerprint", fingerprint)
    return study
