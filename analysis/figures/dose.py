"""Training error against the explosion rate: every seed a dot, residual twins at the bottom."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims.contrast import estimate, interval_of
from analysis.claims.dose import LINEAR, Doses
from analysis.figures import style

ARM = {"plain": "none", "residual": "A"}


@style.styled
def draw(doses: Doses) -> Figure:
    """Draw one dose-response."""
    figure = style.new_figure(style.COLUMN_WIDTH, 3.2)
    axes = figure.subplots()
    places = doses_by_activation(doses)
    for family, arm in ARM.items():
        _draw_family(axes, doses, places, family, arm)
    for activation, predicted, place, highest in zip(
        places["activation"],
        places["predicted"],
        places["measured"],
        places["highest"],
        strict=True,
    ):
        linear = predicted <= LINEAR
        axes.annotate(
            "linear" if linear else _slope(str(activation)),
            (place, highest),
            xytext=(0, 4) if linear else (-4, 2),
            textcoords="offset points",
            ha="center" if linear else "right",
            fontsize=style.LEGEND_SIZE,
        )
    top = max(10.0, float(doses.table["error"].max()))
    axes.set_ylim(-0.05 * top, 1.14 * top)
    axes.set_xlabel("growth of the plain network's gradients a layer, step 0")
    axes.set_ylabel("training error, end (%)")
    _legend(figure, doses)
    style.describe(figure, doses.group.label)
    return figure


def _slope(activation: str) -> str:
    return "ReLU" if activation == "relu" else activation.replace("leaky", "slope ")


def doses_by_activation(doses: Doses) -> pd.DataFrame:
    """Return one row an activation: predicted, measured (geometric mean of plain), mean, highest.

    `mean` and `highest` are training errors of the plain networks, percent.
    """
    plain = doses.table[doses.table["family"] == "plain"].dropna(subset=["measured"])
    return (
        plain.assign(log=np.log(plain["measured"]))
        .groupby("activation", as_index=False)
        .agg(
            predicted=("predicted", "first"),
            log=("log", "mean"),
            mean=("error", "mean"),
            highest=("error", "max"),
        )
        .assign(measured=lambda table: np.exp(table["log"]))
        .sort_values("predicted")
    )


def _draw_family(axes: Axes, doses: Doses, places: pd.DataFrame, family: str, arm: str) -> None:
    colour = style.colour(arm, doses.depth)
    rows = doses.table[doses.table["family"] == family].merge(
        places[["activation", "measured"]], on="activation", suffixes=("_own", "")
    )
    linear = rows["predicted"] <= LINEAR
    place = rows["measured_own"] if family == "plain" else rows["measured"]
    for part, filled in ((rows[~linear], True), (rows[linear], False)):
        axes.plot(
            place[part.index],
            part["error"],
            style.ARM_MARKER[arm],
            color=colour,
            markerfacecolor=colour if filled else "none",
            markersize=3.5,
            label=f"{family} {'' if filled else 'linear'}".strip(),
            zorder=3,
        )
    means = rows[~linear].groupby("measured")["error"].mean()
    axes.plot(means.index, means, style.FAMILY_STYLE[family], color=colour, linewidth=1.2)
    if family == "plain":
        known = places[places["predicted"] > LINEAR]
        axes.hlines(
            known["mean"], known["measured"], known["predicted"], color="0.6", linewidth=0.7
        )
        axes.plot(
            known["predicted"],
            known["mean"],
            "D",
            color=style.THEORY_COLOUR,
            markerfacecolor="white",
            markersize=4,
            label="predicted",
            zorder=2,
        )


def _legend(figure: Figure, doses: Doses) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=style.colour(arm, doses.depth),
            marker=style.ARM_MARKER[arm],
            linestyle=style.FAMILY_STYLE[family],
            markersize=3.5,
            label=f"{'plain' if family == 'plain' else 'residual twin'}, each seed, and mean",
        )
        for family, arm in ARM.items()
    ]
    handles.append(
        Line2D(
            [],
            [],
            color=style.THEORY_COLOUR,
            marker="D",
            markerfacecolor="white",
            linestyle="",
            markersize=4,
            label="growth predicted",
        )
    )
    style.figure_legend(figure, handles, most=2)


def caption(doses: Doses) -> str:
    """Return the caption: the finding first."""
    slopes = doses.slopes()
    alone = estimate(slopes, f"plain-{doses.depth}")
    twin = estimate(slopes, f"resnet-{doses.depth}")
    linear = (doses.table["predicted"] <= LINEAR).any()
    apart = " Open symbols: linear networks, whose error has another cause." if linear else ""
    return (
        f"Training error of {doses.depth} plain layers rises by {alone.mean:.2g} points for each "
        f"percent of growth a layer, {interval_of(alone)}; that of their residual twins by "
        f"{round(twin.mean, 2) + 0.0:.2f}. The dose is leaky ReLU's slope, written at the dots: "
        "it sets how much activation gradients grow a layer towards the input before training. "
        "Dots stand at the growth measured at step 0 (twins at that of their plain network), "
        "diamonds at the growth that theory predicts, for networks without a border: zero padding "
        "lowers it."
        f"{apart}"
    )
