"""A search: error over trials and networks, parameter importances, error against parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.figures import style
from analysis.search import Search
from analysis.search_importance import LOG_RATIO, NEEDED
from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec

MARKERS = {"finished": "o", "stopped": "x", "diverged": "^"}
WORDS = {"finished": "finished", "stopped": "stopped early", "diverged": "diverged"}
"""Marker and name of a trial by its status; others have no error and are not drawn."""
PANELS = 6
"""Largest number of parameters that have a panel: the most important ones."""
ROW = 1.6
"""Inches: the height of a row of parameters' panels."""
ABOVE = 1.9
"""Diverged trials have no error: they are drawn at the last tick times this factor."""


@style.styled
def draw(search: Search) -> Figure:
    """Draw one search; without enough trials no importances, without parameters no panels."""
    ranked, shown = search.importances, _shown(search)
    handles, rows = _handles(search), (len(shown) + 1) // 2
    heights = [2.2, *([0.5 + 0.16 * len(ranked)] if len(ranked) else []), *[ROW] * rows]
    figure = style.new_figure(style.COLUMN_WIDTH, sum(heights) + 0.5 + 0.13 * len(handles))
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    history = figure.add_subplot(grid[0, :])
    _draw_history(history, search)
    if len(ranked):
        _draw_importance(figure.add_subplot(grid[1, :]), ranked)
    first = len(heights) - rows
    for number, name in enumerate(shown):
        axes = figure.add_subplot(grid[first + number // 2, number % 2])
        _draw_parameter(axes, search, name)
        if number % 2:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
    style.figure_legend(figure, handles, most=3)
    style.describe(figure, search.label)
    return figure


def _shown(search: Search) -> list[str]:
    """The parameters that have a panel: the most important ones first."""
    ranked = list(search.importances["parameter"])
    names = [*ranked, *(name for name in search.parameters if name not in ranked)]
    varied = [
        name for name in names if name != "network" and search.trials[name].nunique(dropna=True) > 1
    ]
    return varied[:PANELS]


def _colours(search: Search) -> dict[str, Any]:
    """Network -> its colour, or grey for a cohort."""
    found: dict[str, Any] = {}
    for network in search.networks:
        try:
            spec = NetworkSpec.parse(network)
            found[network] = style.colour(spec.shortcut, spec.depth)
        except UserError:  # a cohort
            found[network] = "0.35"
    return found


def _line_style(network: str) -> Any:
    return style.FAMILY_STYLE["plain" if network.startswith("plain") else "residual"]


def _points(axes: Axes, search: Search, x: pd.Series) -> None:
    """Mark each trial by its network's colour and its status; diverged ones above."""
    above = _value_axis(axes, search)
    for network, colour in _colours(search).items():
        filled = "none" if network.startswith("resnet") else colour
        own = search.trials["network"] == network
        for status, marker in MARKERS.items():
            chosen = search.trials[own & (search.trials["status"] == status)]
            heights = pd.Series(above, chosen.index) if status == "diverged" else chosen["value"]
            axes.plot(
                x[chosen.index],
                heights,
                marker,
                color=colour,
                markerfacecolor=filled,
                label=f"{network} {status}",
                markersize=3.5,
                linestyle="",
            )


def _value_axis(axes: Axes, search: Search) -> float:
    """Scale the axis of the metric, and return the position of diverged trials.

    Errors are linear up to 1 % and logarithmic above, as in the figure of learning rates.
    """
    largest = float(np.nanmax(search.trials["value"].to_numpy(dtype=float), initial=0.0))
    if search.metric.endswith("error"):
        ticks = style.error_axis(axes, largest)
        above, low, step = ABOVE * ticks[-1], -0.15, ABOVE**0.5
    else:
        ticks = [float(one) for one in MaxNLocator(5).tick_values(0.0, largest or 1.0)]
        above, low, step = 1.15 * ticks[-1], -0.03 * ticks[-1], 1.1
    lost = "diverged" in search.counts
    texts = [f"{tick:g}" for tick in ticks]
    axes.set_ylim(low, above * step if lost else ticks[-1] * 1.1)
    if lost:
        axes.axhline(above / step, color="0.4", linewidth=0.6)
        ticks, texts = [*ticks, above], [*texts, "div."]
    axes.set_yticks(ticks, texts)
    axes.yaxis.set_minor_locator(NullLocator())
    return above


def _draw_history(axes: Axes, search: Search) -> None:
    trials = search.trials
    _points(axes, search, trials["trial"])
    colours = _colours(search)
    for network in search.networks:
        own = trials[(trials["network"] == network) & (trials["status"] == "finished")]
        if own.empty:
            continue
        places = [*own["trial"], trials["trial"].max()]
        lowest = [*own["value"].cummin(), own["value"].min()]
        axes.step(
            places,
            lowest,
            where="post",
            color=colours[network],
            linestyle=_line_style(network),
            linewidth=1.1,
            label=f"{network} best so far",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(_title(search))


def _title(search: Search) -> str:
    name = search.metric.replace("_", " ")
    return f"{name} (%, log above 1)" if search.metric.endswith("error") else name


def _draw_importance(axes: Axes, ranked: pd.DataFrame) -> None:
    """Draw a bar for each parameter, with its name inside or beside it, as names may be long."""
    rows = ranked.iloc[::-1].reset_index(drop=True)
    places, shares = np.arange(len(rows)), 100 * rows["importance"]
    axes.barh(places, shares, color="0.4", height=0.75)
    for place, share, name in zip(places, shares, rows["parameter"], strict=True):
        inside = share > 50
        axes.text(
            1.5 if inside else share + 1.5,
            float(place),
            f"{style.plain_text(str(name))} {share:.0f} %",
            color="white" if inside else "0.15",
            va="center",
            fontsize=style.LEGEND_SIZE,
        )
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 100)
    first = rows.iloc[0]
    axes.set_xlabel(f"importance (%): best {first['best']} of {first['n']} trials against all")


def _draw_parameter(axes: Axes, search: Search, name: str) -> None:
    values = search.trials[name]
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().sum() > values.isna().sum():  # texts: in the order of their names
        kinds = sorted(values.dropna().astype(str).unique())
        numbers = values.astype(str).map({kind: place for place, kind in enumerate(kinds)})
        axes.set_xticks(range(len(kinds)), [style.plain_text(kind) for kind in kinds], rotation=30)
    elif _is_log(search, name, numbers):
        axes.set_xscale("log")
    _points(axes, search, numbers)
    axes.set_xlabel(style.plain_text(name))
    axes.set_ylabel(_title(search).replace("validation ", ""))


def _is_log(search: Search, name: str, values: pd.Series[float]) -> bool:
    if name in search.ranges:
        return search.ranges[name].log
    return bool(values.min() > 0 and values.max() > LOG_RATIO * values.min())


def _handles(search: Search) -> list[Line2D]:
    """The legend: networks by their lines, then trial statuses by their markers."""
    colours = _colours(search)
    networks = [
        Line2D(
            [],
            [],
            color=colours[network],
            linestyle=_line_style(network),
            marker="o",
            markersize=3.5,
            markerfacecolor="none" if network.startswith("resnet") else colours[network],
            linewidth=1.1,
            label=network,
        )
        for network in search.networks
    ]
    states = [
        Line2D(
            [], [], color="0.3", linestyle="", marker=marker, markersize=3.5, label=WORDS[status]
        )
        for status, marker in MARKERS.items()
        if status in search.counts
    ]
    return [*networks, *states]


def caption(search: Search) -> str:
    """Return the caption."""
    metric = search.metric.replace("_", " ").capitalize()
    text = (
        f"{metric} of every trial, in the order of their numbers: of finished ones at the end of "
        "training, of those stopped early at their last evaluation, so at fewer steps. Lines "
        "are the lowest of each network's finished trials so far. Triangles above the line (div.) "
        "are trials that diverged, which have no error. "
    )
    ranked = search.importances
    if ranked.empty:
        return text + f"Fewer than {NEEDED} trials came to their end: no importances. "
    first = ranked.iloc[0]
    return text + (
        f"Middle: how much each parameter separates the best {first['best']} of {first['n']} "
        "trials that came to their end from all of them, diverged ones counting as worst "
        "(PED-ANOVA, Optuna's default; shares that add up to 100 %). With so few it is a "
        "direction, not a measurement. Below: error against each parameter."
    )
