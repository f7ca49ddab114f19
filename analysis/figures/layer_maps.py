"""Maps of layers against steps: gradient norm and relative update, twins side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.groups import Group, arms
from analysis.layer_dynamics import main_path
from resnet_lab.recording.quantity import label_of

QUANTITIES = ("gradient_norm", "relative_update")
"""Quantities of the two rows."""
DECADES = 14
"""Most decades that one colour scale spans, down from its largest value."""


@dataclass(frozen=True)
class Twins:
    """A plain and a residual network of one depth, and the seed whose recordings are shown."""

    plain: str
    residual: str
    seed: int


def deepest_twins(group: Group) -> Twins | None:
    """Return the deepest plain and residual network that were both recorded with one seed."""
    recorded = group.runs.layers[["run", "network"]].drop_duplicates()
    members = group.of(recorded)
    for depth in sorted(members["depth"].unique(), reverse=True):
        same = members[members["depth"] == depth]
        plain = same[same["family"] == "plain"]
        for shortcut in arms(same):
            residual = same[same["shortcut"] == shortcut]
            seeds = sorted(set(plain["seed"]) & set(residual["seed"]))
            if seeds:
                return Twins(plain["short"].iloc[0], residual["short"].iloc[0], int(seeds[0]))
    return None


def layer_map(group: Group, network: str, seed: int, quantity: str) -> pd.DataFrame:
    """Return one member's values: rows are layers 1 (stem) to depth, columns recorded steps."""
    members = group.members
    member = members[(members["short"] == network) & (members["seed"] == seed)].iloc[0]
    layers = group.runs.layers
    rows = layers[
        (layers["quantity"] == quantity)
        & (layers["run"] == member["run"])
        & (layers["network"] == member["network"])
    ]
    return main_path(rows).pivot(index="layer", columns="step", values="value")


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw two rows (quantities) of two maps (plain, residual), one colour scale a row."""
    twins = deepest_twins(group)
    if twins is None:
        return None
    return _draw(group, (twins.plain, twins.residual), twins.seed)


@style.styled
def draw_alone(group: Group) -> Figure | None:
    """Draw the maps of the deepest recorded network alone, where there are no twins."""
    members = group.of(group.runs.layers[["run", "network"]].drop_duplicates())
    if members.empty:
        return None
    deepest = members.sort_values(["depth", "seed"], ascending=[False, True]).iloc[0]
    return _draw(group, (str(deepest["short"]),), int(deepest["seed"]))


def _draw(group: Group, networks: Sequence[str], seed: int) -> Figure | None:
    maps = {
        (quantity, network): layer_map(group, network, seed, quantity)
        for quantity in QUANTITIES
        for network in networks
    }
    if any(one.empty for one in maps.values()):
        return None
    figure = style.new_figure(style.COLUMN_WIDTH, 4.6)
    panels = figure.subplots(2, len(networks), sharex=True, sharey=True, squeeze=False)
    for row, quantity in zip(panels, QUANTITIES, strict=True):
        shown = [maps[quantity, network] for network in networks]
        scale = colour_scale(shown)
        for axes, values, network in zip(row, shown, networks, strict=True):
            drawn = draw_map(axes, values, scale)
            axes.set_title(network)
        figure.colorbar(drawn, ax=list(row), label=label_of(quantity), extend=_extend(scale, shown))
        row[0].set_ylabel("layer (1 = stem)")
    for axes in panels[1]:
        style.log_step_axis(axes, float(max(one.columns[-1] for one in maps.values())))
        axes.set_xlabel("step (log)")
    style.describe(figure, group.label)
    return figure


def colour_scale(maps: list[pd.DataFrame]) -> LogNorm:
    """Return one logarithmic colour scale over all positive finite values of `maps`."""
    values = np.concatenate([one.to_numpy(dtype=float).ravel() for one in maps])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return LogNorm(1e-3, 1.0)
    high = float(values.max())
    low = max(float(values.min()), high / 10.0**DECADES)
    return LogNorm(low, high if high > low else low * 10)


def _extend(scale: LogNorm, maps: list[pd.DataFrame]) -> str:
    lowest = min(float(np.nanmin(one.to_numpy(dtype=float))) for one in maps)
    return "min" if scale.vmin is not None and lowest < scale.vmin else "neither"


def draw_map(axes: Axes, values: pd.DataFrame, scale: LogNorm) -> ScalarMappable:
    """Draw one map with the input at the top; each cell reaches halfway to its neighbours."""
    steps = _edges(np.log1p(values.columns.to_numpy(dtype=float)))
    layers = np.arange(values.index[0] - 0.5, values.index[-1] + 1)
    colours = np.clip(values.to_numpy(dtype=float), np.finfo(float).tiny, None)
    mesh = axes.pcolormesh(
        np.expm1(steps), layers, colours, norm=scale, cmap=style.MAP, rasterized=True
    )
    axes.set_ylim(layers[-1], layers[0])
    axes.set_yticks([1, *range(10, int(layers[-1]) + 1, 10 if layers[-1] < 80 else 20)])
    axes.grid(False)
    return mesh


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the cells' edges: midpoints, and the first and last centre themselves."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([centres[:1], middle, centres[-1:]])


def caption(group: Group) -> str:
    """Return the caption."""
    twins = deepest_twins(group)
    assert twins is not None
    return (
        f"Weight-gradient norm (top) and relative update lr |g| / |w| (bottom) of every layer at "
        f"every recorded step (on a log(1 + step) axis), {twins.plain} left, {twins.residual} "
        f"right, seed {twins.seed}. Each row has one logarithmic colour scale for both networks. "
        "Layer 1, the stem, is at the top; "
        "projection shortcuts are left out. Values below the scale have its darkest colour."
    )
