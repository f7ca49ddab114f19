"""A search: error over trials, what the error goes with, and its two strongest companions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.searches import CORRELATED_NEEDS, DIVERGED, Search, importance

LOOK = {
    "finished": ("o", style.ARM_COLOUR["A"], "finished"),
    "stopped": ("x", "0.55", "stopped early"),
    "diverged": ("^", style.ARM_COLOUR["none"], "diverged"),
}
"""Marker, colour and name of a trial by its status; others are drawn as stopped ones."""
SCATTERS = 2
LOG_RATIO = 30
"""A parameter's largest value over its smallest from which on its axis is logarithmic."""


@style.styled
def draw(search: Search) -> Figure:
    """Draw one search; without enough finished trials only its history."""
    ranked = importance(search)
    figure = style.new_figure(style.COLUMN_WIDTH, 2.4 if ranked.empty else 5.2)
    if ranked.empty:
        _draw_history(figure.subplots(), search)
    else:
        heights = (2.2, 0.35 + 0.2 * len(ranked), 1.6)
        parts: Any = figure.subfigures(3, 1, height_ratios=heights)
        top, middle, bottom = parts
        _draw_history(top.subplots(), search)
        _draw_importance(middle.subplots(), ranked)
        shown = list(ranked["parameter"].head(SCATTERS))
        panels = bottom.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=True):
            _draw_parameter(axes, search, name)
        style.outer_labels_only(panels)
    style.describe(figure, search.label)
    return figure


def _points(axes: Axes, trials: pd.DataFrame, x: str) -> None:
    """Mark each trial by what became of it."""
    known = trials["status"].where(trials["status"].isin(list(LOOK)), "stopped")
    for status, (marker, colour, name) in LOOK.items():
        chosen = trials[known == status]
        if len(chosen):
            axes.plot(
                chosen[x], chosen["error"], marker, color=colour, label=name, markersize=3, ls=""
            )


def _draw_history(axes: Axes, search: Search) -> None:
    trials = search.trials
    _points(axes, trials, "number")
    axes.step(
        trials["number"], trials["best"], where="post", color="0.15", lw=1.2, label="best so far"
    )
    axes.set_ylim(0, min(105.0, 1.1 * float(np.nanmax(trials["error"]))))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial, in the order of their starts")
    axes.set_ylabel("validation error (%)")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=0.8)


def _draw_importance(axes: Axes, ranked: pd.DataFrame) -> None:
    rows = ranked.iloc[::-1].reset_index(drop=True)
    places = np.arange(len(rows))
    axes.axvline(0, color="0.4", linewidth=0.7)
    axes.errorbar(
        rows["rho"],
        places,
        xerr=[rows["rho"] - rows["low"], rows["high"] - rows["rho"]],
        fmt="o",
        color="0.15",
        markersize=3.5,
        capsize=2,
        linewidth=1.0,
    )
    axes.set_yticks(places, [style.plain_text(str(name)) for name in rows["parameter"]])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(-1.02, 1.02)
    axes.set_xlabel(f"rank correlation with the final error (n = {int(rows['n'].max())})")


def _draw_parameter(axes: Axes, search: Search, name: str) -> None:
    _points(axes, search.trials, name)
    values = search.trials[name].dropna()
    if values.min() > 0 and values.max() > LOG_RATIO * values.min():
        axes.set_xscale("log")
    axes.set_xlabel(style.plain_text(name))
    axes.set_ylabel("validation error (%)")


def caption(search: Search) -> str:
    """Say what the figure shows."""
    history = (
        "Validation error of every trial in the order in which they began: of finished ones at the "
        "end of training, of those stopped early at their last evaluation, so at fewer steps; a "
        f"trial that diverged counts as {DIVERGED:g} %. The line is the lowest error of finished "
        "trials so far. "
    )
    if importance(search).empty:
        return history + f"Fewer than {CORRELATED_NEEDS} finished, so nothing is correlated."
    return history + (
        "Middle: Spearman's rank correlation of the final error with each parameter over finished "
        "and diverged trials, with approximate 95 % intervals; negative: larger values had smaller "
        "errors. It sees rises and falls, not a best value in between, and an adaptive search "
        "draws more where errors are low. Bottom: the two parameters that it ranks highest."
    )
