from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from synthetic_runs import DEMO_ERRORS, as_runs, demo_runs, member, recordings
from tiny_runs import ROOT

from analysis.figures import (
    PLATES,
    draw_all,
    draw_searches,
    error_vs_depth,
    freeze,
    growth,
    growth_vs_depth,
    layer_maps,
    plot_error_vs_depth,
    plot_freeze,
    plot_growth,
    plot_growth_vs_depth,
    plot_layer_maps,
    plot_probes,
    plot_responses,
    plot_training_curves,
    probes,
    responses,
    style,
    training_curves,
)
from analysis.groups import Group, split_groups
from analysis.search import split_searches, without_searches
from analysis.search_text import answer as search_answer
from resnet_lab.runs.frames import Runs


@pytest.fixture(scope="module")
def demo() -> Runs:
    return demo_runs()


@pytest.fixture(scope="module")
def group(demo: Runs) -> Group:
    return split_groups(demo)[0]


def line(axes: Axes, label: str) -> Line2D:
    found = [one for one in axes.lines if one.get_label() == label]
    assert len(found) == 1, f"{label} not in {[one.get_label() for one in axes.lines]}"
    return found[0]


def y(axes: Axes, label: str) -> list[float]:
    return list(np.asarray(line(axes, label).get_ydata(), dtype=float))


