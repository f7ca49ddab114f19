"""Sweep files: W&B's own format, whose parameters are flags of `resnet-lab train`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resnet_lab.errors import UserError, suggest

KEYS = (
    "program",
    "name",
    "description",
    "project",
    "entity",
    "method",
    "metric",
    "parameters",
    "command",
    "run_cap",
)
"""Keys of W&B's sweep format that this version understands."""


@dataclass(frozen=True)
class Sweep:
    """The runs that make a study.

    Attributes:
        name: of the study: the file's `name`, or the file name without its ending.
        parameters: flag of `resnet-lab train` -> values; the grid is their product.
    """

    name: str
    parameters: Mapping[str, tuple[Any, ...]]

    def points(self) -> Iterator[list[str]]:
        """The flags of each run; the last parameter varies fastest.

        A configuration file comes first, wherever it stands, as later flags win over earlier.
        """
        for values in itertools.product(*self.parameters.values()):
            point = dict(zip(self.parameters, values, strict=True))
            names = sorted(point, key=lambda name: name != "config")
            yield [f"--{name}={as_flag(point[name])}" for name in names]


def as_flag(value: Any) -> str:
    """Write a YAML value as a flag's value."""
    return value if isinstance(value, str) else json.dumps(value)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: no such file, no YAML, an unknown key, or a method other than a grid.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the sweep file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "parameters" not in content:
        raise UserError(f"{path} is no sweep file: it has no 'parameters'")
    for key in content:
        if key not in KEYS:
            raise UserError(
                f"{path}: unknown key '{key}'{suggest(str(key), KEYS)} (known: {', '.join(KEYS)})"
            )
    if content.get("method") != "grid":
        raise UserError(
            f"{path}: method is '{content.get('method')}'; this version runs 'grid' alone"
        )
    parameters = dict(_flatten(path, content["parameters"]))
    return Sweep(str(content.get("name") or path.stem), parameters)


def _flatten(
    path: Path, parameters: Any, prefix: str = ""
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield (flag, values); nested parameters are joined by dots."""
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(
            f"{path}: parameters{prefix and ' of ' + prefix[:-1]}: give names with values"
        )
    for name, entry in parameters.items():
        flag = f"{prefix}{name}"
        if not isinstance(entry, dict) or len(entry) != 1:
            raise UserError(f"{path}: parameter '{flag}' needs one of value, values, parameters")
        kind, content = next(iter(entry.items()))
        if kind == "parameters":
            yield from _flatten(path, content, f"{flag}.")
        elif kind == "value":
            yield flag, (content,)
        elif kind == "values" and isinstance(content, list) and content:
            yield flag, tuple(content)
        else:
            raise UserError(
                f"{path}: parameter '{flag}' has '{kind}': a grid needs value or a list of values"
            )
