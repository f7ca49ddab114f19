"""Values of arms against depth: markers with intervals, on a logarithmic axis of depths."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from analysis.figures import style


def draw_arms(axes: Axes, table: pd.DataFrame, value: str, *, seeds: bool = False) -> None:
    """Draw a column of `table` with its interval (low, high) against depth, a line an arm.

    `seeds` adds the number of seeds (column n) to the labels.
    """
    for arm in style.arms(table["shortcut"]):
        line = table[table["shortcut"] == arm].sort_values("depth")
        counted = f" ({style.seeds_text(line['n'])})" if seeds else ""
        axes.errorbar(
            line["depth"],
            line[value],
            yerr=[line[value] - line["low"], line["high"] - line[value]],
            fmt=style.ARM_STYLE[arm],
            marker=style.ARM_MARKER[arm],
            color=style.ARM_COLOUR[arm],
            markersize=3.5,
            linewidth=1.2,
            elinewidth=0.9,
            capsize=2,
            label=f"{style.ARM_NAME[arm]}{counted}",
        )


def depth_axis(axes: Axes, table: pd.DataFrame) -> None:
    """Put ticks at the depths, and leave room at both ends."""
    depths = sorted(table["depth"].unique())
    axes.set_xscale("log")
    axes.set_xlim(depths[0] / 1.35, depths[-1] * 1.35)
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.xaxis.set_minor_locator(NullLocator())