def texts(figure: Figure) -> list[str]:
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()] + figure.legends
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def made(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def test_training_curves_are_means_over_seeds_plain_left_residual_right(demo: Runs) -> None:
    figure = made(plot_training_curves(demo))
    plain, residual = figure.axes
    assert (plain.get_title(), residual.get_title()) == ("plain", "residual")
    assert y(plain, "plain-56 train")[0] == 90
    assert y(plain, "plain-56 train")[-1] == pytest.approx(55 * 1.02)
    assert y(residual, "resnet-8 validation")[-1] == pytest.approx(0.3 * 1.02 + 1)
    assert plain.get_ylim() == residual.get_ylim()
    assert plain.get_xlim() == residual.get_xlim() == (0, 160)


def test_training_error_is_bold_and_plain_dashed(demo: Runs) -> None:
    plain, residual = made(plot_training_curves(demo)).axes
    train, held_out = line(plain, "plain-20 train"), line(plain, "plain-20 validation")
    assert train.get_linestyle() == held_out.get_linestyle() == "--"
    assert line(residual, "resnet-20 train").get_linestyle() == "-"
    assert train.get_linewidth() > held_out.get_linewidth()
    assert train.get_color() == held_out.get_color() == style.colour("none", 20)


def test_legends_name_networks_with_their_seeds_and_splits(demo: Runs) -> None:
    shown = texts(made(plot_training_curves(demo)))
    assert "plain-56 (n = 3)" in shown
    assert "resnet-56 (n = 3)" in shown
    assert shown[-2:] == ["bold: training", "thin: validation"]


def test_bands_run_from_the_lowest_to_the_highest_seed(group: Group) -> None:
    table = training_curves.curves(group)
    last = table[(table["short"] == "plain-56") & (table["split"] == "train")].iloc[-1]
    assert (last["n"], last["low"], last["high"]) == (3, 55.0, pytest.approx(55 * 1.04))


def test_a_seed_that_stopped_early_does_not_cut_the_others_short() -> None:
    rows = [member("plain-8", seed, 5.0) for seed in range(3)]
    rows[2]["status"] = "interrupted"
    runs = as_runs(rows)
    stopped = (runs.metrics["run"] == rows[2]["run"]) & (runs.metrics["step"] > 50)
    table = training_curves.curves(
        split_groups(Runs(runs.runs, runs.metrics[~stopped], runs.layers, []))[0]
    )
    assert set(table["n"]) == {2}
    assert table["step"].max() == 160


def test_published_final_errors_are_marked_on_their_own_data_only() -> None:
    def marks(data: str, iterations: int = 64_000) -> dict[str, float]:
        names = ("resnet-20", "plain-20-x0.5")
        runs = as_runs([member(name, data=data, iterations=iterations) for name in names])
        drawn = [
            one for group in split_groups(runs) for one in made(training_curves.draw(group)).axes
        ]
        lines = [one for axes in drawn for one in axes.lines]
        return {
            str(one.get_label()): float(np.asarray(one.get_ydata())[0])
            for one in lines
            if str(one.get_label()).endswith("published")
        }

    assert marks("cifar10") == {"resnet-20 published": 8.75}
    assert marks("digits") == {}
    assert marks("cifar10", 2_816) == {}  # nothing was published after as few iterations


def test_one_family_alone_has_one_panel() -> None:
    figure = made(plot_training_curves(as_runs([member("resnet-8")])))
    assert [axes.get_title() for axes in figure.axes] == ["residual"]


def test_error_against_depth_has_means_and_t_intervals(demo: Runs, group: Group) -> None:
    train, test = made(plot_error_vs_depth(demo)).axes
    table = error_vs_depth.final_errors(group).set_index(["split", "shortcut", "depth"])
    row = table.xs(("train", "none", 56))
    assert row["mean"] == pytest.approx(56.1)
    assert row["high"] - row["mean"] == pytest.approx(4.3027 * 1.1 / 3**0.5, rel=1e-4)
    plain = next(one for one in train.containers if one.get_label() == "plain (n = 3)")
    assert isinstance(plain, ErrorbarContainer)
    means, _, bars = plain.lines
    assert np.asarray(means.get_ydata()) == pytest.approx([0.204, 3.06, 56.1])
    assert np.asarray(bars[0].get_segments())[2, 1, 1] == pytest.approx(row["high"])
    assert test.get_title() == "test error"
    assert test.get_ylim() == train.get_ylim()
    assert [tick.get_text() for tick in test.get_xticklabels()] == ["8", "20", "56"]


def test_error_against_depth_leaves_out_and_names_what_did_not_finish() -> None:
    rows = [member("plain-8", s, 1.0 + s) for s in range(2)]
    rows += [member("plain-20", s, 5.0 + s) for s in range(2)]
    rows[3]["status"] = "diverged"
    group = split_groups(as_runs(rows))[0]
    table = error_vs_depth.final_errors(group)
    assert list(table[table["split"] == "train"]["n"]) == [2, 1]
    assert "plain-20 seed 1" in error_vs_depth.caption(group)
    assert "plain (n = 1 to 2)" in texts(made(error_vs_depth.draw(group)))


def test_maps_hold_every_layer_at_every_step_of_the_deepest_twins(demo: Runs, group: Group) -> None:
    figure = made(plot_layer_maps(demo))
    maps = figure.axes[:4]
    assert [axes.get_title().split(",")[0] for axes in maps] == ["plain-56", "resnet-56"] * 2
    values = layer_maps.layer_map(group, "plain-56", 0, "gradient_norm")
    assert values.shape[0] == 56
    assert [int(step) for step in values.columns[:5]] == [0, 1, 2, 4, 8]
    assert values.loc[1, 0] == pytest.approx(1.2**55)
    drawn = maps[0].collections[0].get_array()
    assert np.asarray(drawn) == pytest.approx(values.to_numpy())


def test_a_network_without_a_twin_has_its_maps_alone(demo: Runs) -> None:
    plain = demo.runs[demo.runs["family"] == "plain"]
    group = split_groups(replace(demo, runs=plain))[0]
    assert layer_maps.draw(group) is None
    figure = made(layer_maps.draw_alone(group))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["plain-56"] * 2
    values = layer_maps.layer_map(group, "plain-56", 0, "gradient_norm")
    drawn = figure.axes[0].collections[0].get_array()
    assert np.asarray(drawn) == pytest.approx(values.to_numpy())


def test_twins_share_one_logarithmic_colour_scale_a_row(demo: Runs) -> None:
    figure = made(plot_layer_maps(demo))
    for left, right in (figure.axes[:2], figure.axes[2:4]):
        first, second = left.collections[0].norm, right.collections[0].norm
        assert isinstance(first, LogNorm)
        assert (first.vmin, first.vmax) == (second.vmin, second.vmax)
    assert figure.axes[0].collections[0].norm.vmax == pytest.approx(1.2**55)


def test_the_input_is_at_the_top_and_steps_start_at_zero(demo: Runs) -> None:
    axes = made(plot_layer_maps(demo)).axes[2]
    bottom, top = axes.get_ylim()
    assert (bottom, top) == (56.5, 0.5)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "10", "100"]
    assert axes.get_xlim() == (0, 159)


