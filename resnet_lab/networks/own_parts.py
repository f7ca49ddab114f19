"""The user's own parts: a torch module that becomes a part by a decorator, in a file of parts.

    @rl.part("activation", "swish")            # plain-56-swish
    class Swish(nn.Module):
        def forward(self, x): return x * x.sigmoid()

The class is made once for each place in a network. It is given what its constructor names of
`channels` (of the maps that it sees) and `number` (the one behind its token). Parameters get their
values from its `reset_parameters`, under a random state that depends on the seed and the place.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_lab.errors import UserError, suggest
from resnet_lab.networks.part import Activation, Branch, Norm, Part
from resnet_lab.networks.registry import register, registered, unregister

if TYPE_CHECKING:
    from torch import nn

Kind = TypeVar("Kind", bound=type)


@dataclass(frozen=True, kw_only=True)
class _Own(Part):
    """A part whose module is an instance of the user's class."""

    kind: type

    @property
    def origin(self) -> type:
        """The user's class."""
        return self.kind

    def module(self, channels: int) -> nn.Module:
        """Return an instance of the class."""
        offered = {"channels": channels, "number": self.number}
        wanted = inspect.signature(self.kind).parameters
        made: nn.Module = self.kind(**{name: offered[name] for name in offered if name in wanted})
        return made

    def parameters(self, channels: int) -> int:
        """Return how many the module has."""
        return _count(self, channels)


@cache
def _count(part: _Own, channels: int) -> int:
    import torch

    with torch.device("meta"):
        return sum(one.numel() for one in part.module(channels).parameters())


@dataclass(frozen=True, kw_only=True)
class OwnActivation(_Own, Activation):
    """The user's activation."""

    @property
    def gain(self) -> float:
        """The class's attribute `gain`, else ReLU's."""
        return float(getattr(self.kind, "gain", 2.0))


@dataclass(frozen=True, kw_only=True)
class OwnNorm(_Own, Norm):
    """The user's normalisation."""


@dataclass(frozen=True, kw_only=True)
class OwnBranch(_Own, Branch):
    """The user's way with F(x)."""


OWN: dict[str, type[_Own]] = {one.axis: one for one in (OwnActivation, OwnNorm, OwnBranch)}


def part(
    axis: str,
    token: str,
    *,
    number: tuple[float, float] | None = None,
    label: str = "",
    **options: Any,
) -> Callable[[Kind], Kind]:
    """Make a torch module a part of networks: a class decorator.

    Args:
        axis: "activation", "norm" or "branch".
        token: how names of networks say it.
        number: the smallest and the largest number that may stand behind the token; None for none.
        label: how labels of figures say it; by default axis and token.
        options: further fields of the part; of a norm, `bias=True` where convolutions need one.

    Raises:
        UserError: there is no such axis, the token is taken, or the class is no module.
    """

    def decorate(kind: Kind) -> Kind:
        from torch import nn

        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise UserError(f"{axis} '{token}': {kind!r} is no class of torch modules")
        if "forward" not in vars(kind) and kind.forward is nn.Module.forward:
            raise UserError(f"{axis} '{token}': {kind.__name__} has no method forward")
        own = OWN[axis](name=token, token=token, said=label, takes=number, kind=kind, **options)
        register(own)
        return kind

    if axis not in OWN:
        raise UserError(f"unknown axis '{axis}'{suggest(axis, OWN) or '.'} Known: {', '.join(OWN)}")
    return decorate


VARIABLE = "RESNET_LAB_PARTS"
"""Files of parts that every process is to know, joined by the system's separator of paths."""
GROUP = "resnet_lab.parts"
"""Entry points of installed packages: modules that register parts when they are imported."""

_files: dict[Path, tuple[str, list[Part]]] = {}


def load_named() -> None:
    """Load the files of `VARIABLE` and the entry points of `GROUP`.

    Raises:
        UserError: one cannot be used; it is named.
    """
    for file in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        load_parts(file)
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            raise UserError(
                f"the parts of {entry.value} ({GROUP}) fail: {type(error).__name__}: {error}"
            ) from error


def loaded_files() -> list[dict[str, str]]:
    """Return path and SHA-256 of every file of parts that this process has loaded."""
    return [{"path": str(path), "sha256": digest} for path, (digest, _) in _files.items()]


def load_parts(path: Path | str) -> str:
    """Run a file of parts, once, and return its SHA-256; a file that has changed is run anew.

    The file is the user's code and is trusted as such.

    Raises:
        UserError: there is no such file, it fails or registers nothing; it then adds nothing.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise UserError(f"{path}: there is no such file of parts")
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    known, parts = _files.get(file, ("", []))
    if known == digest:
        return digest
    unregister(*parts)
    _files.pop(file, None)
    before = registered()
    try:
        _run(file, digest)
        added = [one for one in registered() if one not in before]
        if not added:
            raise UserError("it registers no part; decorate a class with @rl.part(AXIS, TOKEN)")
    except UserError as error:
        unregister(*(one for one in registered() if one not in before))
        raise UserError(f"{path}: {error}") from error
    _files[file] = digest, added
    return digest


def _run(file: Path, digest: str) -> None:
    name = f"own_parts_{digest[:12]}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError("not a file of Python; its name must end in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [one.lineno for one in frames if one.filename == str(file)]
        where = f"line {lines[-1]}: " if lines else ""
        raise UserError(f"{where}{type(error).__name__}: {error}") from error
