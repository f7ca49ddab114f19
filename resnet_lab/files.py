"""Atomic writes of files, and paths that users give."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resnet_lab.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk or an exhausted quota."""
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)
"""Errors of a file system that no longer accepts writes."""
LEFT_BEHIND = (
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle"),
    *("$recycle.bin", "system volume information", "lost+found"),
)
"""Names that systems, file servers and editors leave in folders, in lower case. Names that begin
with a dot count as well: .DS_Store, ._x.jpg, .git, .ipynb_checkpoints."""
NO_TEMPORARY_FOLDER = "no folder for temporary files can be written: set TMPDIR to one that can"


def user_path(given: str | os.PathLike[str]) -> Path:
    """Return a path given by the user, with a leading ~ expanded to the home directory.

    Raises:
        UserError: there is no such user, or this one has no home directory.
    """
    return Path(with_home(os.fspath(given)))


def with_home(given: str) -> str:
    """Expand a leading ~ to the home directory; see `user_path`.

    A shell expands it only at the beginning of a word: not in --runs-dir=~/x, nor in a file.
    Variables such as $HOME are left to the shell.
    """
    if not given.startswith("~"):
        return given
    path = os.path.expanduser(given)
    if path.startswith("~"):
        raise UserError(
            f"{given} begins with ~, and no home directory is known: give the whole path, or set "
            "HOME"
        )
    return path


def is_left_behind(name: str) -> bool:
    """Whether a folder's entry is, by its name, left by a system or an editor and not data."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    A crash, a full disk or an exception leaves the old file as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush a folder, so that a rename survives a power loss, if the file system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that processes killed in `replacing` left in a folder."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write `parts`, one after the other, to `path` atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically as strict JSON; non-finite numbers become null."""
    write_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def seal(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` with its own checksum under "sha256", to be checked by `is_sealed`."""
    return {**value, "sha256": _checksum(value)}


def is_sealed(value: dict[str, Any]) -> bool:
    """Whether the checksum in `value`, as read from a file, matches (see `seal`)."""
    return value.get("sha256") == _checksum(value)


def _checksum(value: dict[str, Any]) -> str:
    rest = {key: entry for key, entry in value.items() if key != "sha256"}
    text = json.dumps(_finite(rest), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
