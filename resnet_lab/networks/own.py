"""The user's own parts: a class or function that becomes a part by a decorator, in a file of parts.

    @rl.part("activation", "swish")            # plain-56-swish
    class Swish(nn.Module):
        def forward(self, x): return x * x.sigmoid()

What is decorated is given, by name, what its constructor (or the function) asks for; see
docs/extending.md for what each axis offers. Parameters get their values from `reset_parameters`,
under a random state that depends on the seed and the place.
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
        """What the user has decorated."""
        return self.kind

    def made(self, **offered: Any) -> Any:
        """Call what the user has decorated with those of `offered` that it asks for."""
        offered = {"number": self.number, **offered}
        wanted = inspect.signature(self.kind).parameters
        return self.kind(**{name: offered[name] for name in offered if name in wanted})


@cache
def _count(part: _Own, offered: tuple[tuple[str, int], ...]) -> int:
    """Parameters of a module, made without values."""
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
        """Return it with the depth, if the class asks for that."""
        asked = "depth" in inspect.signature(self.kind).parameters
        return replace(self, depth=depth) if asked else self

    def made(self, **offered: Any) -> Any:
        """Return an instance of the class."""
        return super().made(**offered, depth=self.depth)

    @property
    def gain(self) -> float:
        """The class's attribute `gain`, or what it returns for number and depth; else ReLU's."""
        gain = getattr(self.kind, "gain", 2.0)
        if callable(gain):
            gain = replace(self, kind=gain).made()
        return float(gain)


@dataclass(frozen=True, kw_only=True)
class OwnNorm(_OwnLayer, Norm):
    """The user's normalisation."""


@dataclass(frozen=True, kw_only=True)
class OwnBranch(_OwnInBlock, Branch):
    """The user's way with F(x)."""

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
    """The user's initial weights: a function that returns them, or a std."""

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return what the function does, or draw with the std that it returns."""
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
    """Make a class or function a part of networks: a decorator.

    A torch module is an activation, norm, branch or shortcut; a function an init or a padding; any
    class with the attributes of an ordering is one.

    Args:
        axis: what of a network it is.
        token: how names of networks say it.
        number: the smallest and the largest number that may stand behind the token; None for none.
        label: how labels of figures say it; by default axis and token.
        options: further fields of the part; of a norm, `bias=True` where convolutions need one.

    Raises:
        UserError: there is no such axis, the token is taken, or it is not what the axis needs.
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
    """The fields that a class gives, if blocks can be made of them."""
    names = ("unit", "between", "enter", "after")
    found = {name: getattr(kind, name) for name in names if hasattr(kind, name)}
    texts = all(isinstance(one, str) and re.fullmatch("[WNA]*", one) for one in found.values())
    if not texts or [found.get(name, "").count("W") for name in names] != [1, 0, 0, 0]:
        raise UserError(
            f"{about}: give unit, between, enter and after as letters, W for a convolution, N for "
            "a norm, A for an activation; unit has one W and the others none"
        )
    return {"between": "", **found}
