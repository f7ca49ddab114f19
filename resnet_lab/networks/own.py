"""The user's own parts: a torch module that becomes a part by a decorator, in a file of parts.

    @rl.part("activation", "swish")            # plain-56-swish
    class Swish(nn.Module):
        def forward(self, x): return x * x.sigmoid()

The class is made once for each place in a network. It is given what its constructor names of
`channels` (of the maps that it sees) and `number` (the one behind its token). Parameters get their
values from its `reset_parameters`, under a random state that depends on the seed and the place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_lab.errors import UserError, suggest
from resnet_lab.networks.part import Activation, Branch, Norm, Part
from resnet_lab.networks.registry import register

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
