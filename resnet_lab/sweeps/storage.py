"""Optuna's storages, which many workers share: a journal file, or PostgreSQL."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_lab.errors import UserError
from resnet_lab.files import user_path

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.storages.journal import JournalFileSymlinkLock, JournalStorage

JOURNAL = "study.journal"
"""File name of the default storage, in the study's folder."""
VARIABLE = "RESNET_LAB_STORAGE"
"""Environment variable that names the default storage."""
PAUSES = (0.5, 1.0, 2.0, 5.0, *59 * (10.0,))
"""Seconds between attempts to reach an unreachable storage: ten minutes in all."""

T = TypeVar("T")


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open or create the storage of studies.

    Args:
        url: postgresql://USER@HOST/DATABASE, or the path of a journal file (*.journal) that all
            workers see; None: a journal file in `folder`.
        folder: the study's own.

    Raises:
        UserError: another kind of storage, or one that cannot be reached; or no Optuna.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("sweeps need Optuna: pip install optuna (resnet-lab train does without)")
    if url is None or url.endswith(".journal"):
        path = folder / JOURNAL if url is None else user_path(url)
        # Absolute: the configuration parser changes directories while heartbeats are written.
        return _open_journal(path.absolute())
    if url.startswith(("postgresql://", "postgresql+")):
        return _open_database(url)
    hint = "sqlite locks when several workers write" if url.startswith("sqlite") else "unknown kind"
    raise UserError(
        f"storage '{without_secrets(url)}': {hint}; leave --storage out for a journal file of "
        "the study, or give a path ending in .journal, or postgresql://USER@HOST/DATABASE"
    )


def _open_database(url: str) -> RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    driver = url.replace("postgresql://", "postgresql+psycopg://", 1)
    problem: Exception | None = None
    for _ in range(3):  # two processes may create the tables of an empty database at once
        try:
            return RDBStorage(driver, engine_kwargs={"pool_pre_ping": True})
        except (ValueError, TypeError):
            # The message may contain part of the password, mistaken for the port.
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
    """Call `act`, retrying for ten minutes while the storage is unreachable."""
    for pause in PAUSES:
        try:
            return act()
        except away():
            time.sleep(pause)
    return act()


def away() -> tuple[type[Exception], ...]:
    """Exceptions of an unreachable database, such as one that restarts."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import InterfaceError, OperationalError

    return StorageInternalError, InterfaceError, OperationalError


def _open_journal(path: Path) -> JournalStorage:
    from optuna.storages.journal import (
        JournalFileBackend,
        JournalFileSymlinkLock,
        JournalStorage,
    )

    lock = JournalFileSymlinkLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _mend(path, lock)
        return JournalStorage(JournalFileBackend(str(path), lock))
    except OSError as error:
        raise UserError(f"cannot write the journal {path}: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(
            f"the journal {path} is damaged, or no journal ({type(error).__name__}): move it away. "
            "Runs that are finished are not trained again"
        ) from error


def _mend(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Cut off an incomplete last line, as anything appended to it would be lost.

    Writers hold the lock, so no line is being written meanwhile.

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


def without_secrets(url: str) -> str:
    """A storage's URL without its password, and without parameters, which may hold one.

    Without a scheme everything before the last @ is removed, as any of it may be a password.
    """
    place, _, _ = url.partition("?")
    scheme, separator, rest = place.partition("://")
    if not separator:
        return place.rpartition("@")[2]
    user, at, host = rest.rpartition("@")
    host = re.sub(r":(?!\d+(/|$))[^/]*", "", host)  # no port, so perhaps part of a password
    return f"{scheme}{separator}{user.split(':')[0]}{at}{host}"
