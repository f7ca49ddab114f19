"""Figures of a factorial study: its effects as a forest plot, and its cells, every seed a dot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from analysis.factorial import TWIN, Factorial
from analysis.factorial_answer import CURED
from analysis.figures import style
from analysis.mediators import Mediator

ROW = 0.22
"""Inches: height of a row."""
LETTERS = "ABCDEFGH"
SHORT = {
    "growth": "growth\na layer",
    "angle": "angle of\nstem (rad)",
    "gradient_correlation": "gradient\ncorrelation",
}
MOVED = {"growth": "growth\na layer", "angle": "angle\nof stem"} | {
    "gradient_correlation": "gradient\ncorrelation"
}
"""Mediators in two short lines, with and without their unit; see `Mediator.label`."""


@style.styled
def draw_effects(study: Factorial) -> Figure | None:
    """Draw each effect on training error, beside main effects on mediators; None without seeds."""
    effects = study.effects
    if effects.empty:
        return None
    shown = effects[effects["effect"].isin(["main", "interaction"])].reset_index(drop=True)
    figure, panels = _panels(len(shown), len(study.measured), "points of\ntraining error")
    names = [_letters(study, text) for text in shown["factors"]]
    panels[0].set_yticks(range(len(names)), [style.plain_text(one) for one in names])
    for place, row in shown.iterrows():
        seeds = [float(one.split(": ")[1]) for one in row["seeds"].split(", ")]
        _forest(panels[0], float(str(place)), row, seeds)
    for place, (_, row) in enumerate(effects[effects["effect"] == "alone"].iterrows()):
        _forest(panels[0], place - 0.25, row, alone=True)
    panels[0].axvline(0, color=style.THEORY_COLOUR, linewidth=0.7)
    for axes, one in zip(panels[1:], study.measured, strict=True):
        _moved(axes, study, one)
    style.describe(figure, study.label)
    return figure


def _panels(rows: int, mediators: int, title: str) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a wide panel and one for each mediator, the first row on top."""
    figure = style.new_figure(style.COLUMN_WIDTH, ROW * rows + 1.15)
    widths = [2.2, *[1.0] * mediators]
    panels = figure.subplots(1, 1 + mediators, sharey=True, width_ratios=widths, squeeze=False)[0]
    panels[0].set_ylim(rows - 0.4, -0.6)
    panels[0].set_xlabel(title)
    for axes in panels:
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure, list(panels)


def _letters(study: Factorial, text: str) -> str:
    """Return a set of factors by letters, a single one with its name: ``A leaky0.3``, ``A x B``."""
    names = [one.name for one in study.factors]
    letters = dict(zip(names, LETTERS, strict=False))
    chosen = text.split(" x ")
    if len(chosen) == 1:
        return f"{letters[text]}  {text}"
    return " x ".join(letters[one] for one in chosen)


def _forest(
    axes: Axes, place: float, row: pd.Series, seeds: Sequence[float] = (), *, alone: bool = False
) -> None:
    """Draw a mean with its interval, hollow if it is that of a change alone, and seeds as dots."""
    colour, marker, face = ("0.45", "o", "white") if alone else ("0.1", "s", "0.1")
    axes.plot(seeds, [place + 0.2] * len(seeds), ".", color="0.55", markersize=2.5)
    axes.plot([row["low"], row["high"]], [place] * 2, color=colour, linewidth=1.1)
    axes.plot(
        row["mean"], place, marker, color=colour, markerfacecolor=face, markersize=3.2, zorder=3
    )


def _moved(axes: Axes, study: Factorial, one: Mediator) -> None:
    rows = study.moved[study.moved["mediator"] == one.name]
    places = {factor.name: place for place, factor in enumerate(study.factors)}
    for _, row in rows.iterrows():
        place, alone = places[row["factor"]], row["effect"] == "alone"
        _forest(axes, place - 0.25 if alone else place, row, alone=alone)
        if row["aimed"]:
            axes.axhspan(place - 0.45, place + 0.45, color="0.93", zorder=0, linewidth=0)
    axes.axvline(1.0 if one.logarithmic else 0.0, color=style.THEORY_COLOUR, linewidth=0.7)
    axes.set_xlabel(f"{MOVED[one.name]}\n({'ratio' if one.logarithmic else 'change'})")
    if one.logarithmic:
        _log_axis(axes)


