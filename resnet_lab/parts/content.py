"""Hash the code of user-defined parts, because it decides the results of runs."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import CodeType
from typing import Any

PROJECT = ("resnet_lab.", "analysis.")


def foreign_content(origin: Any, options: tuple[object, ...] = ()) -> str | None:
    """Return a hash of the code that defines a class or function; None if it is built-in.

    It covers the whole file, as the code may use the rest of it. Without a file, as in a notebook,
    it covers the class's or function's own code and the `options` of its registration.
    """
    if origin.__module__.startswith(PROJECT):
        return None
    file = _file_of(origin)
    if file is None:
        return hash_of_code(origin, options)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def in_notebook(origin: Any) -> bool:
    """Whether a class or function was defined in a notebook or at a prompt, not in a file."""
    return getattr(origin, "__module__", None) == "__main__" and _file_of(origin) is None


def _file_of(origin: Any) -> Path | None:
    file = getattr(sys.modules.get(origin.__module__), "__file__", None)
    return Path(file) if file is not None and Path(file).is_file() else None


def hash_of_code(value: Any, options: tuple[object, ...] = ()) -> str:
    """Hash the code of a function or of all that a class defines, and the options, if any."""
    members = vars(value).values() if isinstance(value, type) else [value]
    codes = [told(one.__code__) for one in members if hasattr(one, "__code__")]
    said = repr((codes, options)) if options else repr(codes)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def told(code: CodeType) -> tuple[Any, ...]:
    """A function's code without its position in the file."""
    return code.co_code, tuple(map(_constant, code.co_consts)), code.co_names, code.co_varnames


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return told(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
