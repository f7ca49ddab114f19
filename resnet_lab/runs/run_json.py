"""Typed access to the values of a run.json, which may be damaged or foreign."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_lab.errors import UserError


@dataclass(frozen=True)
class Values:
    """Nested values by name. Missing values raise KeyError, values of a wrong type UserError.

    Attributes:
        values: the values, as parsed from JSON.
        place: their path in the file, for messages: "", "networks.0.".
    """

    values: Mapping[str, Any]
    place: str = ""

    def inside(self, name: str) -> Values:
        """Values under a name."""
        return self._inside(self.values[name], f"{self.place}{name}")

    def each(self, name: str) -> list[Values]:
        """A non-empty list of groups of values."""
        found = self.values[name]
        if not isinstance(found, list) or not found:
            raise self._wrong(name, "a list")
        return [self._inside(one, f"{self.place}{name}.{k}") for k, one in enumerate(found)]

    @staticmethod
    def _inside(values: Any, place: str) -> Values:
        if not isinstance(values, dict):
            raise UserError(f"{place} is {values!r}, not a group of values")
        return Values(values, f"{place}.")

    def text(self, name: str) -> str:
        """A text."""
        found = self.values[name]
        if not isinstance(found, str):
            raise self._wrong(name, "a text")
        return found

    def text_or_none(self, name: str) -> str | None:
        """A text or None."""
        return None if self.values.get(name) is None else self.text(name)

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """One of the known texts."""
        found = self.text(name)
        if found not in known:
            raise self._wrong(name, f"one of {', '.join(known)}")
        return found

    def whole(self, name: str) -> int:
        """A whole number, 0 or more."""
        found = self.values[name]
        if type(found) is not int or found < 0:
            raise self._wrong(name, "a whole number, 0 or more")
        return found

    def whole_or_none(self, name: str) -> int | None:
        """A whole number, 0 or more, or None."""
        return None if self.values.get(name) is None else self.whole(name)

    def number(self, name: str, most: float = math.inf) -> float:
        """A number from 0 to `most`; NaN if missing or null."""
        found = self.values.get(name)
        if found is None:
            return math.nan
        if type(found) not in (int, float) or not 0 <= found <= most:
            raise self._wrong(name, "a number, 0 or more" + f", up to {most:g}" * (most < math.inf))
        return float(found)

    def check(self, **expected: Any) -> None:
        """Raise UserError for the first value that differs from the expected one."""
        for name, value in expected.items():
            if self.values[name] != value:
                raise self._wrong(name, repr(value))

    def _wrong(self, name: str, wanted: str) -> UserError:
        return UserError(f"{self.place}{name} is {self.values[name]!r:.200}, not {wanted}")
