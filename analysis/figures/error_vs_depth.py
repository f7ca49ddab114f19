"""Final error against depth, plain and residual, with intervals over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import style
from analysis.figures.published import as_long
from analysis.groups import Group
from analysis.paper import load_paper
from analysis.statistics import summarise

TITLES = {
    "train": "training error",
    "validation": "validation error",
    "test": "test error",
}
PUBLISHED = "published"


def final_errors(group: Group) -> pd.DataFrame:
    """Return mean final errors of finished members over seeds.

    Columns: split, shortcut, depth, n, mean, sd, low, high (percent; the bounds are a 95 % t
    interval, NaN where n = 1).
    """
    columns = {f"{split}_error": split for split in TITLES}
    tidy = group.finished.melt(
        id_vars=["shortcut", "depth", "seed"],
        value_vars=list(columns),
        var_name="split",
        value_name="error",
    )
    tidy = tidy.assign(split=tidy["split"].map(columns)).dropna(subset=["error"])
    return summarise(tidy, ["split", "shortcut", "depth"], "error")


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: training error left, held-out error right."""
    table = final_errors(group)
    if table["depth"].nunique() < 2:
        return None
    present = set(table["split"])
    splits = [s for s in ("train", "test" if "test" in present else "validation") if s in present]
    figure = style.new_figure(style.COLUMN_WIDTH, 2.8)
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axes, split in zip(panels, splits, strict=True):
        _draw_split(axes, table[table["split"] == split], split)
    if "test" in splits:
        _mark_published(panels[splits.index("test")], group)
    panels[0].set_ylim(*_limits(table[table["split"].isin(splits)]))
    style.outer_labels_only(panels)
    dash = Line2D([], [], color="0.2", marker="_", ls="", label=PUBLISHED)
    style.panels_legend(figure, panels, replaced={PUBLISHED: dash})
    style.describe(figure, group.label)
    return figure


def _draw_split(axes: Axes, table: pd.DataFrame, split: str) -> None:
    arms = style.arms(table["shortcut"])
    for place, arm in enumerate(arms):
        line = table[table["shortcut"] == arm].sort_values("depth")
        half = (line["high"] - line["mean"]).where(line["n"] > 1)
        axes.errorbar(
            line["depth"] * 1.012 ** (place - (len(arms) - 1) / 2),  # side by side, not on top
            line["mean"],
            yerr=half,
            fmt=style.ARM_STYLE[arm],
            marker=style.ARM_MARKER[arm],
            color=style.ARM_COLOUR[arm],
            markersize=4,
            linewidth=1.4,
            elinewidth=1.0,
            capsize=3,
            label=f"{style.ARM_NAME[arm]} ({style.seeds_text(line['n'])})",
        )
    axes.set_xscale("log")
    depths = sorted(table["depth"].unique())
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("depth (log axis)")
    axes.set_ylabel("error, end of training (%)")
    axes.set_title(TITLES[split])


def _mark_published(axes: Axes, group: Group) -> None:
    """Mark published errors of the same networks on the same data with dashes."""
    data = str(group.settings["data"])
    members = group.members.drop_duplicates("network")
    results = [load_paper().result(str(name), data) for name in members["network"]]
    for arm, depth, result in zip(members["shortcut"], members["depth"], results, strict=True):
        if result is not None and as_long(group, result):
            axes.plot(
                [depth],
                [result.error],
                "_",
                color=style.ARM_COLOUR[arm],
                markersize=13,
                markeredgewidth=1.6,
                label=PUBLISHED,
            )


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return the error axis: from just below 0 to above every interval, at most 100 %."""
    highest = float(np.nanmax(table[["mean", "high"]].to_numpy(dtype=float)))
    top = min(100.0, max(1.0, 1.1 * highest))
    return -0.03 * top, top


def caption(group: Group) -> str:
    """Return the caption, which names the members left out."""
    missing = group.members[group.members["status"] != "finished"]
    left_out = [f"{row.short} seed {row.seed}" for row in missing.itertuples(index=False)]
    return (
        "Error at the end of training against depth (weighted layers): training error left (the "
        f"mean over the last epoch, on {style.batches_text(group)}), held-out error right, on the "
        "same axis. Bars are 95 % t intervals of each mean alone, not of differences; without one "
        "n = 1. Markers of the two arms are set slightly apart so that both can be seen. "
        "Long dashes, where there are any, are published errors."
        + (f" Left out because they did not finish: {', '.join(left_out)}." if left_out else "")
    )
