"""Quantities recorded on request: representations by layer, shattering against depth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.figures import style
from analysis.figures.depths import depth_axis, draw_arms
from analysis.figures.lines import NETWORK, Line, band, lines
from analysis.groups import Group
from analysis.layer_dynamics import at_step
from analysis.statistics import summarise
from analysis.theory import bounded, cosine_course, gradient_correlation
from resnet_lab.recording.quantities.gradient_correlation import ANGLE
from resnet_lab.recording.quantity import label_of

COSINE, RANK, DEAD = "representation_cosine", "stable_rank", "dead_units"
RATIO, SHATTERING = "variance_ratio", "gradient_correlation"
REQUESTED = (COSINE, RANK, DEAD, SHATTERING)
"""Without any of these there is no figure; `variance_ratio` alone is recorded everywhere."""
THEORY = "theory, plain networks"
TICKS = [digit * 10.0**power for power in range(-9, 9) for digit in (1, 2, 5)]
ONE_OVER = "1 / l, theory"


def by_layer(group: Group, quantity: str) -> pd.DataFrame:
    """Return a quantity's mean over seeds at each layer before the first update.

    Columns: family, depth, shortcut, short, layer, n, value, low, high (lowest and highest seed),
    number (1 for the first row of a network). Dead units are those of the last recorded step.
    """
    step = None if quantity == DEAD else 0
    rows = group.of(at_step(group.runs.layers, quantity, step))
    rows = rows[np.isfinite(rows["value"].astype(float))]
    table: pd.DataFrame = (
        rows.groupby([*NETWORK, "layer"])["value"]
        .agg(n="count", value="mean", low="min", high="max")
        .reset_index()
    )
    return table.assign(number=table.groupby(NETWORK).cumcount() + 1)


def shattering(group: Group) -> pd.DataFrame:
    """Return the correlation of input gradients before the first update of each arm and depth.

    Columns: shortcut, depth, n, mean, sd, low, high (a 95 % t interval; NaN where n = 1).
    """
    rows = group.of(at_step(group.runs.layers, SHATTERING, 0))
    return summarise(rows[np.isfinite(rows["value"])], ["shortcut", "depth"], "value")


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: a panel for each quantity that was recorded."""
    there = set(group.runs.layers["quantity"].unique())
    if not there & set(REQUESTED):
        return None
    shown = [one for one in PANELS if one in there]
    figure = style.new_figure(style.COLUMN_WIDTH, 0.6 + 1.7 * len(shown))
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, quantity in zip(panels, shown, strict=True):
        PANELS[quantity](axes, group)
    style.panels_legend(figure, panels)
    style.describe(figure, group.label)
    return figure


