"""Signs of life: while a worker trains a run, the storage hears of it again and again."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from resnet_lab.sweeps.storage import away

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.storages import BaseStorage


class Heartbeat:
    """While entered, say again and again that this trial's worker lives."""

    def __init__(self, storage: BaseStorage, trial: Trial, seconds: int) -> None:
        self._beat: Any = storage
        self._trial = trial
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        while True:
            # The storage is away, and the next may reach it; or others took this one for dead.
            with contextlib.suppress(*away(), UpdateFinishedTrialError):
                self._beat.record_heartbeat(self._trial._trial_id)
            if self._done.wait(self._seconds):
                return
