"""Detection of project code that the user has replaced in this process, as it affects results.

A replaced block or function trains a different network under the same name. So the functions in
memory are compared with those in the project's files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib.abc import InspectLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from resnet_lab.configuration.optimizers import OPTIMIZERS
from resnet_lab.networks.registry import AXES
from resnet_lab.parts.content import foreign_content, hash_of_code, told

if TYPE_CHECKING:
    from resnet_lab.configuration.config import Config

PACKAGES = ("resnet_lab.networks.", "resnet_lab.data.", "resnet_lab.training.optimizers.")
"""Packages that define networks, their inputs and their updates."""
PARTS = "parts."
"""Prefix of the user's parts in an identity's code."""
OF_QUANTITY = f"{PARTS}quantity."
"""Prefix of recorded quantities, which do not affect training."""


def replaced_code() -> dict[str, str]:
    """Hashes of replaced functions and classes in loaded modules, by place."""
    loaded = sys.modules.copy()  # other threads may import meanwhile
    modules = {name: module for name, module in loaded.items() if name.startswith(PACKAGES)}
    found: dict[str, str] = {}
    for name, module in sorted(modules.items()):
        found |= {f"{name}.{place}": hash_of_code(value) for place, value in _replaced(module)}
    return found


def foreign_parts(config: Config) -> dict[str, str]:
    """Hashes of the user's parts that a run uses, by kind and name."""
    parts = [getattr(spec.parts, axis) for spec in config.specs() for axis in AXES]
    contents = {f"{PARTS}{one.axis}.{one.name}": foreign_content(one.origin) for one in parts}
    optimizer = OPTIMIZERS.get(config.recipe.optimizer)
    contents[f"{PARTS}optimizer.{optimizer.name}"] = foreign_content(optimizer.origin)
    data = config.data.dataset
    contents[f"{PARTS}dataset.{data.name}"] = foreign_content(data.origin, data.options)
    for quantity in config.recording.chosen():
        contents[OF_QUANTITY + quantity.name] = foreign_content(quantity.defined_by)
    return {name: content for name, content in contents.items() if content is not None}


def _replaced(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for place, own in _own_code(module.__name__).items():
        there = _function(module, place)
        if there is None or told(there.__code__) != told(own):
            yield place, there
    for name, table in vars(module).copy().items():
        for key, entry in table.items() if isinstance(table, dict) and name.isupper() else ():
            foreign = isinstance(entry, type) or hasattr(entry, "__code__")
            if foreign and not str(getattr(entry, "__module__", "")).startswith("resnet_lab."):
                yield f"{name}[{key!r}]", entry


@cache
def _own_code(name: str) -> dict[str, CodeType]:
    """All functions and methods that a module's file defines, by qualified name."""
    spec = sys.modules[name].__spec__
    loader = spec.loader if spec is not None else None
    code = loader.get_code(name) if isinstance(loader, InspectLoader) else None
    return dict(_functions(code, "")) if code is not None else {}


def _functions(outer: CodeType, prefix: str) -> Iterator[tuple[str, CodeType]]:
    for inner in outer.co_consts:
        if not isinstance(inner, CodeType) or inner.co_name.startswith("<"):
            continue
        if inner.co_flags & 2:  # CO_NEWLOCALS: a function
            yield f"{prefix}{inner.co_name}", inner
        else:
            yield from _functions(inner, f"{prefix}{inner.co_name}.")


def _function(module: ModuleType, place: str) -> Any:
    """The unwrapped function at a place; None if there is none."""
    found: Any = module
    for name in place.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    for wrapping in ("__func__", "fget", "func", "__wrapped__"):
        found = getattr(found, wrapping, found)
    return found if hasattr(found, "__code__") else None
