"""Theory of initialisation for a group's networks: gradients, cosines and their correlation."""

from __future__ import annotations

import math
from collections.abc import Mapping

from analysis.groups import Group
from resnet_lab.networks.cosine_map import cosine_map, gradient_map
from resnet_lab.networks.part import Activation
from resnet_lab.networks.registry import find


def gradient_growth(group: Group) -> float | None:
    """Return `growth_of` the group's activation."""
    return growth_of(str(group.settings["activation"]), group.settings)


def growth_of(activation: str, settings: Mapping[str, object]) -> float | None:
    """Return the growth per layer of plain networks' activation gradients, towards the input.

    For batch norm, great width and no border (Yang et al. 2019), by the activation; None where no
    theory is known: for another norm, weights that are not independent, or an activation that
    depends on the depth. `settings` are those of the networks, the activation's aside.
    """
    part = find(Activation, activation)
    told = settings["norm"] == "batch" and settings["init"] in ("fan-in", "fan-out")
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


def cosine_course(group: Group, start: float, layers: int) -> list[float] | None:
    """Return the C-map's course through plain networks: `start`, then after each further layer.

    Without norm it is `start` mapped again and again. Batch norm takes away what the images of a
    batch have in common, so that every layer puts out C(0), which is 1 / pi for ReLU. For wide
    networks with He initialisation and no border; None where no theory is known.
    """
    slope = _slope(group, layers)
    if slope is None:
        return None
    if group.settings["norm"] == "batch":
        return [cosine_map(0.0, slope)] * (layers + 1)
    course = [start]
    for _ in range(layers):
        course.append(cosine_map(course[-1], slope))
    return course


def gradient_correlation(group: Group, depth: int, angle: float) -> float | None:
    """Return the correlation of input gradients of images `angle` apart, in plain networks.

    Every activation multiplies it by C'(c), c being the cosine before it (see
    `resnet_lab.networks.cosine_map`). Batch norm removes C(0), common to all images, from what a
    layer puts out. For wide networks with He initialisation and no border, and images at right
    angles to each other on average; None where no theory is known.
    """
    slope = _slope(group, depth)
    if slope is None:
        return None
    common = cosine_map(0.0, slope) if group.settings["norm"] == "batch" else 0.0
    cosine, correlation = math.cos(angle), 1.0
    for _ in range(depth - 1):
        correlation *= gradient_map(cosine, slope)
        cosine = (cosine_map(cosine, slope) - common) / (1 - common)
    return correlation


def _slope(group: Group, depth: int) -> float | None:
    """Slope of the networks' leaky ReLU where the C-map describes their layers, else None."""
    known = {
        "norm": ("batch", "none"),
        "ordering": ("original",),
        "init": ("fan-in", "fan-out"),
        "branch": ("unscaled",),
    }
    part = find(Activation, str(group.settings["activation"]))
    if part is None or any(group.settings[name] not in fits for name, fits in known.items()):
        return None
    return part.at_depth(depth).slope