def _log_axis(axes: Axes) -> None:
    """Make the x axis logarithmic, with labels at few round values."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high / low > 20:
        axes.xaxis.set_major_locator(LogLocator(numticks=3))
    else:
        places = [low * (high / low) ** share for share in (0.15, 0.85)]
        ticks = sorted({float(f"{one:.2g}") for one in places})
        axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


@style.styled
def draw_cells(study: Factorial) -> Figure | None:
    """Draw the training error and mediators of every cell, each seed a dot; None without any."""
    summary = study.summary.dropna(subset=["mean"]).reset_index(drop=True)
    if summary.empty:
        return None
    figure, panels = _panels(len(summary), len(study.measured), "training error (%)")
    names = [_cell_label(study, str(cell)) for cell in summary["cell"]]
    panels[0].set_yticks(range(len(names)), [style.plain_text(one) for one in names])
    for place, cell in enumerate(summary["cell"]):
        members = study.twins if cell == TWIN else study.members[study.members["cell"] == cell]
        arm = "A" if cell == TWIN else "none"
        colour = style.colour(arm, 56)
        columns = ["error", *(one.name for one in study.measured)]
        for axes, column in zip(panels, columns, strict=True):
            values = members[column].dropna().to_numpy(dtype=float)
            logarithmic = column != "error" and next(
                one.logarithmic for one in study.measured if one.name == column
            )
            _dots(axes, place, values, colour, style.ARM_MARKER[arm], logarithmic=logarithmic)
    twin = summary[summary["cell"] == TWIN]["mean"]
    if len(twin):
        near = (max(0.0, twin.iloc[0] - CURED), twin.iloc[0] + CURED)
        panels[0].axvspan(*near, color="0.9", zorder=0, linewidth=0)
    panels[0].set_xlim(left=-2.0)
    for axes, one in zip(panels[1:], study.measured, strict=True):
        axes.set_xlabel(SHORT[one.name])
        if one.logarithmic:
            _log_axis(axes)
    style.describe(figure, study.label)
    return figure


def _dots(
    axes: Axes,
    place: int,
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    colour: tuple[float, float, float],
    marker: str,
    *,
    logarithmic: bool,
) -> None:
    """Draw each seed as a dot, and their mean (geometric on a logarithmic axis) as a bar."""
    if not len(values):
        return
    axes.plot(values, [place] * len(values), marker, color=colour, markersize=2.8, alpha=0.75)
    mean = np.exp(np.log(values).mean()) if logarithmic else values.mean()
    axes.plot([mean] * 2, [place - 0.3, place + 0.3], color="0.1", linewidth=1.1)


def _cell_label(study: Factorial, cell: str) -> str:
    """Return a cell by letters: ``A leaky0.3``, ``A + B``."""
    if cell == TWIN:
        return "twin"
    chosen = [number for number, digit in enumerate(cell) if digit == "1"]
    if not chosen:
        return "nothing"
    if len(chosen) == 1:
        return f"{LETTERS[chosen[0]]}  {study.factors[chosen[0]].name}"
    return " + ".join(LETTERS[number] for number in chosen)


def effects_caption(study: Factorial) -> str:
    """Return the caption of `draw_effects`."""
    beside = (
        " Right: what the factor does to what it is meant to move (shaded) and to what it is not, "
        "changed over usual."
        if study.measured
        else ""
    )
    return (
        "Effects of the factors and their interactions on training error, negative where a change "
        "lowers it: squares with 95 % t intervals over seeds, not corrected for their number, and "
        f"each seed as a dot below; hollow, a change alone, the others as usual.{beside} "
        f"{_key(study)} n = {len(study.seeds)} seeds."
    )


def cells_caption(study: Factorial) -> str:
    """Return the caption of `draw_cells`."""
    return (
        "Training error of every cell at the end of training, each seed a dot, means as bars; the "
        f"residual twin below, and shaded what lies within {CURED:g} points of it. {_key(study)}"
    )


def _key(study: Factorial) -> str:
    texts = [
        f"{letter}: {one.name} instead of {one.usual}"
        for letter, one in zip(LETTERS, study.factors, strict=False)
    ]
    return "; ".join(texts) + "."
