"""The lock of a run directory: only one process at a time trains a run.

The lock is a numbered file, `.lock-1`, created with O_EXCL, which succeeds for one process only, on
local and network file systems. Its holder touches it regularly and deletes it at the end. On the
same machine a dead holder is detected by its process ID, elsewhere by watching whether the file is
touched. Clocks are never compared, as they jump and differ.

A dead holder's lock is not deleted first: of two processes doing so, the second could delete the
first one's new lock. They create the next number instead, which again succeeds for one only.

filelock's leases (4.2) do not suffice: they take over a dead holder's lock by exchanging two files.
NFS and SMB refuse that, so the lock would stay for ever. Nor do they tell the lock's age.
"""

from __future__ import annotations

import os
import random
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resnet_lab.errors import RunFailed, RunHeld, UserError
from resnet_lab.runs.owner import Owner
from resnet_lab.runs.provenance import now

BEAT = 10.0
"""Seconds between two touches of a lock by its holder."""
SILENCE = 60.0
"""Seconds without a touch after which a holder on another machine counts as dead."""

MOMENT = 2.0
"""Seconds that a holder may take from creating its lock to writing its owner."""


class RunLock:
    """While entered, only this process trains the run in `folder`.

    Args:
        folder: an existing run directory.

    Raises:
        RunHeld: run is locked by a live process; callers may retry.
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> RunLock:
        self._path = _take(self._folder)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with suppress(OSError):
            self._path.unlink()

    def check(self) -> None:
        """Check that this process still holds the lock and was not taken for dead.

        Raises:
            RunFailed: another process holds the lock and owns the directory now.
        """
        if _Seen.at(self._path) is None:
            raise RunFailed(
                f"{self._folder} was taken over by another process while this one was silent, or "
                f"its lock {self._path.name} was deleted: nothing more is written by this one"
            )

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            with suppress(OSError):
                os.utime(self._path)


@dataclass(frozen=True)
class _Seen:
    """A lock file as read; two reads are equal if it was not touched in between."""

    text: str
    touched: int

    @classmethod
    def at(cls, path: Path) -> _Seen | None:
        """Read a lock file; None if missing. Opening it refreshes a network file system's cache."""
        with suppress(FileNotFoundError), path.open(errors="replace") as file:
            return cls(file.read(), os.fstat(file.fileno()).st_mtime_ns)
        return None

    @property
    def owner(self) -> Owner | None:
        """The holder; None if it has not been written yet."""
        try:
            return Owner.parse(self.text.splitlines()[0])
        except (ValueError, IndexError):
            return None

    def __str__(self) -> str:
        if self.owner is None:
            return "an unknown process"
        return f"process {self.owner.pid} on {self.owner.host}, since {self.text.splitlines()[-1]}"


def _take(folder: Path) -> Path:
    """Create this process's lock and return its path."""
    try:
        while True:
            dead = {path: _dead(folder, path) for path in _locks(folder)}
            mine = folder / f".lock-{max((int(path.name[6:]) for path in dead), default=0) + 1}"
            if _create(mine):
                others = {path: _Seen.at(path) for path in _locks(folder) if path != mine}
                if all(seen is None or dead.get(path) == seen for path, seen in others.items()):
                    for path in others:
                        path.unlink(missing_ok=True)
                    return mine
                mine.unlink()  # a process that released and retook its lock was faster
            time.sleep(random.uniform(0.01, 0.2))
    except OSError as error:
        raise UserError(
            f"cannot write the run directory {folder}: {error.strerror or error}; "
            "choose another with --runs-dir"
        ) from error


def _locks(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".lock-*") if path.name[6:].isdigit()]


def _create(path: Path) -> bool:
    """Create the file; False if another process already has."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with open(descriptor, "w") as file:
            file.write(f"{Owner.here()}\n{now()}\n")
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _dead(folder: Path, path: Path) -> _Seen | None:
    """Return the lock of a dead holder; None if it has just been released.

    Raises:
        RunHeld: the holder is alive.
    """
    seen = _watch(path, MOMENT, 0.01, lambda seen: not seen.text)  # it may be about to write
    if seen is None or (seen.owner is not None and seen.owner.is_dead()):
        return seen
    latest: _Seen | None = seen
    alive = seen.owner is not None and seen.owner.is_alive()
    if not alive:
        warnings.warn(
            f"{folder} was being trained by {seen}: waiting up to {SILENCE:.0f} s for a sign of "
            "life",
            stacklevel=2,
        )
        latest = _watch(path, SILENCE, min(1.0, BEAT / 4), lambda found: found == seen)
    if alive or latest not in (None, seen):
        raise RunHeld(
            f"{folder} is being trained by {seen}: wait for it or end it, and the same command "
            "continues"
        )
    return latest


def _watch(
    path: Path, seconds: float, pause: float, goes_on: Callable[[_Seen], bool]
) -> _Seen | None:
    """Read a lock repeatedly while it exists and `goes_on` holds, for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while (seen := _Seen.at(path)) is not None and goes_on(seen) and time.monotonic() < deadline:
        time.sleep(pause)
    return seen
