"""The freeze of early layers: the stem's weight norm, gradient step and angle over log steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.lines import NETWORK, band, lines
from analysis.groups import Group
from analysis.layer_dynamics import FROZEN_BELOW, STEM
from resnet_lab.recording.quantity import label_of

QUANTITIES = ("weight_norm", "relative_update")
ANGLE = "update_angle"
"""A quantity that older runs lack; its panel is drawn where it was recorded."""


def stems(group: Group) -> pd.DataFrame:
    """Return the stem's weight norm, relative update and update angle at each recorded step.

    Columns: quantity, family, depth, shortcut, short, step, n, middle (geometric mean over seeds),
    low, high (smallest and largest seed). Values of 0 are left out: they have no logarithm.
    """
    layers = group.runs.layers
    rows = layers[(layers["name"] == STEM) & layers["quantity"].isin([*QUANTITIES, ANGLE])]
    rows = group.of_shown(rows[np.isfinite(rows["value"]) & (rows["value"] > 0)])
    rows = rows.assign(log=np.log(rows["value"].astype(float)))
    found = {"n": ("log", "count"), "middle": ("log", "mean")}
    ends = {"low": ("value", "min"), "high": ("value", "max")}
    table = rows.groupby(["quantity", *NETWORK, "step"]).agg(**found, **ends).reset_index()
    return table.assign(middle=np.exp(table["middle"]))


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: weight norm above, relative update below, then the angle if recorded."""
    table = stems(group)
    there = set(table["quantity"])
    if not set(QUANTITIES) <= there:
        return None
    shown = [*QUANTITIES, *({ANGLE} & there)]
    figure = style.new_figure(style.COLUMN_WIDTH, 0.4 + 2.0 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True)
    for axes, quantity in zip(panels, shown, strict=True):
        _draw_lines(axes, table[table["quantity"] == quantity])
        style.log_value_axis(axes)
        style.log_step_axis(axes, float(table["step"].max()))
        label = label_of(quantity).replace(" update ", " update\n")  # no wider than its panel
        axes.set_ylabel(f"stem {label}")
    for axes in panels[:-1]:
        axes.set_xlabel("")
    threshold = panels[1].axhline(FROZEN_BELOW, color=style.THEORY_COLOUR, linestyle=":")
    threshold.set_label(f"gradient step tiny below {FROZEN_BELOW:g}")
    style.panels_legend(figure, panels[1:2], most=3)
    style.describe(figure, group.label)
    return figure


def _draw_lines(axes: Axes, table: pd.DataFrame) -> None:
    for line in lines(table):
        axes.plot(
            line.points["step"],
            line.points["middle"],
            style.FAMILY_STYLE[line.family],
            color=line.colour,
            linewidth=1.3 if line.family == "plain" else 1.7,
            marker=style.ARM_MARKER[line.shortcut],
            markersize=2.5,
            label=line.label,
        )
        band(axes, line, "step")


def caption(group: Group) -> str:
    """Return the caption."""
    angle = (
        " Bottom: the angle by which each step, momentum included, really turned the weights."
        if ANGLE in set(stems(group)["quantity"])
        else " Angles of the steps really taken were not recorded: record again to see them."
    )
    return (
        "The first convolution (stem) over training, on a log(1 + step) axis from step 0: weight "
        "norm above, relative update lr |g| / |w| below it. Dashed with circles: plain; solid: "
        "residual. Geometric means over seeds, bands from the lowest to the highest seed. Below "
        f"the dotted line ({FROZEN_BELOW:g}) a gradient step is tiny beside the weights. Batch "
        "norm makes the loss indifferent to their size, so only their direction matters. "
        "lr |g| / |w| knows no momentum, which moves weights for tens of steps after their "
        "gradient collapsed, and says nothing of steps that are not shown."
        f"{angle}"
    )
