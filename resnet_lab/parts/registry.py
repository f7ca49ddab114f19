"""A registry: the parts of one kind by name, the project's and the user's own.

The project's stand in a folder of modules, each of which registers what it defines; they are
imported when a registry is first asked. The user's come from files and packages (see `files`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from resnet_lab.errors import UserError, suggest

T = TypeVar("T")

_homes: set[str] = set()
_at_home = 0
_added: list[tuple[Registry[Any], str]] = []
_changes = 0


class Registry(Generic[T]):
    """Values of one kind.

    Args:
        kind: what messages call one: "data set".
        home: the package whose modules register the project's; several registries may share one.
    """

    def __init__(self, kind: str, home: str) -> None:
        self.kind = kind
        self.home = home
        self._known: dict[str, T] = {}

    def add(self, name: str, value: T) -> None:
        """Make a value known.

        Raises:
            UserError: the name is taken.
        """
        global _changes
        load_home(self.home)
        if name in self._known:
            raise UserError(f"{self.kind} '{name}' is there already")
        self._known[name] = value
        _changes += 1
        if not _at_home:
            _added.append((self, name))

    def find(self, name: str) -> T | None:
        """Return what has a name; None if nothing has."""
        return self.all().get(name)

    def get(self, name: str) -> T:
        """Return what has a name.

        Raises:
            UserError: nothing has; the message lists what there is.
        """
        known = self.all()
        if name not in known:
            hint = suggest(name, known) or "."
            raise UserError(f"unknown {self.kind} '{name}'{hint} Known: {', '.join(known)}")
        return known[name]

    def all(self) -> Mapping[str, T]:
        """Return every value by name, the project's first."""
        from resnet_lab.parts.files import load_named

        load_home(self.home)
        if not _at_home:  # the user's own come when all of the project's are there
            load_named()
        return MappingProxyType(self._known)


def changes() -> int:
    """Return a number that changes with every registry: part of the key of whatever is cached."""
    return _changes


def additions() -> int:
    """Return how many parts stand there that are not the project's."""
    return len(_added)


def take_back(since: int) -> list[tuple[Registry[Any], str]]:
    """Forget what was added after `additions()` was `since`, and return it."""
    gone = _added[since:]
    remove(gone)
    return gone


def added(since: int) -> list[tuple[Registry[Any], str]]:
    """Return what was added after `additions()` was `since`."""
    return _added[since:]


def remove(gone: list[tuple[Registry[Any], str]]) -> None:
    """Forget parts that are not the project's."""
    global _changes
    for registry, name in list(gone):
        del registry._known[name]
        _added.remove((registry, name))
        _changes += 1


def load_home(home: str) -> None:
    """Import every module of a package, once: what they register is the project's."""
    global _at_home
    if home in _homes:
        return
    _homes.add(home)  # what is imported below asks the registry too
    folder = import_module(home)
    _at_home += 1
    try:
        for module in iter_modules(folder.__path__):
            import_module(f"{home}.{module.name}")
    finally:
        _at_home -= 1
