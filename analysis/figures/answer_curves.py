"""Training error of a study's networks: every seed drawn, every line labelled at its end."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.lines import Line, lines
from analysis.figures.training_curves import curves
from analysis.groups import Group
from analysis.labels import settings_in

WIDE, NARROW = (4.6, 2.5), (style.COLUMN_WIDTH, 2.3)
"""Width and height in inches, for a desk and for a phone."""
MOST = 8
"""Most networks drawn; of more, only those of the shallowest and the deepest depth."""
APART = 0.075
"""Distance between labels, as a share of the axis."""


@style.styled
def draw(group: Group, size: tuple[float, float] = WIDE) -> Figure | None:
    """Draw one group; None where no training error was logged."""
    table = chosen(group)
    if table.empty:
        return None
    figure = style.new_figure(*size)
    axes = figure.subplots()
    last = float(table["step"].max())
    seeds = _seeds(group, table)
    for line in lines(table):
        look: dict[str, Any] = {"color": line.colour, "linestyle": style.FAMILY_STYLE[line.family]}
        for _, own in seeds[seeds["short"] == line.short].groupby("seed"):
            axes.plot(own["step"], own["value"], linewidth=0.6, alpha=0.45, **look)
        axes.plot(
            line.points["step"],
            line.points["mean"],
            linewidth=style.BOLD + 0.4,
            label=line.short,
            **look,
        )
    top = max(10.0, float(table["mean"].max()))
    axes.set_ylim(-0.02 * top, min(100.0, 1.04 * top))
    style.iteration_axis(axes, last)
    axes.set_ylabel("training error (%)")
    _label_ends(axes, list(lines(table)), final_errors(group))
    for drop in drops(group):
        axes.axvline(drop, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    style.describe(figure, group.label)
    return figure


def chosen(group: Group) -> pd.DataFrame:
    """Return the rows of `curves` of training error, of `MOST` networks at most."""
    table = curves(group)
    table = table[table["split"] == "train"]
    if table["short"].nunique() > MOST:
        ends = (table["depth"].min(), table["depth"].max())
        table = table[table["depth"].isin(ends) & table["shortcut"].isin(["none", "A"])]
    return table


def _seeds(group: Group, table: pd.DataFrame) -> pd.DataFrame:
    metrics = group.runs.metrics
    rows = metrics[(metrics["metric"] == "error") & (metrics["split"] == "train")]
    rows = group.of_shown(rows.dropna(subset=["value"]))
    return rows[rows["short"].isin(table["short"])].sort_values("step")


def drops(group: Group) -> list[int]:
    """Return the steps at which a group's runs drop the learning rate."""
    told = settings_in(group.settings.get("schedule", "")).get("drops", "")
    return [int(one) for one in told.strip("[]()").split(",") if one.strip().isdigit()]


def final_errors(group: Group) -> pd.Series[float]:
    """Return each network's final training error, percent, mean over finished seeds."""
    return group.finished.groupby("short")["train_error"].mean()


def _label_ends(axes: Axes, drawn: list[Line], final: pd.Series[float]) -> None:
    """Write each network's name and final error right of the axes, apart from each other."""
    low, high = axes.get_ylim()
    ends = sorted(
        ((float(line.points.sort_values("step")["mean"].iloc[-1]), line) for line in drawn),
        key=lambda pair: pair[0],
    )
    wanted = [(end - low) / (high - low) for end, _ in ends]
    for place, (end, line) in zip(spread(wanted, APART), ends, strict=True):
        error = f"  {final[line.short]:.1f} %" if line.short in final else ""
        axes.annotate(
            f"{style.plain_text(line.short)}{error}",
            xy=(1.0, (end - low) / (high - low)),
            xytext=(1.045, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=style.colour(line.shortcut, 56),
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": line.colour,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def spread(wanted: list[float], apart: float) -> list[float]:
    """Move ascending places as little as needed to lie `apart`, within 0 and 1 where they fit.

    >>> [round(one, 2) for one in spread([0.0, 0.0, 0.5], 0.1)]
    [0.0, 0.1, 0.5]
    """
    up = list(wanted)
    for number in range(1, len(up)):
        up[number] = max(up[number], up[number - 1] + apart)
    over = max(0.0, up[-1] - 1.0) if up else 0.0
    down = [one - over * (one >= 1.0 - over - apart * len(up)) for one in up]
    for number in reversed(range(len(down) - 1)):
        down[number] = min(down[number], down[number + 1] - apart)
    return down


def caption(group: Group) -> str:
    """Return the caption: the finding first, then how to read the figure."""
    table = chosen(group)
    final = final_errors(group)
    final = final[final.index.isin(table["short"])].sort_values()
    steps = drops(group)
    dropped = (
        f" Dotted: the learning rate drops, at {' and '.join(map(str, steps))}." if steps else ""
    )
    return (
        f"{_ends(final)}Bold: means over seeds ({style.seeds_text(table['n'])}) of the error on "
        f"{style.batches_text(group)}; thin: every seed; dashed: plain; solid: residual.{dropped} "
        "At the right: errors of the last epoch."
    )


def _ends(final: pd.Series[float]) -> str:
    if len(final) < 2:
        return ""
    return (
        f"{final.index[-1]} ends highest, at {final.iloc[-1]:.1f} % training error, "
        f"{final.index[0]} lowest, at {final.iloc[0]:.1f} %. "
    )