def test_colour_scale_survives_zeros_and_spans_at_most_its_decades() -> None:
    scale = layer_maps.colour_scale([pd.DataFrame([[0.0, np.nan], [1e-30, 10.0]])])
    assert (scale.vmin, scale.vmax) == (10 / 10.0**layer_maps.DECADES, 10.0)
    assert layer_maps.colour_scale([pd.DataFrame([[0.0]])]).vmin is not None


def test_growth_figure_has_norms_fits_and_the_theorys_slope(demo: Runs, group: Group) -> None:
    plain, residual = made(plot_growth(demo)).axes
    points = line(plain, "plain-56: 1.20, 1.20, 1.20")
    assert np.asarray(points.get_xdata()).tolist() == list(range(1, 57))
    assert y(plain, "plain-56: 1.20, 1.20, 1.20")[0] == pytest.approx(1.203**55, rel=1e-3)
    theory = y(plain, "theory's slope: 1.2112")
    layers = np.asarray(line(plain, "theory's slope: 1.2112").get_xdata(), dtype=float)
    assert list(layers) == [2, 19]
    assert (theory[0] / theory[1]) ** (1 / 17) == pytest.approx(1.2112, abs=5e-5)
    assert not [one for one in residual.lines if "theory" in str(one.get_label())]
    assert plain.get_yscale() == "log"
    fits = growth.stage_growth(group).set_index(["short", "stage"])["growth"]
    assert fits["resnet-20", 2] == pytest.approx(1.053, abs=1e-3)


def test_growth_against_depth_is_a_panel_a_stage_with_the_theory(demo: Runs, group: Group) -> None:
    figure = made(plot_growth_vs_depth(demo))
    assert [axes.get_title() for axes in figure.axes] == ["stage 1", "stage 2", "stage 3"]
    first = figure.axes[0]
    assert y(first, "theory, plain networks") == pytest.approx([1.2112, 1.2112], abs=5e-5)
    plain = next(one for one in first.containers if one.get_label() == "plain")
    assert isinstance(plain, ErrorbarContainer)
    means = np.asarray(plain.lines[0].get_ydata())
    assert means == pytest.approx([1.203, 1.203], abs=1e-4)  # 8 layers have too few a stage
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["20", "56"]
    table = growth_vs_depth.growths(group).set_index(["stage", "shortcut", "depth"])
    row = table.xs((1, "none", 56))
    logs = np.log([1.2, 1.203, 1.206])
    half = 4.3027 * logs.std(ddof=1) / 3**0.5
    assert row["high"] == pytest.approx(np.exp(logs.mean() + half), rel=1e-5)
    assert row["n"] == 3


def test_growth_against_depth_of_one_seed_has_no_interval() -> None:
    rows = [member("plain-20-nonorm"), member("plain-56-nonorm")]
    runs = as_runs(rows, [recordings(row) for row in rows])
    group = split_groups(runs)[0]
    assert growth_vs_depth.growths(group)["low"].isna().all()
    assert "theory, plain networks" not in texts(made(growth_vs_depth.draw(group)))


def test_theory_is_not_drawn_for_networks_without_batch_norm() -> None:
    row = member("plain-20-nonorm")
    plain = made(plot_growth(as_runs([row], [recordings(row)]))).axes[0]
    assert not [one for one in plain.lines if "theory" in str(one.get_label())]


