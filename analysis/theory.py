"""Theoretical growth of gradients at initialisation for a group's networks."""

from __future__ import annotations

from analysis.groups import Group
from resnet_lab.networks.part import Activation
from resnet_lab.networks.registry import find


def gradient_growth(group: Group) -> float | None:
    """Return the growth per layer of plain networks' activation gradients, towards the input.

    For batch norm, great width and no border (Yang et al. 2019), by the activation; None where no
    theory is known: for another norm, weights that are not independent, or an activation that
    depends on the depth.
    """
    part = find(Activation, str(group.settings["activation"]))
    told = group.settings["norm"] == "batch" and group.settings["init"] in ("fan-in", "fan-out")
    return part.gradient_growth if part and told else None


def theory_caption(group: Group, drawn: str, note: str = "") -> str:
    """Return a caption's text on the theory's dotted line; "" where there is none.

    Args:
        group: of the figure.
        drawn: what the line shows, such as "the slope that theory gives".
        note: more about it.
    """
    theory = gradient_growth(group)
    if theory is None:
        return ""
    border = (
        " It has no border: zero padding lowers the growth, most on the small maps of late stages."
    )
    return (
        f" Dotted: {drawn} for activation gradients of wide, fully connected plain batch-norm "
        f"networks, {theory:.4f} (Yang et al. 2019){note}.{border if bounded(group) else ''}"
    )


def bounded(group: Group) -> bool:
    """Whether maps have a border, unlike in theory: zero padding lowers the growth."""
    return group.settings["padding"] != "circular"