def _draw_lines(axes: Axes, table: pd.DataFrame, x: str = "layer") -> None:
    for line in lines(table):
        axes.plot(
            line.points[x],
            line.points["value"],
            style.FAMILY_STYLE[line.family],
            color=line.colour,
            linewidth=1.1 if line.family == "plain" else 1.7,
            label=line.label,
            **line.sparse_marker,
        )
        band(axes, line, x)
    axes.set_xlim(0, table[x].max() + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("layer (1 = stem)")


def _cosines(axes: Axes, group: Group) -> None:
    table = by_layer(group, COSINE)
    _draw_lines(axes, table)
    deepest = _deepest_plain(table)
    if deepest is not None:
        last = int(deepest.points["layer"].max())
        course = cosine_course(group, float(deepest.points["value"].iloc[0]), last - 1)
        if course is not None:
            _draw_theory(axes, range(1, last + 1), course)
    axes.set_ylim(min(0.0, table["low"].min()), 1.02)
    axes.set_ylabel("mean cosine, step 0")


def _ranks(axes: Axes, group: Group) -> None:
    _draw_lines(axes, by_layer(group, RANK))
    _log_axis(axes)
    axes.set_ylabel("stable rank, step 0")


def _dead(axes: Axes, group: Group) -> None:
    table = by_layer(group, DEAD)
    _draw_lines(axes, table)
    axes.set_ylim(0, max(5.0, 1.1 * table["high"].max()))
    axes.set_ylabel(f"{label_of(DEAD)},\nlast step")


def _ratios(axes: Axes, group: Group) -> None:
    table = by_layer(group, RATIO)
    _draw_lines(axes, table, "number")
    blocks = np.arange(1, table["number"].max() + 1)
    if _biased(group):
        axes.plot(blocks, 1 / blocks, "-.", color=style.THEORY_COLOUR, label=ONE_OVER)
    axes.set_xscale("log")
    axes.set_xlim(0.9, 1.1 * blocks[-1])
    ticks = [one for one in TICKS if 1 <= one <= blocks[-1]]
    axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.set_xticks([], minor=True)
    _log_axis(axes)
    axes.set_xlabel("residual block l (log axis)")
    axes.set_ylabel("branch / shortcut\nvariance, step 0")


def _log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic with plain numbers."""
    style.log_value_axis(axes)
    low, high = axes.get_ylim()
    ticks = [one for one in TICKS if low <= one <= high]
    axes.set_yticks(ticks, [f"{one:g}" for one in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _biased(group: Group) -> bool:
    """Whether each branch adds the same variance to the shortcut's (De and Smith 2020)."""
    return (group.settings["ordering"], group.settings["norm"]) == ("preactivation", "batch")


def _shattering(axes: Axes, group: Group) -> None:
    table = shattering(group)
    draw_arms(axes, table, "mean", seeds=True)
    depths = range(int(table["depth"].min()), int(table["depth"].max()) + 1)
    course = [gradient_correlation(group, depth, ANGLE) for depth in depths]
    if "none" in set(table["shortcut"]):
        _draw_theory(axes, depths, [one for one in course if one is not None])
    depth_axis(axes, table)
    axes.set_ylim(-0.2, 1.1)
    axes.axhline(0.0, color="0.6", linewidth=0.6)
    axes.set_xlabel("depth (log axis)")
    axes.set_ylabel("correlation of input\ngradients, step 0")


def _draw_theory(axes: Axes, x: range, course: list[float]) -> None:
    if course:
        axes.plot(x, course, ":", color=style.THEORY_COLOUR, linewidth=1.3, label=THEORY)


def _deepest_plain(table: pd.DataFrame) -> Line | None:
    plain = [line for line in lines(table) if line.family == "plain"]
    return plain[-1] if plain else None


PANELS: dict[str, Callable[[Axes, Group], None]] = {
    COSINE: _cosines,
    RANK: _ranks,
    DEAD: _dead,
    RATIO: _ratios,
    SHATTERING: _shattering,
}
"""The panel of each quantity, from the top."""


def caption(group: Group) -> str:
    """Return the caption."""
    there = set(group.runs.layers["quantity"].unique())
    beside = (
        ", beside 1 / l, which theory gives where every branch adds as much (De and Smith 2020)"
        if _biased(group)
        else ""
    )
    theory = cosine_course(group, 0.0, 1) is not None and "plain" in set(group.members["family"])
    border = " They have no border, which zero padding brings." if bounded(group) else ""
    texts = {
        COSINE: "the mean cosine of two images' representations: at 1 a network cannot tell its "
        "inputs apart",
        RANK: "the stable rank of the batch's representations: in how many directions they differ",
        DEAD: "channels that no image of the batch activates, at the last recorded step",
        RATIO: f"variance of branch over shortcut at the l-th block{beside}",
        SHATTERING: "the correlation of the input gradients of images 0.01 radians apart, with 95 "
        "% t intervals over seeds: at 0 gradients are white noise (Balduzzi et al. 2017)",
    }
    shown = "; ".join(texts[one] for one in PANELS if one in there)
    return (
        "What the fixed batch shows before the first update, from the top: "
        f"{shown}. Dashed: plain; solid: residual; means over seeds, bands from the lowest to the "
        "highest."
    ) + (
        f" Dotted: theory of wide plain networks with He initialisation (the C-map).{border}"
        if theory
        else ""
    )
