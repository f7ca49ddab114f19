"""Growth of gradients at step 0 against depth, stage by stage, beside the theory's value."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.depths import depth_axis, draw_arms
from analysis.groups import Group
from analysis.layer_dynamics import FIT_NEEDS, growth
from analysis.statistics import summarise
from analysis.theory import gradient_growth, theory_caption

THEORY = "theory, plain networks"


def growths(group: Group) -> pd.DataFrame:
    """Return the growth per layer at step 0 of each stage, arm and depth.

    Columns: stage, shortcut, depth, n, growth (geometric mean over seeds, no unit), low, high
    (a 95 % t interval of the logarithm, exponentiated; NaN where n = 1). Stages with fewer than
    `FIT_NEEDS` convolutions have no fit and no row.
    """
    fits = group.of(growth(group.runs.layers, step=0))
    fits = fits.assign(log=np.log(fits["growth"].astype(float)))
    table = summarise(fits, ["stage", "shortcut", "depth"], "log")
    bounds = {name: np.exp(table[name]) for name in ("low", "high")}
    return table.assign(growth=np.exp(table["mean"]), **bounds).drop(columns=["mean", "sd"])


@style.styled
def draw(group: Group) -> Figure | None:
    """Draw one group: a panel for each stage, a line for each arm."""
    table = growths(group)
    if table["depth"].nunique() < 2:
        return None
    stages = sorted(table["stage"].unique())
    figure = style.new_figure(style.COLUMN_WIDTH, 2.5)
    panels = figure.subplots(1, len(stages), sharex=True, sharey=True, squeeze=False)[0]
    for axes, stage in zip(panels, stages, strict=True):
        draw_arms(axes, table[table["stage"] == stage], "growth")
        theory = gradient_growth(group)
        if theory is not None:
            axes.axhline(theory, color=style.THEORY_COLOUR, linestyle=":", label=THEORY)
        axes.axhline(1.0, color="0.6", linewidth=0.6)
        axes.set_title(f"stage {stage}")
        axes.set_ylabel("growth per layer, step 0")
    depth_axis(panels[0], table)
    style.outer_labels_only(panels)
    panels[len(panels) // 2].set_xlabel("depth (log axis)")
    style.panels_legend(figure, panels)
    style.describe(figure, group.label)
    return figure


def caption(group: Group) -> str:
    """Return the caption."""
    counted = style.seeds_text(growths(group)["n"])
    dotted = theory_caption(group, "the growth that theory gives")
    return (
        "Growth of the weight-gradient norm per layer towards the input before the first update, "
        "against depth (weighted layers), from log-linear fits over each stage: above 1 gradients "
        "grow towards the input, below 1 they shrink. Geometric means over seeds with 95 % t "
        f"intervals of the logarithm ({counted}; none where n = 1). Stages with fewer than "
        f"{FIT_NEEDS} convolutions have no fit.{dotted} The thin line is 1."
    )
