"""Standard deviations of layer responses at the end of training (R Figure 7, both panels)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.lines import NETWORK, lines
from analysis.groups import Group
from analysis.layer_dynamics import at_step

LOG_ABOVE = 10
"""Ratio of the largest response to the smallest at which the axis becomes logarithmic."""


def responses(group: Group) -> pd.DataFrame:
    """Return the mean response std over seeds at each finished member's last recorded step.

    Columns: family, depth, shortcut, short, layer, n, std, rank; rank 1 is the network's largest
    response. A response is a main-path convolution's output after its norm, before ReLU and
    addition.
    """
    rows = group.of(at_step(group.runs.layers, "response_std"))
    finished = group.finished[["run", "network"]]
    rows = rows.merge(finished, on=["run", "network"])
    grouped = rows.groupby([*NETWORK, "layer"])["value"]
    table = grouped.agg(n="count", std="mean").reset_index()
    rank = table.groupby(NETWORK)["std"].rank(method="first", ascending=False)
    return table.assign(rank=rank.astype(int))


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: layers in order on top, sorted by magnitude below."""
    table = responses(group)
    if table.empty:
        return None
    figure = style.new_figure(style.COLUMN_WIDTH, 4.2)
    top, bottom = figure.subplots(2, 1, sharey=True)
    _draw_lines(top, table, "layer")
    _draw_lines(bottom, table, "rank")
    top.set_title("layers in order")
    top.set_xlabel("layer (1 = stem, next to the input)")
    bottom.set_title("layers sorted by magnitude")
    bottom.set_xlabel("layer, sorted: largest response first")
    style.panels_legend(figure, [top], most=3)
    style.describe(figure, group.label)
    return figure


def _draw_lines(axes: Axes, table: pd.DataFrame, place: str) -> None:
    for line in lines(table):
        points = line.points.sort_values(place)
        axes.plot(
            points[place],
            points["std"],
            style.FAMILY_STYLE[line.family],
            color=line.colour,
            linewidth=1.1 if line.family == "plain" else 1.7,
            label=line.label,
            **line.sparse_marker,
        )
    if table["std"].max() > LOG_ABOVE * table["std"].min() > 0:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, table[place].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylabel(f"response std{', log axis' if axes.get_yscale() == 'log' else ''}")


def caption(group: Group) -> str:
    """Return the caption."""
    return (
        "Standard deviation of the responses of each main-path convolution (after its norm, before "
        "ReLU and addition, on one fixed batch) at the last recorded step; mean over seeds. Top: "
        "in the order of the layers; bottom: sorted, the largest first (R Figure 7). Dashed: "
        "plain; solid: residual. The axis is logarithmic where responses differ by more than a "
        f"factor of {LOG_ABOVE}. Behind a batch norm, with the batch's own statistics, it is that "
        "of gamma and beta alone: 1 in every layer before training."
    )
