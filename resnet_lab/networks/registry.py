"""All parts of networks, by axis and name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
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
from resnet_lab.parts.registry import Registry, changes

AXES: Mapping[str, type[Part]] = {
    kind.axis: kind
    for kind in (Shortcut, Ordering, Norm, Initialisation, Activation, Padding, Branch)
}
"""Field of `NetworkSpec` -> its kind of part."""

P = TypeVar("P", bound=Part)

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}(\.\d{1,20})?", re.ASCII)
_REGISTRIES: Mapping[str, Registry[Part]] = {
    axis: Registry(axis, "resnet_lab.networks.parts") for axis in AXES
}


def register(*parts: Part) -> None:
    """Register parts under their names and tokens.

    Raises:
        UserError: a name or a token is taken, or cannot be part of a network's name.
    """
    for part in parts:
        known = _tokens().get(part.token.lower())
        registry = _REGISTRIES[part.axis]
        if known is not None and not registry.may_renew(part.name, part.origin):
            raise UserError(f"{part.axis} '{part.name}' ({part.token}) is there already")
        if part.token and not _TOKEN.fullmatch(part.token):
            raise UserError(
                f"{part.axis} '{part.name}': '{part.token}' can't stand in a network's name; give "
                "letters and digits, a letter first"
            )
        registry.add(part.name, part, part.origin)


def parts_of(axis: str) -> Mapping[str, Part]:
    """Return the parts of an axis by name; those that take a number are listed without one."""
    return _REGISTRIES[axis].all()


def parts_changes() -> int:
    """Return a number that changes whenever parts change; caches have it in their keys."""
    for axis in AXES:
        parts_of(axis)  # which may load some
    return changes()


def find(kind: type[P], name: str) -> P | None:
    """Return the part of a kind that a field of `NetworkSpec` names; None if there is none."""
    found = _find(kind.axis, name, parts_changes())
    return found if isinstance(found, kind) else None


@lru_cache
def _find(axis: str, name: str, changes: int) -> Part | None:
    return _match(parts_of(axis), name)


def find_token(token: str) -> Part | None:
    """Return the part for an option in a network's name, ignoring case."""
    return _match(_tokens(), token.lower())


def _tokens() -> dict[str, Part]:
    parts = [one for axis in AXES for one in parts_of(axis).values()]
    return {one.token.lower(): one for one in parts if one.token}


def _match(known: Mapping[str, Part], text: str) -> Part | None:
    exact = known.get(text)
    if exact is not None and not exact.takes:
        return exact
    for start, part in known.items():
        if part.takes and text.startswith(start) and _NUMBER.fullmatch(text[len(start) :]):
            return part.with_number(text[len(start) :])
    return None
