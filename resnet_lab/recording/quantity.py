"""Quantities: values measured in networks during training, with their metadata.

The recorder, the columns of layers.parquet, the report's explorer, axes and W&B's curves all read
the registry here. A new quantity is a file in `quantities/`, or the user's own (see `own`). This
module needs no torch: measuring functions get their objects when called.
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
Needs = Literal["gradients", "probe", "tensors", "update", "descent", "start"]
Sites = Callable[[NetworkSpec], tuple[Site, ...]]

SITES: Mapping[At, Sites] = {
    "layer": weight_sites,
    "block": block_sites,
    "network": network_sites,
}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One measured quantity and its metadata.

    Attributes:
        name: its name in layers.parquet and everywhere else.
        at: has one value per layer, per block or per network.
        needs: the argument of `measure`: "gradients" a `moments.BeforeUpdate`, "probe" a
            `responses.Probe`, "tensors" a probe with the tensors of its sites, "update" a
            `moments.AfterUpdate`, "descent" and "start" one that has the update's gradients or the
            initial weights. All quantities share this object.
        label: label on axes and in menus.
        formula: its definition, in one line of the docs.
        measure: returns one value per site, float32, on the network's device and without
            synchronisation; None for a network that has none.
        sites: the sites measured; by default every one of `at`.
        place: its position in menus.
        logarithmic: whether its axis is logarithmic by default.
        default: whether it is recorded unless the configuration names others.
        curves: whether W&B draws its values in the stem and in the last layer. A quantity with one
            value per network is always drawn.
        origin: object whose file defines the quantity, if not that of `measure`.
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
    default: bool = True
    curves: bool = False
    origin: Callable[..., Any] | None = None

    def sites_of(self, spec: NetworkSpec) -> tuple[Site, ...]:
        """The sites of its values in a network, in order."""
        return (self.sites or SITES[self.at])(spec)

    @property
    def defined_by(self) -> Callable[..., Any]:
        """The function whose file defines the quantity."""
        return self.origin or self.measure


QUANTITIES: Registry[Quantity] = Registry("quantity", "resnet_lab.recording.quantities")


def register(*quantities: Quantity) -> None:
    """Register quantities.

    Raises:
        UserError: a name is taken or invalid, or `at` is unknown.
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
        QUANTITIES.add(one.name, one, one.defined_by)


def in_menus() -> list[Quantity]:
    """Return every registered quantity in menu order."""
    return sorted(QUANTITIES.all().values(), key=lambda one: one.place)


def label_of(name: str) -> str:
    """Label of a recorded quantity on axes and in menus; its name if it is not registered."""
    known = QUANTITIES.find(name)
    return known.label if known is not None else name
