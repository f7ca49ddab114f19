"""What a part that is not the project's holds: a hash, because it decides what runs give."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import CodeType
from typing import Any

PROJECT = ("resnet_lab.", "analysis.")


def foreign_content(origin: Any, options: tuple[object, ...] = ()) -> str | None:
    """Return a hash of what defines a class or function; None if it is the project's own.

    Of the whole file, which is what else it needs; of its own code and the `options` that it was
    registered with where there is no file, as in a notebook.
    """
    if origin.__module__.startswith(PROJECT):
        return None
    file = getattr(sys.modules.get(origin.__module__), "__file__", None)
    if file is None or not Path(file).is_file():
        return hash_of_code(origin, options)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def hash_of_code(value: Any, options: tuple[object, ...] = ()) -> str:
    """Hash a function's code, or that of all that a class defines; and options, if there are."""
    members = vars(value).values() if isinstance(value, type) else [value]
    codes = [told(one.__code__) for one in members if hasattr(one, "__code__")]
    said = repr((codes, options)) if options else repr(codes)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def told(code: CodeType) -> tuple[Any, ...]:
    """What a function does, whatever its place in a file."""
    return code.co_code, tuple(map(_constant, code.co_consts)), code.co_names, code.co_varnames


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return told(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
