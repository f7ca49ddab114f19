"""A quantity: what is measured in networks while they train, with all that the rest must know.

The recorder, the columns of layers.parquet, the report's explorer, axes and W&B's curves read the
one list here. A new quantity is a file in `quantities/`, or the user's own (see `own`). Nothing
here needs torch: what measures gets its objects when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from resnet_lab.errors import UserError, suggest
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.parts.registry import Registry
from resnet_lab.recording.sites import Site, block_sites, network_sites, weight_sites

if TYPE_CHECKING:
    from torch import Tensor

At = Literal["layer", "block", "network"]
Needs = Literal["gradients", "probe", "tensors", "update"]
Sites = Callable[[NetworkSpec], tuple[Site, ...]]

SITES: Mapping[At, Sites] = {
    "layer": weight_sites,
    "block": block_sites,
    "network": network_sites,
}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One thing that is measured.

    Attributes:
        name: in layers.parquet and everywhere else.
        at: what has one value: a layer, a block or the network.
        needs: when and on what it is measured, which is what `measure` is given: "gradients" a
            `moments.BeforeUpdate`, "probe" a `responses.Probe`, "tensors" one that has kept the
            tensors of its places, "update" a `moments.AfterUpdate`. All quantities share it.
        label: what axes and menus call it.
        formula: what it is, in one line of the docs.
        measure: returns one value a site, float32, on the network's device and without waiting for
            it; None for a network that has none.
        sites: where; every one of `at` if not given.
        place: its rank in menus.
        logarithmic: whether its axis is, to begin with.
        curves: whether W&B draws its values in the stem and in the last layer. What has one value a
            network is drawn in any case.
        origin: whose file defines it, if it isn't that of `measure`.
    """

    name: str
    at: At
    needs: Needs
    label: str
    formula: str
    measure: Callable[[Any], Tensor | None]
    sites: Sites | None = None
    place: int = 1000
    logarithmic: bool = True
    curves: bool = False
    origin: Callable[..., Any] | None = None

    def sites_of(self, spec: NetworkSpec) -> tuple[Site, ...]:
        """The places of its values in a network, in their order."""
        return (self.sites or SITES[self.at])(spec)

    @property
    def defined_by(self) -> Callable[..., Any]:
        """The function whose file decides what is measured."""
        return self.origin or self.measure


QUANTITIES: Registry[Quantity] = Registry("quantity", "resnet_lab.recording.quantities")


def register(*quantities: Quantity) -> None:
    """Make quantities known.

    Raises:
        UserError: a name is taken or can't be one, or there is no such place to measure at.
    """
    for one in quantities:
        if not one.name.isidentifier():
            raise UserError(
                f"quantity '{one.name}': a name has letters, digits and '_', no digit first"
            )
        if one.at not in SITES:
            known = get_args(At)
            raise UserError(
                f"quantity '{one.name}': at is '{one.at}'{suggest(str(one.at), known)}; give "
                f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
            )
        QUANTITIES.add(one.name, one)


def in_menus() -> list[Quantity]:
    """Return every known quantity in the order in which menus offer them."""
    return sorted(QUANTITIES.all().values(), key=lambda one: one.place)


def label_of(name: str) -> str:
    """What axes and menus call a recorded quantity: its name if nothing more is known of it."""
    known = QUANTITIES.find(name)
    return known.label if known is not None else name
