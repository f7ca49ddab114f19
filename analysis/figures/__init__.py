"""Figures: each a function from runs to a matplotlib Figure, None where the runs lack the data."""

import resnet_lab.plotting  # noqa: F401  # before all that imports matplotlib

# isort: split
from analysis.figures.error_vs_depth import plot_error_vs_depth
from analysis.figures.freeze import plot_freeze
from analysis.figures.gallery import (
    PLATES,
    Drawing,
    Plate,
    draw_all,
    draw_searches,
    draw_tunings,
    save_all,
)
from analysis.figures.growth import plot_growth
from analysis.figures.growth_vs_depth import plot_growth_vs_depth
from analysis.figures.layer_maps import plot_layer_maps
from analysis.figures.pair_curves import plot_pairs
from analysis.figures.responses import plot_responses
from analysis.figures.training_curves import plot_training_curves

__all__ = [
    "PLATES",
    "Drawing",
    "Plate",
    "draw_all",
    "draw_searches",
    "draw_tunings",
    "plot_error_vs_depth",
    "plot_freeze",
    "plot_growth",
    "plot_growth_vs_depth",
    "plot_layer_maps",
    "plot_pairs",
    "plot_responses",
    "plot_training_curves",
    "save_all",
]
