"""What theory predicts of the gradients of a group's networks at initialisation."""

from __future__ import annotations

from analysis.groups import Group
from resnet_lab.networks.part import Activation
from resnet_lab.networks.registry import find


def gradient_growth(group: Group) -> float | None:
    """Return the growth a layer of activation gradients towards the input of the plain networks.

    For batch norm, great width and no border (Yang et al. 2019), by the activation; None where no
    theory is known.
    """
    part = find(Activation, str(group.settings["activation"]))
    return part.gradient_growth if part and group.settings["norm"] == "batch" else None


def bounded(group: Group) -> bool:
    """Whether maps have a border, which theory has not: zero padding lowers the growth."""
    return group.settings["padding"] != "circular"
