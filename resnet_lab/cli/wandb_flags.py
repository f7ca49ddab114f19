"""Flags as a W&B sweep agent writes them, turned into flags of this command line.

An agent passes `--key=value` for each parameter of a sweep, sorted, with the value as Python
prints it: `--recipe.clip=None`, `--recipe={'lr': 0.1, 'clip': None}`.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, get_type_hints

from resnet_lab.sweeps.distributions import as_flag
from resnet_lab.sweeps.fixed_flags import files_first

CONFIG = "--config"


def from_wandb(arguments: Sequence[str], texts: Collection[str] | None = None) -> list[str]:
    """Return the arguments with values as `resnet-lab train` reads them.

    None becomes null, lists become JSON, nested parameters become one flag each, and --config
    moves before the other flags, so that no file overrides them. Everything else, typed flags
    included, is unchanged.

    Args:
        arguments: of the command line.
        texts: flags whose value is any text, never read as Python; by default those of a run's
            configuration. Only None cannot be told from the text "None" there.
    """
    return files_first(as_typed(arguments, texts))


def as_typed(arguments: Sequence[str], texts: Collection[str] | None = None) -> list[str]:
    """The same with every argument in its place."""
    texts = text_flags() if texts is None else texts
    return [flag for argument in arguments for flag in _rewrite(argument, texts)]


def _rewrite(argument: str, texts: Collection[str]) -> Iterator[str]:
    name, equals, value = argument.partition("=")
    if not (name.startswith("--") and equals):
        yield argument
    elif value == "None":
        yield f"{name}=null"
    elif name in texts or not value.startswith(("[", "(", "{")):
        yield argument
    else:
        try:
            yield from _flags(name, ast.literal_eval(value))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            yield argument  # not Python, but YAML or JSON typed by a user


def _flags(name: str, value: Any) -> Iterator[str]:
    """Yield one flag for each leaf of nested parameters; texts unchanged, all else as JSON."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _flags(f"{name}.{key}", entry)
    else:
        yield f"{name}={as_flag(value)}"


@cache
def text_flags() -> frozenset[str]:
    """Flags of a run's configuration whose value may be any text."""
    from resnet_lab.configuration.config import Config

    names = {CONFIG, *(f"--{name}" for name in _texts_of(Config))}
    return frozenset(names | {name.replace("_", "-") for name in names})


def _texts_of(kind: Any, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], f"{prefix}{field.name}"
        if dataclasses.is_dataclass(hint):
            yield from _texts_of(hint, f"{name}.")
        elif hint in (str, str | None):
            yield name
