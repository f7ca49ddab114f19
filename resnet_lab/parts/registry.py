"""`Registry`: the parts of one kind by name, built-in and user-defined.

Built-in parts are in a package whose modules register them; it is imported when a registry is first
queried. The user's come from files and packages (see `files`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from resnet_lab.errors import UserError, suggest
from resnet_lab.parts.content import in_notebook

T = TypeVar("T")

_homes: set[str] = set()
_at_home = 0
_added: list[tuple[Registry[Any], str]] = []
_changes = 0


class Registry(Generic[T]):
    """Values of one kind.

    Args:
        kind: noun for one part in messages: "data set".
        home: package whose modules register the built-in parts; several registries may share it.
    """

    def __init__(self, kind: str, home: str) -> None:
        self.kind = kind
        self.home = home
        self._known: dict[str, T] = {}
        self._origins: dict[str, Any] = {}

    def add(self, name: str, value: T, origin: Any = None) -> None:
        """Register a value that the class or function `origin` defines.

        Raises:
            UserError: the name is taken.
        """
        global _changes
        load_home(self.home)
        renewed = self.may_renew(name, origin)
        if name in self._known and not renewed:
            raise UserError(f"{self.kind} '{name}' is there already")
        self._known[name], self._origins[name] = value, origin
        _changes += 1
        if not _at_home and not renewed:
            _added.append((self, name))

    def may_renew(self, name: str, origin: Any) -> bool:
        """Whether `origin` may take this name again: both were defined in a notebook's cells."""
        before = self._origins.get(name)
        return (self, name) in _added and in_notebook(before) and in_notebook(origin)

    def find(self, name: str) -> T | None:
        """Return the value of a name, or None."""
        return self.all().get(name)

    def get(self, name: str) -> T:
        """Return the value of a name.

        Raises:
            UserError: the name is unknown; the message lists the known ones.
        """
        known = self.all()
        if name not in known:
            hint = suggest(name, known) or "."
            raise UserError(f"unknown {self.kind} '{name}'{hint} Known: {', '.join(known)}")
        return known[name]

    def all(self) -> Mapping[str, T]:
        """Return every value by name, built-in ones first."""
        from resnet_lab.parts.files import load_named

        load_home(self.home)
        if not _at_home:  # user parts load only after all built-in ones
            load_named()
        return MappingProxyType(self._known)


def changes() -> int:
    """Return a number that changes whenever a registry does; caches have it in their keys."""
    return _changes


def additions() -> int:
    """Return the number of parts that are not built-in."""
    return len(_added)


def added(since: int) -> list[tuple[Registry[Any], str]]:
    """Return the parts added after `additions()` was `since`."""
    return _added[since:]


def take_back(since: int) -> None:
    """Unregister the parts added after `additions()` was `since`."""
    remove(added(since))


def remove(gone: list[tuple[Registry[Any], str]]) -> None:
    """Unregister parts that are not built-in."""
    global _changes
    for registry, name in gone:
        del registry._known[name], registry._origins[name]
        _added.remove((registry, name))
        _changes += 1


def load_home(home: str) -> None:
    """Import every module of a package once; the parts that they register are built-in."""
    global _at_home
    if home in _homes:
        return
    _homes.add(home)  # set first: the modules imported below query the registry
    folder = import_module(home)
    _at_home += 1
    try:
        for module in iter_modules(folder.__path__):
            import_module(f"{home}.{module.name}")
    finally:
        _at_home -= 1
