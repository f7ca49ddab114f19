"""Published final errors, marked at the right edge of training curves."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType

from analysis.figures.lines import Line, lines
from analysis.groups import Group
from analysis.paper import load_paper

ENDING = " published"


def mark_published(
    axes: Axes, table: pd.DataFrame, group: Group, colour: Callable[[Line], ColorType]
) -> None:
    """Mark the published final error of each network of `table`, where there is one."""
    members = group.members[group.members["short"].isin(table["short"])]
    for line in lines(members.drop_duplicates("short")):
        network = str(line.points["network"].iloc[0])
        result = load_paper().result(network, str(group.settings["data"]))
        if result is not None:
            axes.plot(
                [1.0],
                [result.error],
                "<",
                color=colour(line),
                markeredgecolor="white",
                markersize=7,
                clip_on=False,
                transform=axes.get_yaxis_transform(),
                label=f"{line.short}{ENDING}",
                zorder=5,
            )


def published_handles(figure: Figure) -> list[Line2D]:
    """Return the legend's entry for such marks; empty where the figure has none."""
    drawn = [line for axes in figure.axes for line in axes.lines]
    if not any(str(line.get_label()).endswith(ENDING) for line in drawn):
        return []
    return [Line2D([], [], color="0.2", marker="<", linestyle="", label="published, final")]
