"""Read YAML and JSON within limits, so that untrusted files can do no harm.

A short file may need unlimited memory (aliases of aliases, a device instead of a file), crash the
parser by its nesting, or mislead its reader (a key given twice, a number in base 60). Each of these
is refused with a message. Nothing in a document is run as code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

LARGEST = 4 * 2**20
"""Largest size of a document in bytes. The largest written here, run.json, has some thousand."""
DEEPEST = 40
"""Largest number of nesting levels."""
MOST_VALUES = 200_000
"""Largest number of values in a document; those behind an alias count once per alias."""
LARGEST_WHOLE = 2**63 - 1
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Seven times as fast where PyYAML was built with libyaml."""
_MISREAD = re.compile(r"[-+]?(0_*[0-9][0-9_]*|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Unquoted numbers that YAML reads in base 8 or 60: 010 is 8, 1:30 is 90."""


class DocumentError(ValueError):
    """The text is not a valid document, or exceeds the limits; the message says why."""


def read_text(path: Path) -> str:
    """Return the text of a regular file.

    Raises:
        OSError: it is missing or cannot be read.
        DocumentError: it is larger than `LARGEST`, not UTF-8, or a device.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DocumentError("it is a device, not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except ValueError as error:  # a NUL in the path
        raise DocumentError(str(error)) from error
    if len(content) > LARGEST:
        raise DocumentError(f"it is larger than {LARGEST:,} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(str(error)) from error


def load_yaml(text: str) -> Any:
    """Return the content of a YAML document as plain values.

    Raises:
        DocumentError: it is not YAML, or exceeds the limits.
    """
    check_yaml(text)
    try:
        value = yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(one_line(error)) from error
    check_values(value)
    return value


def dump_yaml(values: Any) -> str:
    """Write plain values as YAML in which every parser reads strings as strings.

    PyYAML writes the string 1e5 without quotes, and jsonargparse reads that as a number.
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Quotes what looks like a number with an exponent."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9._]+[eE][-+]?[0-9]+"),
    list("-+.0123456789"),
)


def check_yaml(text: str) -> None:
    """Check a YAML document without building any values from it.

    Raises:
        DocumentError: it is not YAML, or exceeds the limits.
    """
    if len(text) > LARGEST:
        raise DocumentError(f"it is longer than {LARGEST:,} characters")
    outline = _Outline()
    try:
        for event in yaml.parse(text, _LOADER):
            outline.add(event)
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(one_line(error)) from error


def load_json(text: str) -> Any:
    """Return the content of a strict JSON document, whose numbers are all finite.

    Raises:
        DocumentError: it is not JSON, gives a key twice, or exceeds the limits.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_twins,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise DocumentError("it is nested too deeply") from error
    except ValueError as error:
        raise DocumentError(str(error)) from error
    check_values(value)
    return value


def check_values(value: Any) -> None:
    """Raise DocumentError if an integer among nested values has more than 64 bits.

    It also does so for values that are not plain, such as YAML's dates, bytes and sets.
    """
    for one in _leaves(value):
        if not isinstance(one, str | int | float | None):
            raise DocumentError(f"{one!r} is a {type(one).__name__}: write it in quotes, as a text")
        if isinstance(one, int) and abs(one) > LARGEST_WHOLE:
            raise DocumentError(f"a whole number is beyond {LARGEST_WHOLE:,}, the largest")


def one_line(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    if depth > DEEPEST:
        raise DocumentError(f"it is nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _leaves(entry, depth + 1)
    else:
        yield value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"the key '{twin}' is there twice")
    return values


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) < float("inf") else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise DocumentError(f"{text} is no number in JSON")


@dataclass
class _Collection:
    """A list or mapping being read: its anchor, its number of values so far, a mapping's keys."""

    anchor: str | None
    values: int = 1
    keys: set[str] | None = None
    at_key: bool = True


@dataclass
class _Outline:
    """The structure of a YAML document, followed event by event."""

    open: list[_Collection] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self.open) >= DEEPEST:
                raise DocumentError(f"it is nested more than {DEEPEST} levels deep")
            keys: set[str] | None = set() if isinstance(event, yaml.MappingStartEvent) else None
            self.open.append(_Collection(event.anchor, keys=keys))
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self.open.pop()
            self._value(ended.anchor, ended.values)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in {one.anchor for one in self.open}:
                raise DocumentError(f"the alias *{event.anchor} stands inside itself")
            self._value(None, self.sizes.get(str(event.anchor), 1))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if event.implicit[0] and _MISREAD.fullmatch(event.value):
            raise DocumentError(
                f"{event.value} is a number in base 8 or 60 to YAML: write it in base 10, or in "
                "quotes if it is a text"
            )
        holder = self.open[-1] if self.open else None
        if holder is not None and holder.keys is not None and holder.at_key:
            if event.value in holder.keys:
                raise DocumentError(f"the key '{event.value}' is there twice")
            holder.keys.add(event.value)
        self._value(event.anchor, 1)

    def _value(self, anchor: str | None, size: int) -> None:
        """Add the size of a completed value or key to the collection that contains it."""
        if anchor is not None:
            self.sizes[anchor] = size
        if self.open:
            self.open[-1].values += size
            self.open[-1].at_key = not self.open[-1].at_key
        if size > MOST_VALUES or (self.open and self.open[-1].values > MOST_VALUES):
            raise DocumentError(f"it holds more than {MOST_VALUES:,} values")
