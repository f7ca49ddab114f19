"""The runs of a study as a queue that any number of workers share, each run taken once.

A slot is a run that the study wants: a point of a grid, known by its run's identity, or the n-th
draw of a search. An attempt at it is an Optuna trial, which waits in the storage until one worker,
and one only, takes it. A slot's last attempt says how it stands.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.runs.owner import Owner
from resnet_lab.sweeps.storage import GRACE, OWNER, close, patiently, retry_after_death

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

SLOT = "slot"
RUN = "run"
PLACE = "place"
FLAGS = "flags"
EVALUATIONS = "evaluations"
ERROR = "error"
FAILURES = "failures"
AGAIN = "again_after"
DUPLICATE = "duplicate_of"
"""User attributes of trials, beside OWNER: the slot's key, the run directory's name, the machine
and folder that it was written to, what a search has drawn, how many evaluations make the run, what
went wrong, how often it had before, the attempts that no longer count, and the attempt that counts
instead of this one."""


@dataclass(frozen=True)
class Slot:
    """What stands in the queue.

    Attributes:
        key: identity among the slots of the study.
        settings: the flags of a grid's point, shown in dashboards; empty for a search.
    """

    key: str
    settings: Mapping[str, str]


class Queue:
    """The slots of one study in a storage, which is waited for where it is away.

    Args:
        study: an Optuna study.
        storage: the storage that it is in.
        heartbeat: seconds between two signs of life of a worker.
    """

    def __init__(self, study: Study, storage: BaseStorage, heartbeat: int = 30) -> None:
        self._heartbeat = heartbeat
        self.study = study
        self.storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)
        self._ownerless: dict[int, float] = {}

    def close(self) -> None:
        """Close the connections of this process to a database; a journal has none."""
        close(self.storage)

    def trials(self) -> list[FrozenTrial]:
        """All attempts at slots, those left out that were given up for another one."""
        every = self._all()
        return [t for t in every if SLOT in t.user_attrs and DUPLICATE not in t.user_attrs]

    def _all(self, states: tuple[TrialState, ...] | None = None) -> list[FrozenTrial]:
        """Everything in the study, to be looked at only."""
        return patiently(
            lambda: self.storage.get_all_trials(self._id, deepcopy=False, states=states)
        )

    def attempts(self) -> dict[str, FrozenTrial]:
        """The last attempt at each slot."""
        return {trial.user_attrs[SLOT]: trial for trial in self.trials()}

    def fill(self, slots: Iterable[Slot], again: Iterable[str] = ()) -> None:
        """Queue every slot that has no attempt yet, whose last failed, or that is asked for again.

        Two commands may fill the same study at once: `take` sorts that out.
        """
        from optuna.trial import TrialState

        known, again = self.attempts(), set(again)
        for slot in slots:
            last = known.get(slot.key)
            if last is None:
                self.study.enqueue_trial({}, user_attrs={SLOT: slot.key, **slot.settings})
            elif last.state == TrialState.FAIL:
                self.retry(last)
            elif slot.key in again and last.state.is_finished():
                self.retry(last, {AGAIN: last.number})

    def take(self, left: Container[str] = ()) -> Trial | None:
        """Take the first waiting run; None when none waits.

        Args:
            left: keys of slots to pass over.
        """
        import optuna
        from optuna.trial import TrialState

        for frozen in sorted(self.waiting(), key=lambda trial: trial.number):
            if frozen.user_attrs.get(SLOT) in left:
                continue
            mine = self._change(frozen, TrialState.RUNNING)
            if mine and not self._give_up_duplicate(frozen):
                # Optuna's cache of a database takes no value of a trial that it has not read yet.
                patiently(partial(self.study.get_trials, deepcopy=False))
                trial = patiently(partial(optuna.Trial, self.study, frozen._trial_id))
                self.note(trial, OWNER, str(Owner.here()))
                return trial
        return None

    def _give_up_duplicate(self, mine: FrozenTrial) -> bool:
        """Of several attempts at a slot that have not failed the first one counts."""
        from optuna.trial import TrialState

        numbers = range(mine.user_attrs.get(AGAIN, -1) + 1, mine.number)
        for other in self._all():
            same = other.user_attrs.get(SLOT) == mine.user_attrs[SLOT]
            if same and other.number in numbers and other.state != TrialState.FAIL:
                self.note(mine, DUPLICATE, other.number)
                self._change(mine, TrialState.FAIL)
                return True
        return False

    def put_back(self, trial: Trial) -> None:
        """Let an interrupted run of this worker's wait again."""
        from optuna.trial import TrialState

        self.note(trial, OWNER, "")
        self._change(trial, TrialState.WAITING)

    def note(self, trial: FrozenTrial | Trial, name: str, value: Any) -> None:
        """Set a user attribute of a trial that this worker has; nothing if it was taken away."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):
            patiently(lambda: self.storage.set_trial_user_attr(trial._trial_id, name, value))

    def _change(self, trial: FrozenTrial | Trial, state: TrialState) -> bool:
        """Change a trial's state; False where it has ended already, or another worker has it."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):
            return patiently(lambda: self.storage.set_trial_state_values(trial._trial_id, state))
        return False

    def retry(self, trial: FrozenTrial, attributes: Mapping[str, Any] | None = None) -> None:
        """Queue a run once more, with the same values, and these attributes added."""
        import optuna
        from optuna.trial import TrialState

        past = (OWNER, ERROR, FAILURES)
        kept = {name: value for name, value in trial.user_attrs.items() if name not in past}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={**kept, **(attributes or {})},
            )
        )

    def requeue_dead(self) -> None:
        """Queue again what workers were training that are dead: seen to be, or silent too long."""
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patiently(lambda: fail_stale_trials(self.study))
        for trial in self.running():
            # Another one may have seen it first, and has queued it then.
            if self._is_dead(trial) and self._change(trial, TrialState.FAIL):
                patiently(partial(retry_after_death(), self.study, trial))

    def dead(self) -> set[int]:
        """Numbers of the running trials whose workers are dead, as far as one look can tell."""
        storage: Any = self.storage
        silent = set(patiently(lambda: storage._get_stale_trial_ids(self._id)))
        return {t.number for t in self.running() if t._trial_id in silent or self._is_dead(t)}

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Whether its worker is; one that was killed just when it took the run is known to nobody.

        Of that one no database sees a sign of life, so that it is waited for here.
        """
        owner = trial.user_attrs.get(OWNER)
        if owner:
            return Owner.parse(owner).is_dead()
        since = self._ownerless.setdefault(trial._trial_id, time.monotonic())
        return time.monotonic() - since > GRACE * self._heartbeat

    def waiting(self) -> list[FrozenTrial]:
        """The runs that no worker has."""
        from optuna.trial import TrialState

        return self._all((TrialState.WAITING,))

    def running(self) -> list[FrozenTrial]:
        """The runs that workers have, the dead ones' among them."""
        from optuna.trial import TrialState

        states = (TrialState.RUNNING,)
        return patiently(lambda: self.storage.get_all_trials(self._id, states=states))


def open_study(name: str, storage: BaseStorage, fingerprint: str | None) -> Study:
    """Open a study, or begin it.

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
