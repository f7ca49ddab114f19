"""All figures, drawn for every group of alike runs and saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from analysis.answer import answer
from analysis.claims.dose import split_doses
from analysis.factorial_design import apart_from_factorials, split_factorials
from analysis.figures import (
    answer_curves,
    dose,
    error_vs_depth,
    factorial,
    freeze,
    growth,
    growth_vs_depth,
    layer_maps,
    pair_curves,
    probes,
    responses,
    search,
    style,
    training_curves,
    tuning,
)
from analysis.groups import Group, split_groups
from analysis.search import Search
from analysis.tuning import split_tunings
from resnet_lab.runs.frames import Runs


@dataclass(frozen=True)
class Plate:
    """A kind of figure: its file name, title, and functions that draw and caption it."""

    name: str
    title: str
    draw: Callable[[Group], Figure | None]
    caption: Callable[[Group], str]


@dataclass(frozen=True)
class Drawing:
    """One figure of one group. `name` is its file name without a suffix."""

    name: str
    title: str
    caption: str
    protocol: str
    figure: Figure


ANSWER, ANSWER_NARROW = "answer", "answer_narrow"
"""Names of the drawings on the page's first screen."""

PLATES: tuple[Plate, ...] = (
    Plate("pairs", "Plain against residual", pair_curves.draw, pair_curves.caption),
    Plate("training_curves", "Training curves", training_curves.draw, training_curves.caption),
    Plate("error_vs_depth", "Error against depth", error_vs_depth.draw, error_vs_depth.caption),
    Plate("growth", "Gradients at the first step", growth.draw, growth.caption),
    Plate(
        "growth_vs_depth",
        "Growth of gradients against depth",
        growth_vs_depth.draw,
        growth_vs_depth.caption,
    ),
    Plate("freeze", "The stem over training", freeze.draw, freeze.caption),
    Plate("layer_maps", "Every layer at every step", layer_maps.draw, layer_maps.caption),
    Plate("responses", "Layer responses", responses.draw, responses.caption),
    Plate("probes", "Representations and shattering", probes.draw, probes.caption),
)


def draw_all(runs: Runs) -> list[Drawing]:
    """Draw every figure that the runs support, group after group."""
    drawings = []
    for group in split_groups(runs):
        for plate in PLATES:
            figure = plate.draw(group)
            if figure is not None:
                name = f"{plate.name}-{group.slug}" if group.slug else plate.name
                caption = plate.caption(group)
                drawings.append(Drawing(name, plate.title, caption, group.label, figure))
    return drawings


def draw_answer(runs: Runs) -> list[Drawing]:
    """Draw the curves beside the study's answer, for a desk and a phone; none without an answer."""
    found = answer(runs)
    if found is None:
        return []
    group = found.pair.group
    sizes = {ANSWER: answer_curves.WIDE, ANSWER_NARROW: answer_curves.NARROW}
    figures = {name: answer_curves.draw(group, size) for name, size in sizes.items()}
    if None in figures.values():  # no training error was logged
        return []
    caption = answer_curves.caption(group)
    return [
        Drawing(name, "Training error", caption, group.label, figure)
        for name, figure in figures.items()
        if figure is not None
    ]


def draw_doses(runs: Runs) -> list[Drawing]:
    """Draw training error against the explosion rate for every dose-response among the runs."""
    return [
        Drawing(
            name=f"dose-{number}" if number else "dose",
            title="Training error against the explosion rate",
            caption=dose.caption(one),
            protocol=one.label,
            figure=dose.draw(one),
        )
        for number, one in enumerate(split_doses(runs))
    ]


def draw_factorials(runs: Runs) -> list[Drawing]:
    """Draw the cells and the effects of every factorial among the runs."""
    plates = {
        "factorial_cells": ("Cells", factorial.draw_cells, factorial.cells_caption),
        "factorial_effects": ("Effects", factorial.draw_effects, factorial.effects_caption),
    }
    return [
        Drawing(
            name=f"{name}-{one.slug}" if one.slug else name,
            title=title,
            caption=caption(one),
            protocol=one.label,
            figure=figure,
        )
        for one in split_factorials(runs)
        for name, (title, draw, caption) in plates.items()
        if (figure := draw(one)) is not None
    ]


def draw_tunings(runs: Runs) -> list[Drawing]:
    """Draw error against learning rate for every tuning among the runs."""
    return [
        Drawing(
            name=f"tuning-{one.slug}" if one.slug else "tuning",
            title="Error against learning rate",
            caption=tuning.caption(one),
            protocol=one.label,
            figure=tuning.draw(one),
        )
        for one in split_tunings(apart_from_factorials(runs))
        if one.axis
    ]


def draw_searches(searches: Sequence[Search]) -> list[Drawing]:
    """Draw error over trials, and against parameters, for every search."""
    return [
        Drawing(
            name=f"search-{one.slug}" if one.slug else "search",
            title="The search",
            caption=search.caption(one),
            protocol=one.label,
            figure=search.draw(one),
        )
        for one in searches
    ]


def save_all(drawings: list[Drawing], folder: Path) -> list[Path]:
    """Save each drawing as PNG, SVG and PDF in `folder`; returns the files written."""
    return [
        path for drawing in drawings for path in style.save(drawing.figure, folder / drawing.name)
    ]
