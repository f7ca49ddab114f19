"""The freeze of early layers: the stem's weight norm and relative update over log steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.lines import NETWORK, band, lines
from analysis.groups import Group
from analysis.layer_dynamics import FROZEN_BELOW, STEM
from resnet_lab.runs.frames import Runs

QUANTITIES = {
    "weight_norm": "weight norm |w|",
    "relative_update": "relative update lr |g| / |w|",
}


def plot_freeze(runs: Runs) -> Figure | None:
    """Draw the main group's stems; None where they were not recorded."""
    return style.of_main_group(draw, runs)


def stems(group: Group) -> pd.DataFrame:
    """Return the stem's weight norm and relative update at each recorded step.

    Columns: quantity, family, depth, shortcut, short, step, n, middle (geometric mean over seeds),
    low, high (smallest and largest seed). Values of 0 are left out: they have no logarithm.
    """
    layers = group.runs.layers
    rows = layers[(layers["name"] == STEM) & layers["quantity"].isin(list(QUANTITIES))]
    rows = group.of_shown(rows[np.isfinite(rows["value"]) & (rows["value"] > 0)])
    rows = rows.assign(log=np.log(rows["value"].astype(float)))
    grouped = rows.groupby(["quantity", *NETWORK, "step"])
    table = pd.DataFrame(
        {
            "n": grouped["log"].count(),
            "middle": np.exp(grouped["log"].mean()),
            "low": grouped["value"].min(),
            "high": grouped["value"].max(),
        }
    )
    return table.reset_index()


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: weight norm above, relative update below."""
    table = stems(group)
    if set(table["quantity"]) != set(QUANTITIES):
        return None
    figure = style.new_figure(style.COLUMN_WIDTH, 4.4)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, quantity in zip(panels, QUANTITIES, strict=True):
        _draw_lines(axes, table[table["quantity"] == quantity])
        style.log_value_axis(axes)
        style.log_step_axis(axes, float(table["step"].max()))
        axes.set_ylabel(f"stem {QUANTITIES[quantity]}")
    panels[0].set_xlabel("")
    threshold = panels[1].axhline(FROZEN_BELOW, color=style.THEORY_COLOUR, linestyle=":")
    threshold.set_label(f"frozen below {FROZEN_BELOW:g}")
    handles, _ = panels[1].get_legend_handles_labels()
    style.figure_legend(figure, handles)
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
    """Say what the figure shows."""
    return (
        "The first convolution (stem) over training, on a log(1 + step) axis from step 0: weight "
        "norm above, relative update lr |g| / |w| below. Dashed with circles: plain; solid: "
        "residual. Geometric means over seeds, bands from the lowest to the highest seed. Dotted: "
        f"{FROZEN_BELOW:g}, below which a layer is marked as frozen. Batch norm makes the loss "
        "indifferent to the weights' size, so only their direction matters; the ratio is that of "
        "one gradient step, without momentum, and says nothing of steps that are not shown."
    )
