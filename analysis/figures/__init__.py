"""Figures: each a function from runs to a matplotlib Figure, None where the runs lack the data."""

import resnet_lab.plotting  # noqa: F401  # before other imports of matplotlib

# isort: split
from analysis.figures import style
from analysis.figures.gallery import (
    ANSWER,
    ANSWER_NARROW,
    PLATES,
    Drawing,
    Plate,
    draw_all,
    draw_answer,
    draw_doses,
    draw_factorials,
    draw_searches,
    draw_tunings,
    save_all,
)

_DRAW = {plate.name: style.of_main_group(plate.draw) for plate in PLATES}
plot_pairs = _DRAW["pairs"]
plot_training_curves = _DRAW["training_curves"]
plot_error_vs_depth = _DRAW["error_vs_depth"]
plot_growth = _DRAW["growth"]
plot_growth_vs_depth = _DRAW["growth_vs_depth"]
plot_freeze = _DRAW["freeze"]
plot_layer_maps = _DRAW["layer_maps"]
plot_responses = _DRAW["responses"]
plot_probes = _DRAW["probes"]

__all__ = [
    "ANSWER",
    "ANSWER_NARROW",
    "PLATES",
    "Drawing",
    "Plate",
    "draw_all",
    "draw_answer",
    "draw_doses",
    "draw_factorials",
    "draw_searches",
    "draw_tunings",
    "plot_error_vs_depth",
    "plot_freeze",
    "plot_growth",
    "plot_growth_vs_depth",
    "plot_layer_maps",
    "plot_pairs",
    "plot_probes",
    "plot_responses",
    "plot_training_curves",
    "save_all",
]
