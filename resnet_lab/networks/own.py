"""User-defined parts: the decorator `part` registers a class or function of a parts file.

    @rl.part("activation", "swish")            # plain-56-swish
    class Swish(nn.Module):
        def forward(self, x): return x * x.sigmoid()

The constructor or function receives, by keyword, the arguments that its signature names; see
docs/extending.md for those of each axis. Parameters get their values from `reset_parameters`,
under a random state that depends on the seed and the layer.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from resnet_lab.errors import UserError, suggest
from resnet_lab.networks.part import (
    Activation,
    Branch,
    Initialisation,
    Norm,
    Ordering,
    Padding,
    Part,
    Shortcut,
    WeightPlace,
)
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from resnet_lab.networks.architecture import BlockTable

Kind = TypeVar("Kind", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class _Own(Part):
    """A part that the user's class or function defines."""

    kind: Callable[..., Any]

    @property
    def origin(self) -> Any:
        """The user's decorated class or function."""
        return self.kind

    def made(self, **offered: Any) -> Any:
        """Call the user's class or function with the arguments of `offered` that it accepts."""
        offered = {"number": self.number, **offered}
        wanted = inspect.signature(self.kind).parameters
        return self.kind(**{name: offered[name] for name in offered if name in wanted})


@cache
def _count(part: _Own, offered: tuple[tuple[str, int], ...]) -> int:
    """Count the parameters of a module, built without allocating values."""
    import torch
    from torch import nn

    with torch.device("meta"):
        made: nn.Module = part.made(**dict(offered), identity=nn.Identity())
        return sum(one.numel() for one in made.parameters())


class _OwnLayer(_Own):
    """A module for maps of some channels."""

    def module(self, channels: int) -> nn.Module:
        made: nn.Module = self.made(channels=channels)
        return made

    def parameters(self, channels: int) -> int:
        return _count(self, (("channels", channels),))


class _OwnInBlock(_Own):
    """A module of a block."""

    def parameters(self, block: BlockTable) -> int:
        return _count(self, tuple(_offered(block).items()))


def _offered(block: BlockTable) -> dict[str, int]:
    return {
        "channels": block.out_channels,
        "in_channels": block.in_channels,
        "out_channels": block.out_channels,
        "stride": block.stride,
        "block": block.index,
        "blocks": block.blocks,
    }


@dataclass(frozen=True, kw_only=True)
class OwnActivation(_OwnLayer, Activation):
    """The user's activation."""

    depth: int = 0

    def at_depth(self, depth: int) -> Self:
        """Return the part with the depth set, if the class takes a depth."""
        asked = "depth" in inspect.signature(self.kind).parameters
        return replace(self, depth=depth) if asked else self

    def made(self, **offered: Any) -> Any:
        """Return an instance of the class."""
        return super().made(**offered, depth=self.depth)

    @property
    def gain(self) -> float:
        """The class's `gain`: a value, or a function of number and depth; by default ReLU's."""
        gain = getattr(self.kind, "gain", 2.0)
        if callable(gain):
            gain = replace(self, kind=gain).made()
        return float(gain)


@dataclass(frozen=True, kw_only=True)
class OwnNorm(_OwnLayer, Norm):
    """The user's normalisation."""


@dataclass(frozen=True, kw_only=True)
class OwnBranch(_OwnInBlock, Branch):
    """The user's branch: what is done to F(x)."""

    def module(self, block: BlockTable) -> nn.Module:
        """Return an instance of the class."""
        made: nn.Module = self.made(**_offered(block))
        return made


