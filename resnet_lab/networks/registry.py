"""All parts that are known, by axis and name; those in `parts/` are registered on first use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from resnet_lab.errors import UserError
from resnet_lab.networks.part import (
    Activation,
    Branch,
    Initialisation,
    Norm,
    Ordering,
    Padding,
    Part,
    Shortcut,
)

AXES: Mapping[str, type[Part]] = {
    kind.axis: kind
    for kind in (Shortcut, Ordering, Norm, Initialisation, Activation, Padding, Branch)
}
"""Field of `NetworkSpec` -> its kind of part."""

P = TypeVar("P", bound=Part)

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}(\.\d{1,20})?", re.ASCII)
_loaded = False
_known: dict[str, dict[str, Part]] = {axis: {} for axis in AXES}


def register(*added: Part) -> None:
    """Make parts known under their names and tokens.

    Raises:
        UserError: a name or a token is taken, or could not stand in a network's name.
    """
    for part in added:
        tokens = {one.token.lower() for one in _all() if one.token}
        if part.name in _known[part.axis] or part.token.lower() in tokens:
            raise UserError(f"{part.axis} '{part.name}' ({part.token}) is there already")
        if part.token and not _TOKEN.fullmatch(part.token):
            raise UserError(
                f"{part.axis} '{part.name}': '{part.token}' can't stand in a network's name; give "
                "letters and digits, a letter first"
            )
        _known[part.axis][part.name] = part
    _find.cache_clear()
    find_token.cache_clear()


def unregister(*gone: Part) -> None:
    """Forget parts, as those of a file that could not be read to its end."""
    for part in gone:
        del _known[part.axis][part.name]
    _find.cache_clear()
    find_token.cache_clear()


def registered() -> list[Part]:
    """Return every part that is known."""
    _load()
    return list(_all())


def parts_of(axis: str) -> Mapping[str, Part]:
    """Return the parts of an axis by name; those that take a number are there without one."""
    _load()
    return _known[axis]


def find(kind: type[P], name: str) -> P | None:
    """Return the part of a kind that a field of `NetworkSpec` names; None if there is none."""
    found = _find(kind.axis, name)
    return found if isinstance(found, kind) else None


@cache
def _find(axis: str, name: str) -> Part | None:
    return _match(parts_of(axis), name)


@cache
def find_token(token: str) -> Part | None:
    """Return the part that an option in a network's name says, whatever its case."""
    _load()
    return _match({one.token.lower(): one for one in _all() if one.token}, token.lower())


def _match(known: Mapping[str, Part], text: str) -> Part | None:
    exact = known.get(text)
    if exact is not None and not exact.takes:
        return exact
    for start, part in known.items():
        if part.takes and text.startswith(start) and _NUMBER.fullmatch(text[len(start) :]):
            return part.with_number(text[len(start) :])
    return None


def _all() -> Iterable[Part]:
    return [part for values in _known.values() for part in values.values()]


def _load() -> None:
    """Register the project's parts, and those of the user's files that this process is to know."""
    global _loaded
    if _loaded:
        return
    _loaded = True  # what is imported below asks the registry too
    folder = import_module("resnet_lab.networks.parts")
    for module in iter_modules(folder.__path__):
        import_module(f"{folder.__name__}.{module.name}")
    own = import_module("resnet_lab.networks.own_parts")
    try:
        own.load_named()
    except UserError:
        _loaded = False
        raise
