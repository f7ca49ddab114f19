"""The runs of a study as a queue that any number of workers share, each run taken once.

A slot is a run that the study wants: a point of a grid, known by its run's identity, or the n-th
draw of a search. An attempt at it is an Optuna trial, which waits in the storage until one worker,
and one only, takes it. A slot's last attempt says how it stands.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.runs.owner import Owner
from resnet_lab.sweeps.storage import retry_after_death

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

SLOT = "slot"
OWNER = "owner"
RUN = "run"
FLAGS = "flags"
EVALUATIONS = "evaluations"
ERROR = "error"
FAILURES = "failures"
AGAIN = "again_after"
DUPLICATE = "duplicate_of"
"""User attributes of trials: the slot's key, the worker's process, the run directory's name, what
a search has drawn, how many evaluations make the run, what went wrong, how often it had before,
the attempts that no longer count, and the attempt that counts instead of this one."""


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
    """The slots of one study in a storage.

    Args:
        study: an Optuna study.
        storage: the storage that it is in.
    """

    def __init__(self, study: Study, storage: BaseStorage) -> None:
        self.study = study
        self.storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)

    def close(self) -> None:
        """Close the connections of this process to a database; a journal has none."""
        self.storage.remove_session()
        if hasattr(self.storage, "engine"):
            self.storage.engine.dispose()

    def attempts(self) -> dict[str, FrozenTrial]:
        """The last attempt at each slot."""
        found = {}
        for trial in self.storage.get_all_trials(self._id, deepcopy=False):
            if SLOT in trial.user_attrs and DUPLICATE not in trial.user_attrs:
                found[trial.user_attrs[SLOT]] = trial
        return found

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
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        for frozen in sorted(self.waiting(), key=lambda trial: trial.number):
            if frozen.user_attrs.get(SLOT) in left:
                continue
            try:
                mine = self.storage.set_trial_state_values(frozen._trial_id, TrialState.RUNNING)
            except UpdateFinishedTrialError:
                continue
            if mine and not self._give_up_duplicate(frozen):
                self.storage.set_trial_user_attr(frozen._trial_id, OWNER, str(Owner.here()))
                return optuna.Trial(self.study, frozen._trial_id)
        return None

    def _give_up_duplicate(self, mine: FrozenTrial) -> bool:
        """Of several attempts at a slot that have not failed the first one counts."""
        from optuna.trial import TrialState

        numbers = range(mine.user_attrs.get(AGAIN, -1) + 1, mine.number)
        for other in self.storage.get_all_trials(self._id, deepcopy=False):
            same = other.user_attrs.get(SLOT) == mine.user_attrs[SLOT]
            if same and other.number in numbers and other.state != TrialState.FAIL:
                self.storage.set_trial_user_attr(mine._trial_id, DUPLICATE, other.number)
                self.storage.set_trial_state_values(mine._trial_id, TrialState.FAIL)
                return True
        return False

    def put_back(self, trial: Trial) -> None:
        """Let an interrupted run of this worker's wait again."""
        from optuna.trial import TrialState

        self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

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
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fail_stale_trials(self.study)
        for trial in self.running():
            owner = trial.user_attrs.get(OWNER)
            if owner is None or not Owner.parse(owner).is_dead():
                continue
            try:
                self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            except UpdateFinishedTrialError:
                continue  # another one has seen it first, and has queued it
            retry_after_death()(self.study, trial)

    def waiting(self) -> list[FrozenTrial]:
        """The runs that no worker has."""
        from optuna.trial import TrialState

        return self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.WAITING,))

    def running(self) -> list[FrozenTrial]:
        """The runs that workers have, the dead ones' among them."""
        from optuna.trial import TrialState

        return self.storage.get_all_trials(self._id, states=(TrialState.RUNNING,))


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
