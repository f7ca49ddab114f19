"""Files of parts: Python of the user's own, run once, that registers what it defines.

The user names the file, so the user trusts it. A file that cannot be used adds nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Iterable
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from resnet_lab.errors import UserError
from resnet_lab.files import with_home
from resnet_lab.parts.registry import Registry, added, additions, remove, take_back

VARIABLE = "RESNET_LAB_PARTS"
"""Files of parts that every process is to know, joined by the system's separator of paths."""
GROUP = "resnet_lab.parts"
"""Entry points of installed packages: modules that register parts when they are imported."""

DECORATORS = "@rl.part, @rl.quantity, @rl.dataset, @rl.optimizer or @rl.claim"

_files: dict[Path, tuple[str, list[tuple[Registry[Any], str]]]] = {}
_named_are_loaded = False


def load_named() -> None:
    """Load the files of `VARIABLE` and the entry points of `GROUP`, once a process.

    Raises:
        UserError: one cannot be used; it is named.
    """
    global _named_are_loaded
    if _named_are_loaded:
        return
    _named_are_loaded = True  # what is run below asks the registries too
    try:
        _load_named()
    except UserError:
        _named_are_loaded = False
        raise


def named_files() -> list[str]:
    """Return the files that `VARIABLE` names."""
    return list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))


def absolute(files: Iterable[str], folder: Path | str = "") -> tuple[str, ...]:
    """Return the absolute path of each file, once; relative ones start in `folder`."""
    paths = (os.path.abspath(Path(folder) / with_home(file)) for file in files)
    return tuple(dict.fromkeys(paths))


def _load_named() -> None:
    for file in named_files():
        load_parts(file)
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            raise UserError(
                f"the parts of {entry.value} ({GROUP}) fail: {type(error).__name__}: {error}"
            ) from error


def loaded_files() -> list[dict[str, str]]:
    """Return path and SHA-256 of every file of parts that this process has loaded."""
    return [{"path": str(path), "sha256": digest} for path, (digest, _) in _files.items()]


def load_parts(path: Path | str) -> str:
    """Run a file of parts, once, and return its SHA-256; a file that has changed is run anew.

    The file is the user's code and is trusted as such.

    Raises:
        UserError: there is no such file, it fails or registers nothing; it then adds nothing.
    """
    try:
        file = Path(with_home(str(path))).resolve()
        content = file.read_bytes() if file.is_file() else None
    except (OSError, ValueError) as error:  # a name that no file can have
        raise UserError(f"{path}: this file of parts cannot be read: {error}") from error
    if content is None:
        raise UserError(f"{path}: there is no such file of parts")
    load_named()  # first: this file may be one of them, and what it registers would ask for them
    digest = hashlib.sha256(content).hexdigest()
    known, parts = _files.get(file, ("", []))
    if known == digest:
        return digest
    remove(parts)
    _files.pop(file, None)
    before = additions()
    try:
        _run(file, digest)
        if additions() == before:
            raise UserError(f"it registers nothing; use {DECORATORS}")
    except UserError as error:
        take_back(before)
        raise UserError(f"{path}: {error}") from error
    _files[file] = digest, added(before)
    return digest


def _run(file: Path, digest: str) -> None:
    name = f"own_parts_{digest[:12]}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError("not a file of Python; its name must end in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        line = line_in(str(file), error)
        where = f"line {line}: " if line else ""
        raise UserError(f"{where}{type(error).__name__}: {error}") from error


def line_in(file: str, error: BaseException) -> int | None:
    """Return the line of a file at which an error has come up; None if it was never there."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((one.lineno for one in reversed(frames) if one.filename == file), None)


def forget_files() -> None:
    """Forget every file that was loaded, and what it added."""
    for _, parts in _files.values():
        remove(parts)
    _files.clear()
