"""Published final errors, marked at the right edge of training curves."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.lines import lines
from analysis.groups import Group
from analysis.paper import Result, load_paper

ENDING = " published"


def mark_published(axes: Axes, table: pd.DataFrame, group: Group) -> None:
    """Mark the published final error of each network of `table`, where there is one.

    Only beside runs of the published length: an error after 64,000 iterations says nothing of a
    curve that ends after a few thousand.
    """
    members = group.members[group.members["short"].isin(table["short"])]
    for line in lines(members.drop_duplicates("short")):
        network = str(line.points["network"].iloc[0])
        result = load_paper().result(network, str(group.settings["data"]))
        if result is not None and as_long(group, result):
            axes.plot(
                [1.0],
                [result.error],
                "<",
                color=line.colour,
                markeredgecolor="white",
                markersize=7,
                clip_on=False,
                transform=axes.get_yaxis_transform(),
                label=f"{line.short}{ENDING}",
                zorder=5,
            )


def as_long(group: Group, result: Result) -> bool:
    """Whether a group's runs are as long as those of a published result, as far as it says."""
    lengths = load_paper().protocols[result.protocol].settings.get("iterations", (0,))
    return int(str(group.settings["iterations"])) >= min(int(str(one)) for one in lengths)


def published_text(group: Group) -> str:
    """Return a caption's sentence on the marks; "" where none is drawn."""
    data = str(group.settings["data"])
    results = [load_paper().result(str(name), data) for name in group.members["network"].unique()]
    if not any(one is not None and as_long(group, one) for one in results):
        return ""
    return (
        " Triangles at the right edge: published final errors after as many iterations; the table "
        "names their source and protocol."
    )


def published_handles(figure: Figure) -> list[Line2D]:
    """Return the legend's entry for such marks; empty where the figure has none."""
    drawn = [line for axes in figure.axes for line in axes.lines]
    if not any(str(line.get_label()).endswith(ENDING) for line in drawn):
        return []
    return [Line2D([], [], color="0.2", marker="<", linestyle="", label="published, final")]