def test_published_errors_stand_in_the_panel_of_test_errors() -> None:
    networks = ("resnet-20", "resnet-56", "plain-20")
    rows = [member(network, data="cifar10", iterations=64_000) for network in networks]
    train, test = made(plot_error_vs_depth(as_runs(rows))).axes
    marks = [one for one in test.lines if one.get_label() == "published"]
    found = {(float(one.get_xdata()[0]), float(one.get_ydata()[0])) for one in marks}  # type: ignore
    assert {(20.0, 8.75), (56.0, 6.97)} <= found
    assert not [one for one in train.lines if one.get_label() == "published"]


def trials(n: int = 9) -> Runs:
    """A search whose error falls with lr; trial 3 was stopped, trial 4 diverged."""
    rows = []
    for number in range(n):
        row = member("plain-20", 0, 50.0 - number, lr=0.001 * 2**number, momentum=0.9)
        row["weight_decay"] = 1e-4 * (1 + number * 4 % n)
        row["schedule"] = f"drops=[80] ema={0.1 * (number * 5 % n):.1f} kind=cosine"
        row |= {"run": f"{number:016x}", "name": f"t{number}"}
        row["created"] = f"2026-01-01T00:00:{n - number:02d}+00:00"  # the last row began first
        rows.append(row)
    rows[-3]["status"], rows[-4]["status"] = "stopped", "diverged"
    runs = as_runs(rows)
    late = (runs.metrics["run"] == rows[-3]["run"]) & (runs.metrics["step"] > 80)
    return Runs(pd.DataFrame(rows), runs.metrics[~late], runs.layers, [])


def test_trials_are_in_the_order_of_their_starts_with_the_best_so_far() -> None:
    (search,) = split_searches(trials())
    assert search.parameters == ("lr", "weight_decay", "ema")
    assert list(search.trials["name"]) == [f"t{number}" for number in range(8, -1, -1)]
    value = search.trials["value"].tolist()
    assert value[:3] + value[4:] == pytest.approx([43, 44, (90 + 45) / 2, 47, 48, 49, 50, 51])
    assert np.isnan(value[3])
    assert search.trials["step"].tolist() == [160, 160, 80, *[160] * 6]
    assert set(search.trials["best"]) == {43}
    assert search.counts == {"finished": 7, "stopped": 1, "diverged": 1}
    said = search_answer(search)
    assert "9 trials: 7 finished, 1 stopped early, 1 diverged;" in said
    assert "The best is trial 0: validation error 43.00 %; lr 0.256, weight_decay 0.0006," in said


def test_importances_are_optunas_over_ended_trials_with_diverged_ones_as_worst() -> None:
    assert split_searches(trials())[0].importances.empty  # of 8 that ended
    table = split_searches(trials(24))[0].importances
    assert set(table["parameter"]) == {"lr", "weight_decay", "ema"}
    assert table["importance"].sum() == pytest.approx(1)
    assert list(table["importance"]) == sorted(table["importance"], reverse=True)
    assert table["parameter"].iloc[0] == "lr"  # which alone decides
    assert table["importance"].iloc[0] > 0.5
    assert (table["n"].iloc[0], table["best"].iloc[0]) == (23, 5)


