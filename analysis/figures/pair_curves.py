"""Plain and residual curves of one depth in one panel, as in R Figures 1 and 4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims.pair import Pair, evidence_text, pairs_of
from analysis.figures import style
from analysis.figures.lines import Line, band, lines
from analysis.figures.published import mark_published, published_handles, published_text
from analysis.figures.training_curves import curves, held_out_split
from analysis.groups import Group

BAND = {"train": 0.18, "validation": 0.08, "test": 0.08}
COLUMNS = 2
"""Most panels side by side."""


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw a panel for each depth that has a plain network and a residual twin."""
    table = pair_curves(group)
    if table.empty:
        return None
    depths = sorted(table["depth"].unique())
    held_out = held_out_split(table)
    columns = min(COLUMNS, len(depths))
    rows = -(-len(depths) // columns)
    figure = style.new_figure(style.COLUMN_WIDTH, (2.7 if columns == 1 else 1.9) * rows + 0.6)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    splits = ["train", *([held_out] if held_out else [])]
    for axes, depth in zip(panels, depths, strict=False):
        own = table[table["depth"] == depth]
        for split in splits:
            for line in lines(own[own["split"] == split]):
                _draw_line(axes, line, split)
        mark_published(axes, own, group)
        axes.set_title(f"{depth} layers")
        style.iteration_axis(axes, float(table["step"].max()))
        axes.set_ylabel("error (%)")
    panels[0].set_ylim(*limits(table[table["split"].isin(splits)]))
    for axes in panels[len(depths) :]:
        axes.set_visible(False)
    for number, axes in enumerate(panels[: len(depths)]):
        axes.set_ylabel("error (%)" if number % columns == 0 else "")
        below = number + columns < len(depths)
        axes.set_xlabel("" if below else "iterations")
        axes.tick_params(labelbottom=not below)
    _legend(figure, table, held_out)
    style.describe(figure, group.label)
    return figure


def pair_curves(group: Group) -> pd.DataFrame:
    """Return the rows of `curves` for networks that form a pair, with training error."""
    pairs = pairs_of(group)
    table = curves(group)
    drawn = table.loc[table["split"] == "train", "short"]
    kept = [one for one in pairs if {one.plain, one.residual} <= set(drawn)]
    names = {name for one in kept for name in (one.plain, one.residual)}
    return table[table["short"].isin(names)]


def limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return where the error axis begins and ends.

    It covers every curve after its first tenth, with a margin: at the start all networks have
    similar errors. Errors near 0 are shown from 0.
    """
    settled = table[table["step"] >= 0.1 * table["step"].max()]
    settled = table if settled.empty else settled
    low, high = float(settled["low"].min()), float(settled["high"].max())
    around = max(1.0, 0.06 * (high - low))
    bottom = 0.0 if low < 0.5 * high else low - around
    return max(0.0, bottom), min(100.0, high + around)


def _draw_line(axes: Axes, line: Line, split: str) -> None:
    axes.plot(
        line.points["step"],
        line.points["mean"],
        color=line.colour,
        linewidth=style.SPLIT_WIDTH[split],
        linestyle=style.FAMILY_STYLE[line.family],
        label=f"{line.short} {split}",
    )
    band(axes, line, "step", BAND[split])


def _legend(figure: Figure, table: pd.DataFrame, held_out: str | None) -> None:
    """Add a legend of arms with their numbers of seeds, and of thin and bold lines."""
    handles = []
    for arm in style.arms(table["shortcut"]):
        seeds = style.seeds_text(table.loc[table["shortcut"] == arm, "n"])
        label = f"{style.ARM_NAME[arm]} ({seeds})"
        look: dict[str, Any] = {"color": style.ARM_COLOUR[arm], "linestyle": style.ARM_STYLE[arm]}
        handles.append(Line2D([], [], linewidth=style.BOLD, label=label, **look))
    handles.append(Line2D([], [], color="0.2", linewidth=style.BOLD, label="bold: training"))
    if held_out is not None:
        thin = f"thin: {held_out}"
        handles.append(Line2D([], [], color="0.2", linewidth=style.THIN, label=thin))
    handles += published_handles(figure)
    style.figure_legend(figure, handles, most=2)


def caption(group: Group) -> str:
    """Return the caption, with each pair's difference."""
    held_out = held_out_split(pair_curves(group))
    thin = f"thin: {held_out} error" if held_out else "no held-out error was followed"
    told = " ".join(_told(one) for one in pairs_of(group))
    return (
        f"{told} Plain (dashed) and residual networks of one depth over each other, a panel each "
        f"(R Figures 1 and 4). Bold: training error on {style.batches_text(group)}; {thin}. Lines "
        "are means over seeds, bands run from the lowest to the highest seed; seeds that did not "
        "finish are left out where others did. The axis holds the curves from the first tenth of "
        f"training on.{published_text(group)}"
    ).strip()


def _told(pair: Pair) -> str:
    if pair.end is None or not np.isfinite(pair.end.mean):
        return ""
    text = evidence_text(pair)
    return f"{text[0].upper()}{text[1:]}: {pair.finding.outcome}."
