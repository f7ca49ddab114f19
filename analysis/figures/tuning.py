"""Error against learning rate: one line a network, its best point marked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.figures import style
from analysis.figures.lines import Line, band, lines
from analysis.tuning import DIVERGED, Tuning

TITLES = {"train": "training error", "validation": "validation error"}


@style.styled
def draw(tuning: Tuning) -> Figure:
    """Draw one tuning: training error left, and right the validation error, which chooses."""
    table, x = profile(tuning)
    figure = style.new_figure(style.COLUMN_WIDTH, 3.3)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, split in zip(panels, TITLES, strict=True):
        _draw_split(axes, table[table["split"] == split].dropna(subset=["mean"]), x)
        axes.set_title(TITLES[split])
        axes.set_ylabel("error (%, log axis above 1)")
        axes.set_xlabel("learning rate (log axis)" if x == "lr" else style.plain_text(x))
        axes.tick_params(axis="x", labelrotation=45)
    _rate_axis(panels[0], table[x])
    style.error_axis(panels[0], float(np.nanmax(table["high"].to_numpy(dtype=float))))
    style.outer_labels_only(panels)
    style.figure_legend(figure, _handles(table), most=2)
    style.describe(figure, tuning.label)
    return figure


def profile(tuning: Tuning) -> tuple[pd.DataFrame, str]:
    """Return the eligible points of a tuning's figure, and the column along its x axis.

    That column is the learning rate, or another number that varies. Where several settings vary, a
    network's point at each rate is the one with the lowest mean validation error over the others.
    """
    table, x = tuning.rates[tuning.rates["eligible"]], tuning.axis
    if len(tuning.settings) > 1:
        seen = table[table["split"] == "validation"]
        chosen = seen.sort_values(["mean", *tuning.settings], kind="stable")
        chosen = chosen.drop_duplicates(["short", x])[["short", *tuning.settings]]
        table = table.merge(chosen, on=["short", *tuning.settings], how="inner")
    return table, x


def _draw_split(axes: Axes, table: pd.DataFrame, x: str) -> None:
    for line in lines(table):
        axes.plot(
            line.points[x],
            line.points["mean"],
            label=line.short,
            **_look(line),
        )
        band(axes, line, x, alpha=0.12)
        best = line.points[line.points["best"]]
        axes.plot(
            best[x],
            best["mean"],
            label=f"{line.short} best",
            marker="*",
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=0.6,
            color=line.colour,
            linestyle="",
            zorder=5,
        )


def _look(line: Line) -> dict[str, Any]:
    """A network's line, with markers by shortcut."""
    return {
        "color": line.colour,
        "linestyle": style.FAMILY_STYLE[line.family],
        "linewidth": 1.2,
        "marker": style.ARM_MARKER[line.shortcut],
        "markersize": 3,
    }


def _handles(table: pd.DataFrame) -> list[Line2D]:
    """The legend: plain networks and the mark of the best rate, then residual networks."""
    seen = list(lines(table[table["split"] == "validation"]))
    plain, residual = (
        [Line2D([], [], label=one.label, **_look(one)) for one in seen if one.family == family]
        for family in style.FAMILIES
    )
    best = Line2D([], [], color="0.2", marker="*", markersize=8, linestyle="", label="best rate")
    return [*plain, best, *residual]


def _rate_axis(axes: Axes, values: pd.Series[float]) -> None:
    """Make an axis of rates logarithmic, with the rates themselves as ticks where they are few."""
    tried = np.sort(values.unique())
    if tried[0] > 0 and tried[-1] > tried[0]:
        axes.set_xscale("log")
    if len(tried) <= 8:
        axes.set_xticks(tried, [f"{rate:g}" for rate in tried])
        axes.xaxis.set_minor_locator(NullLocator())


def caption(tuning: Tuning) -> str:
    """Return the caption."""
    jointly = (
        f"Tuned jointly: {', '.join(tuning.settings)}. At each value of the x axis a network has "
        "those of the others with its lowest mean validation error. "
    )
    return (jointly if len(tuning.settings) > 1 else "") + (
        "Error at the end of training against the learning rate, training error left, validation "
        "error right, on the same axes. Dashed with circles: plain; solid: residual; colours by "
        "depth. Lines are means over seeds, bands run from the lowest to the highest seed. A star "
        "marks each network's best rate: the lowest mean validation error, of equals the smaller "
        "rate; none where every seed diverged. Rates at which some seed has not come to an end "
        f"are left out. A network that diverged counts as {DIVERGED:g} % error."
    )
