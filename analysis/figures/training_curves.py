"""Training curves: error against iterations, plain left and residual right (R Figures 1, 4, 6)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import style
from analysis.figures.lines import NETWORK, band, lines
from analysis.figures.published import mark_published, published_handles, published_text
from analysis.groups import Group

HELD_OUT = ("test", "validation")


def curves(group: Group) -> pd.DataFrame:
    """Return the mean error over seeds with the range of single seeds at each logged step.

    Columns: family, depth, shortcut, short, split, step (iterations), n, mean, low, high (percent;
    low and high are the smallest and largest seed). Steps that not every seed of a network logged
    are left out, so that every point of a curve is a mean over the same seeds.
    """
    return group.once("curves", _curves)


def _curves(group: Group) -> pd.DataFrame:
    metrics = group.runs.metrics
    rows = group.of_shown(metrics[metrics["metric"] == "error"].dropna(subset=["value"]))
    key = [*NETWORK, "split"]
    grouped = rows.groupby([*key, "step"])["value"]
    table = grouped.agg(n="count", mean="mean", low="min", high="max").reset_index()
    return table[table["n"] == table.groupby(key)["n"].transform("max")]


def held_out_split(table: pd.DataFrame) -> str | None:
    """Return the split drawn beside training: test where it was logged, else validation."""
    points = table.groupby("split")["step"].nunique()
    followed = [split for split in HELD_OUT if points.get(split, 0) > 1]
    return followed[0] if followed else None


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group's curves."""
    table = curves(group)
    if not (table["split"] == "train").any():
        return None
    held_out = held_out_split(table)
    splits = ["train", held_out] if held_out else ["train"]
    families = [name for name in style.FAMILIES if name in set(table["family"])]
    figure = style.new_figure(style.COLUMN_WIDTH, 3.1)
    panels = figure.subplots(1, len(families), sharex=True, sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, families, strict=True):
        _draw_family(axes, table[table["family"] == family], splits)
        own = table[table["family"] == family]
        mark_published(axes, own, group)
        axes.set_title(family)
        style.iteration_axis(axes, float(table["step"].max()))
        axes.set_ylabel("error (%)")
        _legend(axes, table[table["family"] == family])
    panels[0].set_ylim(0, _top(table))
    style.outer_labels_only(panels)
    _split_legend(figure, held_out)
    style.describe(figure, group.label)
    return figure


def _draw_family(axes: Axes, table: pd.DataFrame, splits: Sequence[str]) -> None:
    for split in splits:
        for line in lines(table[table["split"] == split]):
            axes.plot(
                line.points["step"],
                line.points["mean"],
                style.FAMILY_STYLE[line.family],
                color=line.colour,
                linewidth=style.SPLIT_WIDTH[split],
                label=f"{line.short} {split}",
                **line.sparse_marker,
            )
            band(axes, line, "step", alpha=0.18 if split == "train" else 0.08)


def _top(table: pd.DataFrame) -> float:
    """Return where the error axis ends: well above the highest final error, at most 100 %."""
    last = table.sort_values("step").groupby(["short", "split"])["mean"].last()
    return float(min(100.0, max(10.0, 1.6 * last.max())))


def _legend(axes: Axes, table: pd.DataFrame) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=line.colour,
            linestyle=style.FAMILY_STYLE[line.family],
            linewidth=style.BOLD,
            label=line.label,
            **line.sparse_marker,
        )
        for line in lines(table)
    ]
    style.legend_below(axes, handles, columns=1)


def _split_legend(figure: Figure, held_out: str | None) -> None:
    handles = [Line2D([], [], color="0.2", linewidth=style.BOLD, label="bold: training")]
    if held_out is not None:
        label = f"thin: {held_out}"
        handles.append(Line2D([], [], color="0.2", linewidth=style.THIN, label=label))
    handles += published_handles(figure)
    style.figure_legend(figure, handles)


def caption(group: Group) -> str:
    """Return the caption."""
    held_out = held_out_split(curves(group))
    thin = f"thin: {held_out} error" if held_out else "no held-out error was followed"
    return (
        "Error against iterations, plain networks left, residual networks right, on the same axes "
        f"(R Figures 1, 4 and 6). Bold: training error on {style.batches_text(group)}; {thin}. "
        "Lines are means over seeds, bands run from the lowest to the highest seed; seeds that did "
        "not finish are left out where others did. The axis ends at 1.6 times the highest final "
        f"error, at 100 % at most.{published_text(group)}"
    )
