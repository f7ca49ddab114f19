"""Gradient norm of each layer at step 0, with the growth of each stage and the theory's."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.lines import NETWORK, lines
from analysis.groups import Group
from analysis.layer_dynamics import at_step, growth, main_path
from analysis.theory import gradient_growth, theory_caption


def gradient_norms(group: Group) -> pd.DataFrame:
    """Return the geometric mean over seeds of |g| at step 0 of each main-path layer.

    Columns: family, depth, shortcut, short, layer, name, stage, n, norm.
    """
    rows = group.of(main_path(at_step(group.runs.layers, "gradient_norm", 0)))
    rows = rows[np.isfinite(rows["value"]) & (rows["value"] > 0)]
    rows = rows.assign(log=np.log(rows["value"]))
    grouped = rows.groupby([*NETWORK, "layer", "name", "stage"])["log"]
    table: pd.DataFrame = grouped.agg(n="count", norm="mean").reset_index()
    return table.assign(norm=np.exp(table["norm"]))


def stage_growth(group: Group) -> pd.DataFrame:
    """Return the growth per layer at step 0 of each network and stage, averaged over seeds.

    Columns: family, depth, shortcut, short, stage, n, growth, intercept; growth is the geometric
    mean, the intercept that of the fitted line's logarithm at layer 0.
    """
    fits = group.of(growth(group.runs.layers, step=0))
    fits = fits.assign(log=np.log(fits["growth"].astype(float)))
    table = (
        fits.groupby([*NETWORK, "stage"])
        .agg(n=("log", "count"), growth=("log", "mean"), intercept=("intercept", "mean"))
        .reset_index()
    )
    return table.assign(growth=np.exp(table["growth"]))


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: plain above, residual below."""
    norms = gradient_norms(group)
    if norms.empty:
        return None
    fits = stage_growth(group)
    families = [name for name in style.FAMILIES if name in set(norms["family"])]
    figure = style.new_figure(style.COLUMN_WIDTH, 0.4 + 2.3 * len(families))
    panels = figure.subplots(len(families), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, family in zip(panels, families, strict=True):
        chosen = norms[norms["family"] == family]
        _draw_family(axes, chosen, fits[fits["family"] == family])
        theory = gradient_growth(group)
        if family == "plain" and theory is not None:
            _draw_theory(axes, chosen, theory)
        style.log_value_axis(axes)
        axes.set_ylabel("gradient norm |g|, step 0")
        axes.set_title(family)
    panels[-1].set_xlabel("layer (1 = stem, next to the input)")
    style.panels_legend(figure, panels, title="growth per layer, stage by stage")
    style.describe(figure, group.label)
    return figure


def _draw_family(axes: Axes, norms: pd.DataFrame, fits: pd.DataFrame) -> None:
    for line in lines(norms):
        own = fits[fits["short"] == line.short].sort_values("stage")
        growths = ", ".join(f"{value:.2f}" for value in own["growth"]) or "too few layers"
        axes.plot(
            line.points["layer"],
            line.points["norm"],
            style.ARM_MARKER[line.shortcut],
            color=line.colour,
            markersize=2.2,
            label=f"{line.short}: {growths}",
        )
        for stage, level, rate in own[["stage", "intercept", "growth"]].to_numpy(dtype=float):
            layers = line.points.loc[line.points["stage"] == stage, "layer"]
            ends = np.array([layers.min(), layers.max()], dtype=float)
            axes.plot(ends, np.exp(level) * rate**-ends, color=line.colour, linewidth=1.2)


def _draw_theory(axes: Axes, norms: pd.DataFrame, theory: float) -> None:
    """Draw the theory's slope beside the first stage of the deepest network."""
    deepest = norms[(norms["depth"] == norms["depth"].max()) & (norms["stage"] == 1)]
    middle, level = deepest["layer"].mean(), np.exp(np.log(deepest["norm"]).mean())
    ends = np.array([deepest["layer"].min(), deepest["layer"].max()], dtype=float)
    axes.plot(
        ends,
        3 * level * theory ** (middle - ends),  # a factor of 3 above the points, to be visible
        ":",
        color=style.THEORY_COLOUR,
        linewidth=1.3,
        label=f"theory's slope: {theory:.4f}",
    )


def caption(group: Group) -> str:
    """Return the caption."""
    n = int(gradient_norms(group)["n"].max())
    note = ", beside stage 1; only its slope has a meaning"
    dotted = theory_caption(group, "the slope that theory gives", note)
    return (
        "Weight-gradient norm of every main-path layer before the first update (geometric mean "
        f"over n = {n} seed{'s' if n > 1 else ''}), plain above, residual below, on the same axes. "
        "Lines are log-linear fits over the convolutions of each stage; the legend gives the "
        "growth per layer towards the input: above 1 gradients grow towards the input, below 1 "
        f"they shrink.{dotted}"
    )