def test_grids_seeds_and_few_runs_are_no_search() -> None:
    grid = [
        member("plain-20", seed, lr=lr) for seed in range(3) for lr in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
    for number, row in enumerate(grid):
        row |= {"run": str(number), "created": str(number), "schedule": ""}
    assert split_searches(Runs(pd.DataFrame(grid), *_no_rows(), [])) == []
    few = trials(4)
    assert split_searches(few) == []
    assert split_searches(as_runs([])) == []


def _no_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    empty = as_runs([])
    return empty.metrics, empty.layers


def test_a_search_is_drawn_with_its_trials_importances_and_parameters() -> None:
    (drawing,) = draw_searches(split_searches(trials(24)))
    history, ranked, *panels = drawing.figure.axes
    assert y(history, "plain-20 best so far")[-1] == 28
    ticks = dict(zip(texts_of(history), history.get_yticks(), strict=True))
    assert y(history, "plain-20 diverged") == [ticks["div."]]
    assert ticks["div."] > ticks["100"]
    assert "best 5 of 23 trials against all" in ranked.get_xlabel()
    assert len(ranked.patches) == 3
    assert {axes.get_xlabel() for axes in panels} == {"lr", "weight_decay", "ema"}


def texts_of(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_a_search_without_enough_ended_trials_has_no_importances() -> None:
    runs = trials(6)
    runs.runs["status"] = ["finished", *["stopped"] * 5]
    (drawing,) = draw_searches(split_searches(runs))
    assert not [axes for axes in drawing.figure.axes if "importance" in axes.get_xlabel()]
    assert "no importances" in drawing.caption


def test_networks_of_one_search_are_told_apart() -> None:
    runs = trials()
    runs.runs.loc[::2, ["network", "family", "shortcut"]] = ["resnet-20", "residual", "A"]
    (search,) = split_searches(runs)
    assert search.parameters[0] == "network"
    table = search.by_network.set_index("network")
    assert table.loc["resnet-20", ["value", "trial", "trials", "stopped"]].tolist() == [43, 0, 5, 1]
    assert table.loc["plain-20", ["value", "trial", "trials", "diverged"]].tolist() == [44, 1, 4, 1]
    (drawing,) = draw_searches([search])
    labels = {str(line.get_label()) for line in drawing.figure.axes[0].lines}
    assert {"resnet-20 best so far", "plain-20 best so far"} <= labels


def test_runs_of_a_search_are_told_from_the_others() -> None:
    runs = trials()
    other = pd.DataFrame([{**member("plain-8", 5), "created": "2026", "schedule": ""}])
    mixed = Runs(pd.concat([runs.runs, other], ignore_index=True), runs.metrics, runs.layers, [])
    found = split_searches(mixed)
    assert list(without_searches(mixed, found).runs["network"]) == ["plain-8"]


def test_responses_are_in_order_above_and_sorted_below(demo: Runs) -> None:
    top, bottom = made(plot_responses(demo)).axes
    in_order, ranked = y(top, "plain-8 (n = 3)"), y(bottom, "plain-8 (n = 3)")
    assert in_order[:2] == pytest.approx([1.01 * np.exp(0.2), 1.01 * np.exp(-0.2)])
    assert ranked == sorted(in_order, reverse=True)
    assert len(in_order) == 7
    assert top.get_ylabel() == "response std"
    assert top.get_ylim()[0] == 0
    assert line(top, "plain-8 (n = 3)").get_linestyle() == "--"
    assert line(top, "resnet-8 (n = 3)").get_linestyle() == "-"


def test_responses_that_differ_widely_have_a_log_axis() -> None:
    rows = [member("plain-8", 0), member("resnet-8", 0)]
    layers = [recordings(rows[0], response=60.0), recordings(rows[1], response=1.0)]
    top, bottom = made(plot_responses(as_runs(rows, layers))).axes
    assert top.get_yscale() == bottom.get_yscale() == "log"
    assert top.get_ylabel() == "response std, log axis"


def test_responses_are_those_of_the_last_step_of_finished_members() -> None:
    rows = [member("plain-8", 0), member("plain-8", 1, status="diverged")]
    layers = [recordings(rows[0], response=1.0), recordings(rows[1], response=9.0)]
    layers[0].loc[layers[0]["step"] < 159, "value"] = 5.0
    table = responses.responses(split_groups(as_runs(rows, layers))[0])
    assert set(table["std"]) == {1.0}
    assert set(table["n"]) == {1}


def test_freeze_shows_stem_norm_and_relative_update_from_step_zero(demo: Runs) -> None:
    norms, updates, angles = made(plot_freeze(demo)).axes
    assert np.asarray(y(norms, "plain-56 (n = 3)")) == pytest.approx(3.0)
    frozen = line(updates, "plain-56 (n = 3)")
    steps = [int(step) for step in np.asarray(frozen.get_xdata())]
    values = np.asarray(frozen.get_ydata(), dtype=float)
    assert steps[:6] == [0, 1, 2, 4, 8, 16]
    assert values[steps.index(16) :] == pytest.approx(1e-9)
    assert values[0] == pytest.approx(0.1 * 1.203**55 / 3, rel=1e-3)
    assert y(updates, "gradient step tiny below 1e-06") == [1e-6, 1e-6]
    turned = np.asarray(y(angles, "plain-56 (n = 3)"), dtype=float)
    assert turned[0] == pytest.approx(np.arctan(values[0]), rel=1e-2)
    assert turned[steps.index(16) :] == pytest.approx(1e-9)


def test_freeze_of_runs_without_angles_says_so() -> None:
    rows = [member("plain-8", seed) for seed in range(2)]
    layers = [recordings(row) for row in rows]
    old = as_runs(rows, [one[one["quantity"] != "update_angle"] for one in layers])
    (group,) = split_groups(old)
    assert len(made(freeze.draw(group)).axes) == 2
    assert "record again to see them" in freeze.caption(group)


def test_constant_values_still_have_a_readable_log_axis(demo: Runs) -> None:
    low, high = made(plot_freeze(demo)).axes[0].get_ylim()
    assert high / low >= 9.99
    assert low < 3 < high


def test_seeds_of_the_freeze_are_averaged_on_the_logarithm() -> None:
    rows = [member("plain-8", seed) for seed in range(2)]
    layers = [recordings(row) for row in rows]
    for frame, value in zip(layers, (1e-2, 1e-6), strict=True):
        frame.loc[frame["quantity"] == "relative_update", "value"] = value
    table = freeze.stems(split_groups(as_runs(rows, layers))[0])
    assert table.loc[table["quantity"] == "relative_update", "middle"].to_numpy() == (
        pytest.approx(1e-4)
    )


@pytest.mark.parametrize(
    "plot",
    [
        plot_error_vs_depth,
        plot_freeze,
        plot_growth,
        plot_growth_vs_depth,
        plot_layer_maps,
        plot_responses,
    ],
)
def test_figures_without_their_data_are_none(plot: object) -> None:
    assert callable(plot)
    assert plot(as_runs([member("plain-8")], curves=False)) is None
    assert plot(as_runs([])) is None


def test_every_group_has_its_own_figures() -> None:
    rows = [member("plain-8", 0, lr=0.1), member("plain-8", 0, lr=0.01)]
    names = [drawing.name for drawing in draw_all(as_runs(rows))]
    assert names == ["training_curves-digits-1", "training_curves-digits-2"]


def test_drawings_of_the_demo_are_all_plates_with_captions(demo: Runs) -> None:
    drawings = draw_all(demo)
    assert [one.name for one in drawings] == [plate.name for plate in PLATES]
    assert all("digits, protocol 1294/143" in one.protocol for one in drawings)
    assert all(len(one.caption) > 80 for one in drawings)


@pytest.mark.parametrize("arm", ["none", "A", "B", "C", "gated"])
def test_colours_are_darker_with_depth_in_every_arm(arm: str) -> None:
    depths = [8, 14, 20, 32, 44, 56, 110, 1202]
    light = [style.lightness(style.colour(arm, depth)) for depth in depths]
    assert light[0] == pytest.approx(style.LIGHTEST, abs=0.5)
    assert light[-1] == pytest.approx(style.DARKEST, abs=0.5)
    assert min(a - b for a, b in pairwise(light)) > 2  # of 100: two are told apart at about 2


def test_lightness_is_that_of_cielab() -> None:
    found = [style.lightness(one) for one in ((1, 1, 1), (0, 0, 0), (1, 0, 0), (0.5, 0.5, 0.5))]
    assert found == pytest.approx([100, 0, 53.24, 53.39], abs=0.01)


def test_arms_stay_apart_for_the_colour_blind() -> None:
    """Machado et al. 2009: what a deuteranope and a protanope see, in linear light."""
    seen = {
        "deuteranope": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "protanope": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    }
    colours = np.array([style.colour(arm, 56) for arm in ("none", "A")])
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    for matrix in seen.values():
        plain, residual = linear @ np.array(matrix).T
        assert plain[0] - plain[2] > 0.05  # yellowish
        assert residual[2] - residual[0] > 0.05  # blue


def test_every_figure_is_a_column_wide_and_nothing_in_it_is_small_or_cut(demo: Runs) -> None:
    drawings = [*draw_all(demo), *draw_searches(split_searches(trials()))]
    assert len(drawings) == len(PLATES) + 1
    for one in drawings:
        figure = one.figure
        assert figure.get_figwidth() == pytest.approx(3.3)
        figure.draw_without_rendering()
        shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        sizes = {text.get_fontsize() for text in shown if "mathdefault" not in text.get_text()}
        assert min(sizes) >= 6.5, one.name
        for box in [legend.get_window_extent() for legend in figure.findobj(Legend)]:
            assert box.x0 >= -1, one.name
            assert box.x1 <= figure.bbox.x1 + 1, one.name
            assert box.y0 >= -1, one.name


def test_drawing_leaves_matplotlibs_settings_alone(demo: Runs) -> None:
    before = dict(mpl.rcParams)
    plot_growth(demo)
    assert dict(mpl.rcParams) == before


def test_figures_are_saved_in_three_formats_with_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    runs = as_runs([member(network, 0, error) for network, error in DEMO_ERRORS.items()])
    for folder in ("once", "again"):
        style.save(made(plot_error_vs_depth(runs)), tmp_path / folder / "errors")
    once = {path.name: path.read_bytes() for path in (tmp_path / "once").iterdir()}
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert set(once) == {"errors.png", "errors.svg", "errors.pdf"}
    assert once == again
    assert once["errors.png"].startswith(b"\x89PNG")
    assert once["errors.pdf"].startswith(b"%PDF")


def test_dollar_signs_in_names_are_no_mathematics(tmp_path: Path) -> None:
    runs = as_runs([member(network, data="a$b_$c") for network in ("plain-8", "plain-20")])
    figure = made(plot_error_vs_depth(runs))
    style.save(figure, tmp_path / "odd")
    assert (tmp_path / "odd.svg").exists()


SETTINGS = {
    "text.usetex": "True",
    "figure.dpi": "37",
    "figure.facecolor": "red",
    "figure.autolayout": "True",
    "savefig.bbox": "tight",
    "savefig.transparent": "True",
    "font.sans-serif": "Nothing Such",
    "axes.prop_cycle": "cycler('color', ['k'])",
    "axes.formatter.use_locale": "True",
    "axes.spines.left": "False",
    "xtick.major.size": "30",
    "lines.marker": "D",
    "svg.fonttype": "none",
    "pdf.fonttype": "3",
    "backend": "TkAgg",
    "no.such.setting": "1",
    "lines.linewidth": "nonsense",
}
"""A matplotlibrc that changes whatever a figure shows, and has mistakes in it."""
DRAW = """
import sys
from pathlib import Path
from synthetic_runs import demo_runs
if len(sys.argv) > 2:
    import matplotlib as mpl, matplotlib.pyplot
    before = dict(mpl.rcParams.copy())
from analysis.figures import layer_maps, plot_error_vs_depth, style
from analysis.groups import split_groups
out, runs = Path(sys.argv[1]), demo_runs()
style.save(plot_error_vs_depth(runs), out / "errors")
style.save_png(layer_maps.draw(split_groups(runs)[0]), out / "maps.png")
if len(sys.argv) > 2:
    assert [(k, v) for k, v in mpl.rcParams.copy().items() if v != before[k]] == []
"""


def drawn(folder: str, *look: str, **variables: str) -> dict[str, bytes]:
    """Figures that a new process has drawn, file by file."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    ended = subprocess.run(
        [sys.executable, "-c", DRAW, folder, *look],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def test_figures_are_the_same_whatever_matplotlibs_settings_and_these_stay() -> None:
    plain = drawn("plain", MPLBACKEND="module://no_such_module.backend_inline")
    assert sorted(plain) == ["errors.pdf", "errors.png", "errors.svg", "maps.png"]
    lines = [f"{name}: {value}" for name, value in SETTINGS.items()]
    Path("matplotlibrc").write_text("\n".join(lines))
    assert drawn("changed", "settings stay", MPLBACKEND="svg") == plain
    Path("matplotlibrc").write_bytes(b"lines.linewidth: \xff\xfe")
    assert drawn("no text") == plain


def of_blocks(row: dict[str, Any], quantity: str, values: Mapping[int, float]) -> pd.DataFrame:
    """Values behind layers at step 0 of one member; layer 0 is the network."""
    frame = pd.DataFrame({"layer": list(values), "value": list(values.values())})
    names = [f"stage1.block{layer}" if layer else "" for layer in values]
    who = {"run": row["run"], "network": row["network"], "quantity": quantity}
    return frame.assign(**who, step=0, name=names, stage=1, block=1)


def test_probes_show_representations_and_shattering_with_their_theory(demo: Runs) -> None:
    cosines, correlations = made(plot_probes(demo)).axes
    assert y(cosines, "plain-56 (n = 3)")[:2] == pytest.approx([1 / 2, 3 / 4])
    assert len(y(cosines, "plain-56 (n = 3)")) == 28
    assert y(cosines, "theory, plain networks") == pytest.approx([1 / np.pi] * 55)
    theory = line(correlations, "theory, plain networks")
    assert np.asarray(theory.get_xdata()).tolist() == list(range(8, 57))
    assert y(correlations, "theory, plain networks")[0] == pytest.approx(0.9584, abs=1e-4)
    plain = next(one for one in correlations.containers if one.get_label() == "plain (n = 3)")
    assert isinstance(plain, ErrorbarContainer)
    means = np.asarray(plain.lines[0].get_ydata())
    assert means == pytest.approx([2.0**-8, 2.0**-20, 2.0**-56])


def test_theory_of_networks_without_norm_starts_at_the_stem() -> None:
    row = member("plain-8-nonorm")
    values = {1: 0.0, 3: 0.5, 5: 0.6, 7: 0.7}
    runs = as_runs([row], [of_blocks(row, "representation_cosine", values)])
    (axes,) = made(plot_probes(runs)).axes
    course = y(axes, "theory, plain networks")
    assert course[:2] == pytest.approx([0, 1 / np.pi])
    assert len(course) == 7
    for network in ("plain-8-nonorm-preact", "plain-8-groupnorm", "resnet-8"):
        row = member(network)
        runs = as_runs([row], [of_blocks(row, "representation_cosine", values)])
        (axes,) = made(plot_probes(runs)).axes
        assert len(axes.lines) == 1


def test_branches_lie_beside_1_over_l_where_theory_gives_it() -> None:
    for network, beside in (("resnet-8-preact", True), ("resnet-8", False)):
        row = member(network)
        recorded = [
            of_blocks(row, "variance_ratio", {3: 1.0, 5: 0.5, 7: 0.25}),
            of_blocks(row, "stable_rank", {1: 4.0, 3: 3.0}),
        ]
        runs = as_runs([row], recorded)
        ranks, ratios = made(plot_probes(runs)).axes
        assert y(ranks, "resnet-8 (n = 1)") == [4.0, 3.0]
        drawn = line(ratios, "resnet-8 (n = 1)")
        assert np.asarray(drawn.get_xdata()).tolist() == [1, 2, 3]
        labels = [one.get_label() for one in ratios.lines]
        assert ("1 / l, theory" in labels) == beside
        assert ("1 / l" in probes.caption(split_groups(runs)[0])) == beside


def test_without_what_is_recorded_on_request_there_is_no_figure_of_it() -> None:
    row = member("resnet-8")
    assert plot_probes(as_runs([row], [of_blocks(row, "variance_ratio", {3: 1.0})])) is None
