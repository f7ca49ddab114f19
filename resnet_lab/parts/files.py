"""Parts files: the user's Python files, run once, that register the parts they define.

The user names the file, so the user trusts it. A file that fails registers nothing.
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
"""Environment variable with the parts files for every process, separated by `os.pathsep`."""
GROUP = "resnet_lab.parts"
"""Entry point group of installed packages: modules that register parts on import."""

DECORATORS = "@rl.part, @rl.quantity, @rl.dataset, @rl.optimizer or @rl.claim"

_files: dict[Path, tuple[str, list[tuple[Registry[Any], str]]]] = {}
_named_are_loaded = False


def load_named() -> None:
    """Load the files of `VARIABLE` and the entry points of `GROUP`, once per process.

    Raises:
        UserError: one of them fails; the message names it.
    """
    global _named_are_loaded
    if _named_are_loaded:
        return
    _named_are_loaded = True  # set first: the files below query registries
    try:
        _load_named()
    except UserError:
        _named_are_loaded = False
        raise


def named_files() -> list[str]:
    """Return the files that `VARIABLE` names."""
    return list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))


def absolute(files: Iterable[str], folder: Path | str = "") -> tuple[str, ...]:
    """Return the absolute paths without duplicates; relative paths start in `folder`."""
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
    """Return path and SHA-256 of every parts file that this process has loaded."""
    return [{"path": str(path), "sha256": digest} for path, (digest, _) in _files.items()]


def load_parts(path: Path | str) -> str:
    """Run a parts file once and return its SHA-256; a changed file is run again.

    The file is the user's code and is trusted as such.

    Raises:
        UserError: the file is missing, fails or registers nothing; no part is then added.
    """
    try:
        file = Path(with_home(str(path))).resolve()
        content = file.read_bytes() if file.is_file() else None
    except (OSError, ValueError) as error:  # including an invalid file name
        raise UserError(f"{path}: this file of parts cannot be read: {error}") from error
    if content is None:
        raise UserError(f"{path}: there is no such file of parts")
    load_named()  # first: this file may be one of them, and registering would load them
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
    """Return the line of a file at which an error occurred; None if not in that file."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((one.lineno for one in reversed(frames) if one.filename == file), None)


def forget_files() -> None:
    """Forget all loaded files and the parts that they added."""
    for _, parts in _files.values():
        remove(parts)
    _files.clear()