@dataclass(frozen=True, kw_only=True)
class OwnShortcut(_OwnInBlock, Shortcut):
    """The user's shortcut."""

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return an instance of the class."""
        made: nn.Module = self.made(**_offered(block), identity=identity)
        return made

    @property
    def has_parameters(self) -> bool:
        """Whether the module has any."""
        shape = ("channels", "in_channels", "out_channels")
        rest = {"stride": 1, "block": 1, "blocks": 1}
        return bool(_count(self, tuple({**dict.fromkeys(shape, 4), **rest}.items())))


@dataclass(frozen=True, kw_only=True)
class OwnInitialisation(_Own, Initialisation):
    """The user's initialisation: a function that returns weights, or a std."""

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return the function's weights, or draw normal ones with the std that it returns."""
        import torch

        made = self.made(**vars(place), generator=generator)
        if not isinstance(made, torch.Tensor):
            return torch.randn(place.shape, generator=generator) * float(made)
        if tuple(made.shape) != place.shape:
            raise UserError(
                f"init '{self.name}': weights of {place.name} have the shape {tuple(made.shape)}, "
                f"not {place.shape}"
            )
        return made


@dataclass(frozen=True, kw_only=True)
class OwnPadding(_Own, Padding):
    """The user's padding: a function of (x, margin)."""

    mode: None = None

    def pad(self, x: Tensor, margin: int) -> Tensor:
        """Return `x` with `margin` more pixels on each side."""
        made: Tensor = self.made(x=x, margin=margin)
        return made


@dataclass(frozen=True, kw_only=True)
class OwnOrdering(_Own, Ordering):
    """The user's ordering: a class whose attributes are the fields of an `Ordering`."""


_KINDS: Mapping[str, type[_Own]] = {
    one.axis: one
    for one in (
        *(OwnActivation, OwnNorm, OwnBranch, OwnShortcut),
        *(OwnInitialisation, OwnPadding, OwnOrdering),
    )
}
_FUNCTIONS = ("init", "padding")


def part(
    axis: str,
    token: str,
    *,
    number: tuple[float, float] | None = None,
    label: str = "",
    **options: Any,
) -> Callable[[Kind], Kind]:
    """Decorator that registers a class or function as a part of networks.

    Activations, norms, branches and shortcuts are torch modules; inits and paddings are functions;
    an ordering is any class with the attributes of `Ordering`.

    Args:
        axis: the axis that it belongs to, such as "activation".
        token: its option in network names.
        number: smallest and largest number that may follow the token; None if it takes none.
        label: its text in figure labels; by default axis and token.
        options: further fields of the part; of a norm, `bias=True` where convolutions need one.

    Raises:
        UserError: the axis is unknown, the token is taken, or the object does not suit the axis.
    """

    def decorate(kind: Kind) -> Kind:
        about = f"{axis} '{token}'"
        if axis == "ordering":
            fields = {**_ordering(about, kind), **options}
        else:
            fields = options
            (_check_function if axis in _FUNCTIONS else _check_module)(about, kind)
        own = _KINDS[axis](name=token, token=token, said=label, takes=number, kind=kind, **fields)
        register(own)
        return kind

    if axis not in _KINDS:
        hint = suggest(axis, _KINDS) or "."
        raise UserError(f"unknown axis '{axis}'{hint} Known: {', '.join(_KINDS)}")
    return decorate


def _check_function(about: str, kind: object) -> None:
    if isinstance(kind, type) or not callable(kind):
        raise UserError(f"{about}: {kind!r} is no function")


def _check_module(about: str, kind: object) -> None:
    from torch import nn

    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise UserError(f"{about}: {kind!r} is no class of torch modules")
    if kind.forward is nn.Module.forward:
        raise UserError(f"{about}: {kind.__name__} has no method forward")


def _ordering(about: str, kind: object) -> dict[str, str]:
    """Return the class's ordering fields; raise if they do not describe a block."""
    names = ("unit", "between", "enter", "after")
    found = {name: getattr(kind, name) for name in names if hasattr(kind, name)}
    texts = all(isinstance(one, str) and re.fullmatch("[WNA]*", one) for one in found.values())
    if not texts or [found.get(name, "").count("W") for name in names] != [1, 0, 0, 0]:
        raise UserError(
            f"{about}: give unit, between, enter and after as letters, W for a convolution, N for "
            "a norm, A for an activation; unit has one W and the others none"
        )
    return {"between": "", **found}
