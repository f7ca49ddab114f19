"""Check the fields of configuration dataclasses against their annotations.

Python checks no annotation: `RecipeConfig(precision="float16")` would train in float32. Each of
these classes calls `check_fields` at construction, which refuses wrong values with a message and
converts equivalent ones (a NumPy number, a list for a tuple).

pydantic would convert but not give these messages, and importing it takes twice as long as the
whole configuration.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from resnet_lab.errors import UserError, suggest

NOTHING = type(None)
WORDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}
WORDS |= {str: "a text", NOTHING: "null"}
TEXTS = "a list of texts"


class _Misfit(Exception):
    """A value that an annotation does not allow."""


@dataclass(frozen=True)
class Expected:
    """The values that an annotation allows.

    Attributes:
        words: description of all of them: "a whole number or 'all'".
        choices: the allowed strings, if not every string is.
        only_choices: whether only `choices` are allowed.
    """

    words: str
    choices: tuple[str, ...]
    only_choices: bool


Refuse: TypeAlias = Callable[[str, Any, Expected], UserError]
"""Makes the error for a field from its name, its value and the allowed values."""


def check_fields(config: Any, refuse: Refuse) -> None:
    """Convert a dataclass's fields to their annotated types; refuse the first that does not fit.

    A float field accepts integers, a bool field only booleans, a tuple field any list. The class
    itself checks that numbers are finite and in range.

    Args:
        config: a new instance; it may be frozen.
        refuse: makes the error.

    Raises:
        UserError: a value does not fit.
    """
    kind: type = type(config)
    for name, hint in _hints(kind).items():
        value = _plain(getattr(config, name))
        try:
            fitted = _fit(value, hint)
        except _Misfit:
            raise refuse(name, value, _expected(hint)) from None
        object.__setattr__(config, name, fitted)


def refusal(section: str) -> Refuse:
    """Return the `Refuse` of a section of the configuration; "" is the top level."""
    place, where = (f"{section}.", f"{section}: ") if section else ("", "")

    def refuse(name: str, value: Any, expected: Expected) -> UserError:
        if expected.only_choices:
            return UserError(f"{where}{unknown_choice(name, value, expected.choices)}")
        if value is None:
            return UserError(f"{place}{name} is null: give a value, or leave it out")
        near = suggest(value, expected.choices) if isinstance(value, str) else ""
        told = f"{place}{name} is {_shown(value)}: give {expected.words}"
        return UserError(f"{told}{near}{_way_out(value, expected)}")

    return refuse


def unknown_choice(name: str, value: Any, known: Sequence[str]) -> str:
    """Message for an unknown value; it suggests the nearest known one."""
    return f"unknown {name} '{value}'{suggest(str(value), known)} (known: {', '.join(known)})"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) or is_dataclass(value):
        return f"a {type(value).__name__}"
    return repr(value)


def _way_out(value: Any, expected: Expected) -> str:
    if isinstance(value, float) and value.is_integer() and WORDS[int] in expected.words:
        return f", such as {int(value)}"
    if isinstance(value, str) and expected.words == TEXTS:
        return f", such as {[value]}"
    if isinstance(value, Mapping):
        return ", or all of it to Config.from_dict"
    return ""


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _plain(value: Any) -> Any:
    """Convert a NumPy number or array (or a tensor) to Python numbers; return others unchanged."""
    plain = getattr(value, "tolist", None)
    return plain() if callable(plain) and not isinstance(value, type) else value


def _fit(value: Any, hint: Any) -> Any:
    """Return `value` converted to the type `hint`; raise _Misfit if it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _fit_any(value, inner)
    if origin is Literal:
        return _fit_choice(value, inner)
    if origin is tuple:
        return _fit_tuple(value, inner[0])
    if hint is float:
        return _fit_number(value)
    fits = type(value) is hint if hint in (bool, int) else isinstance(value, hint)
    if not fits:
        raise _Misfit
    return str.__str__(value) if hint is str else value


def _fit_any(value: Any, hints: Sequence[Any]) -> Any:
    for hint in hints:
        try:
            return _fit(value, hint)
        except _Misfit:
            continue
    raise _Misfit


def _fit_choice(value: Any, known: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise _Misfit
    return str.__str__(value)


def _fit_tuple(value: Any, hint: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise _Misfit
    return tuple(_fit(_plain(item), hint) for item in value)


def _fit_number(value: Any) -> float:
    if type(value) not in (int, float):
        raise _Misfit
    try:
        return float(value)
    except OverflowError:
        raise _Misfit from None


def _expected(hint: Any) -> Expected:
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices = [one for member in members for one in _choices(member)]
    return Expected(
        words=_listed([word for member in members for word in _words(member)]),
        choices=tuple(choices),
        only_choices=all(get_origin(member) is Literal for member in members),
    )


def _choices(hint: Any) -> tuple[str, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _words(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [repr(one) for one in get_args(hint)]
    if get_origin(hint) is tuple:
        return [f"a list of {WORDS[get_args(hint)[0]].removeprefix('a ')}s"]
    return [WORDS.get(hint, f"a {hint.__name__}")]


def _listed(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
