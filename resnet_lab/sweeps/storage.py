"""Where a study keeps its runs' states, so that many workers share it: a journal file, PostgreSQL.

Optuna's storages do the work. Its journal has no heartbeat, which is added here, so that the run
of a worker that died is found and requeued in the same way with either.
"""

from __future__ import annotations

import importlib.util
import json
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_lab.errors import UserError
from resnet_lab.files import user_path

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.storages.journal import JournalFileSymlinkLock, JournalStorage

DEATHS = 3
"""How often a run whose worker died is tried again: one that kills its workers must not do so
for ever."""
GRACE = 3
"""Heartbeats that a worker may miss before it counts as dead."""
VARIABLE = "RESNET_LAB_STORAGE"
OWNER = "owner"
"""User attribute of a trial: the worker's process. Empty while no worker has it."""
PAUSES = (0.5, 1.0, 2.0, 5.0, *59 * (10.0,))
"""Seconds between attempts to reach a storage that is away: ten minutes in all."""

T = TypeVar("T")


def open_storage(url: str | None, folder: Path, heartbeat: int) -> BaseStorage:
    """Open, or make, the storage of studies.

    Args:
        url: postgresql://USER@HOST/DATABASE, or the path of a journal file (*.journal) that all
            workers see; None: a journal file in `folder`.
        folder: the study's own.
        heartbeat: seconds between two signs of life of a worker.

    Raises:
        UserError: another kind of storage, or one that cannot be reached; or no Optuna.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("sweeps need Optuna: pip install optuna (resnet-lab train does without)")
    if url is None or url.endswith(".journal"):
        path = folder / "study.journal" if url is None else user_path(url)
        # Absolute: a parser of configuration files changes directories while heartbeats write.
        return _open_journal(path.absolute(), heartbeat)
    if url.startswith(("postgresql://", "postgresql+")):
        return _open_database(url, heartbeat)
    hint = "sqlite locks when several workers write" if url.startswith("sqlite") else "unknown kind"
    raise UserError(
        f"storage '{without_secrets(url)}': {hint}; leave --storage out for a journal file of "
        "the study, or give a path ending in .journal, or postgresql://USER@HOST/DATABASE"
    )


def _open_database(url: str, heartbeat: int) -> RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    driver = url.replace("postgresql://", "postgresql+psycopg://", 1)
    problem: Exception | None = None
    for _ in range(3):  # two that make the tables of an empty database at once
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return RDBStorage(
                    driver,
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    grace_period=GRACE * heartbeat,
                    heartbeat_stale_trial_callback=retry_after_death(),
                )
        except (ValueError, TypeError):
            # Its message may hold a piece of the password: what stands where a port should.
            raise UserError(
                f"storage '{without_secrets(url)}' is no URL that SQLAlchemy reads: a password "
                "with other signs than letters and digits must be percent-encoded"
            ) from None
        except SQLAlchemyError as error:
            problem = error
            time.sleep(1)
        except ImportError as error:
            raise UserError(
                "postgresql:// needs the package psycopg: pip install 'resnet-lab[postgresql]'"
            ) from error
    reason = str(problem).split("\n")[0]
    raise UserError(f"storage '{without_secrets(url)}' cannot be used: {reason}") from None


def close(storage: Any) -> None:
    """Close the connections of this process to a database; a journal has none."""
    storage.remove_session()
    if hasattr(storage, "engine"):
        storage.engine.dispose()


def patiently(act: Callable[[], T]) -> T:
    """Do what needs the storage, and wait for it for ten minutes if it is away."""
    for pause in PAUSES:
        try:
            return act()
        except away():
            time.sleep(pause)
    return act()


def away() -> tuple[type[Exception], ...]:
    """The exceptions that say that a database is away, such as one that restarts."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import InterfaceError, OperationalError

    return StorageInternalError, InterfaceError, OperationalError


def retry_after_death() -> Callable[[Any, Any], None]:
    """What queues the run of a dead worker again, as nobody's: Optuna's own, a few times."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        retry = RetryHeartbeatStaleTrialCallback(max_retry=DEATHS, inherit_intermediate_values=True)

    def retry_as_nobodys(study: Any, trial: Any) -> None:
        trial.user_attrs = {**trial.user_attrs, OWNER: ""}
        retry(study, trial)

    return retry_as_nobodys


def _open_journal(path: Path, heartbeat: int) -> JournalStorage:
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    lock = JournalFileSymlinkLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _mend(path, lock)
        backend = JournalFileBackend(str(path), lock)
        journal: JournalStorage = _heartbeat_journal()(backend, heartbeat)
    except OSError as error:
        raise UserError(f"cannot write the journal {path}: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(
            f"the journal {path} is damaged, or no journal ({type(error).__name__}): move it away. "
            "Runs that are finished are not trained again"
        ) from error
    return journal


def _mend(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Cut off a last line that was not written to its end: what is added to it would be lost.

    Whoever writes holds the lock, so that no line is being written meanwhile.

    Raises:
        ValueError: the file is no journal, and is left as it is.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError("no file")
    lock.acquire()
    try:
        with path.open("rb+") as file:
            content = file.read()
            if content and not content.startswith(b'{"op_code":'):
                raise ValueError("no journal")
            whole = content[: content.rfind(b"\n") + 1]
            for line in whole.splitlines():
                json.loads(line)
            file.truncate(len(whole))
    finally:
        lock.release()


def _heartbeat_journal() -> type[Any]:
    """The class, made when it is needed: its bases are Optuna's."""
    from optuna.storages._heartbeat import BaseHeartbeat
    from optuna.storages.journal import JournalStorage
    from optuna.trial import TrialState

    class HeartbeatJournal(JournalStorage, BaseHeartbeat):
        """A journal whose running trials say now and then that they are alive."""

        def __init__(self, backend: Any, heartbeat: int) -> None:
            super().__init__(backend)
            self._heartbeat = heartbeat
            self._signs: dict[int, tuple[Any, float]] = {}

        def record_heartbeat(self, trial_id: int) -> None:
            self.set_trial_system_attr(trial_id, "heartbeat", time.time())

        def _get_stale_trial_ids(self, study_id: int) -> list[int]:
            running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
            limit = GRACE * self._heartbeat
            return [trial._trial_id for trial in running if self._silence(trial) > limit]

        def _silence(self, trial: Any) -> float:
            """Seconds since this process has seen a new sign: clocks of machines differ."""
            sign, now = trial.system_attrs.get("heartbeat"), time.monotonic()
            if trial._trial_id not in self._signs or self._signs[trial._trial_id][0] != sign:
                self._signs[trial._trial_id] = sign, now
            return now - self._signs[trial._trial_id][1]

        def get_heartbeat_interval(self) -> int:
            return self._heartbeat

        def get_heartbeat_stale_trial_callback(self) -> Callable[[Any, Any], None]:
            return retry_after_death()

    return HeartbeatJournal


def without_secrets(url: str) -> str:
    """A storage's URL as it may be shown: no password, and no parameters, which may hold one.

    Without a scheme all before the last @ is left out, as any of it may be a password.
    """
    place, _, _ = url.partition("?")
    scheme, separator, rest = place.partition("://")
    if not separator:
        return place.rpartition("@")[2]
    user, at, host = rest.rpartition("@")
    host = re.sub(r":(?!\d+(/|$))[^/]*", "", host)  # no port, so perhaps a piece of a password
    return f"{scheme}{separator}{user.split(':')[0]}{at}{host}"
