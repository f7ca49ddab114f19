"""The figure of pairs, and the report's part on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from synthetic_runs import as_runs, demo_runs, member

from analysis.figures import plot_pairs, style
from analysis.figures.pair_curves import caption, limits, pair_curves
from analysis.figures.style import BOLD, THIN, colour
from analysis.groups import split_groups
from analysis.pairs import pairs_table
from analysis.report import write_report
from resnet_lab.runs.frames import Runs

IMAGENET = {"data": "imagenet", "protocol": "1281167/50000", "iterations": 600_000}


def twins(*extra: str, seeds: int = 3) -> Runs:
    errors = {"plain-34": 30.0, "resnet-34": 25.0, **dict.fromkeys(extra, 28.0)}
    rows = [
        member(network, seed, error + 0.1 * seed, **IMAGENET)
        for network, error in errors.items()
        for seed in range(seeds)
    ]
    return as_runs(rows)


def drawn(axes: Axes) -> dict[str, tuple[str, float, str]]:
    """Label -> colour, width and style of each line."""
    return {
        str(one.get_label()): (to_hex(one.get_color()), one.get_linewidth(), one.get_linestyle())
        for one in axes.lines
    }


def test_twins_lie_over_each_other_training_bold_and_held_out_thin() -> None:
    figure = plot_pairs(twins("plain-18"))
    assert figure is not None
    (axes,) = figure.axes
    found = drawn(axes)
    published = [found.pop(f"{name} published")[0] for name in ("plain-34", "resnet-34")]
    assert published == [to_hex(colour(arm, 34)) for arm in ("none", "A")]
    assert found == {
        f"{name} {split}": (to_hex(colour(arm, 34)), width, dash)
        for name, arm, dash in (("plain-34", "none", "--"), ("resnet-34", "A", "-"))
        for split, width in (("train", BOLD), ("validation", THIN))
    }
    assert axes.get_title() == "34 layers"
    (plain,) = [one for one in axes.lines if one.get_label() == "plain-34 train"]
    assert list(np.asarray(plain.get_ydata(), dtype=float)[[0, -1]]) == pytest.approx([90.0, 30.1])
    assert len(axes.collections) == 4  # a band a line: three seeds


def test_each_depth_has_a_panel_and_every_shortcut_is_in_it() -> None:
    figure = plot_pairs(twins("plain-18", "resnet-18", "resnet-34-B", seeds=1))
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["18 layers", "34 layers"]
    assert sum("resnet-34" in label for label in drawn(figure.axes[1])) >= 4
    assert not figure.axes[0].collections  # one seed has no band
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels[:3] == [
        "plain (n = 1)",
        "residual, option A (n = 1)",
        "residual, option B (n = 1)",
    ]
    assert labels[3:5] == ["bold: training", "thin: validation"]


def test_labels_are_inside_the_figure_and_apart() -> None:
    for runs in (twins(), twins("resnet-34-B", "resnet-34-C"), demo_runs()):
        figure = plot_pairs(runs)
        assert figure is not None
        with style.mpl.style.context(["default", style.RC]):
            figure.draw_without_rendering()
        boxes = [
            text.get_window_extent()
            for legend in figure.legends
            for text in legend.get_texts()
            if text.get_text()
        ]
        boxes += [axes.title.get_window_extent() for axes in figure.axes if axes.get_visible()]
        boxes += [axes.xaxis.label.get_window_extent() for axes in figure.axes]
        boxes = [box for box in boxes if box.width > 1]
        assert all(figure.bbox.x0 <= one.x0 and one.x1 <= figure.bbox.x1 for one in boxes)
        assert not [
            (one, other)
            for number, one in enumerate(boxes)
            for other in boxes[number + 1 :]
            if one.overlaps(other)
        ]


def test_the_axis_holds_what_comes_after_the_first_tenth() -> None:
    table = pair_curves(split_groups(twins())[0])
    low, high = limits(table[table["split"].isin(["train", "validation"])])
    settled = table[(table["step"] >= 60_000) & table["split"].isin(["train", "validation"])]
    assert low <= settled["low"].min()
    assert settled["high"].max() <= high < 91


def test_without_a_pair_there_is_no_figure() -> None:
    lone = as_runs([member("plain-34", 0, **IMAGENET), member("resnet-18", 0, **IMAGENET)])
    assert plot_pairs(lone) is None
    assert plot_pairs(as_runs([])) is None
    assert plot_pairs(as_runs([member("plain-8"), member("resnet-8")], curves=False)) is None


def test_the_caption_has_each_pairs_difference_and_verdict() -> None:
    said = caption(split_groups(twins())[0])
    assert "Plain-34 minus resnet-34 training error 5.0 points, 95 % interval" in said
    assert "n = 3: supported." in said


def test_the_report_shows_verdict_table_and_figure_of_a_pair(tmp_path: Path) -> None:
    runs = twins()
    index = write_report(runs, tmp_path / "out")
    page = index.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert page.index("shortcuts help at 34 layers") < page.index("degradation:")
    assert "<h3>Plain minus residual at equal depth</h3>" in page
    assert "<td>0: 5.00, 1: 5.00, 2: 5.00</td>" in page
    assert "plain-34 worse at every point after warm-up" in page
    assert (tmp_path / "out/figures/pairs.png").stat().st_size > 10_000
    for suffix in ("csv", "md", "tex"):
        assert (tmp_path / f"out/tables/pairs.{suffix}").exists()


def test_the_table_has_both_errors_at_the_end_and_over_training() -> None:
    table = pairs_table(twins()).set_index("measure")
    assert list(table.index) == [
        "training error at the end",
        "training error over training",
        "test error at the end",
        "validation error over training",
    ]
    end, along = table.iloc[0], table.iloc[1]
    assert (end["plain_mean"], end["residual_mean"]) == (pytest.approx(30.1), pytest.approx(25.1))
    assert (end["difference"], along["difference"]) == (pytest.approx(5.0), pytest.approx(2.5))
    assert (end["n"], end["seeds"]) == (3, "0: 5.00, 1: 5.00, 2: 5.00")
    assert (along["share_worse"], set(table["verdict"])) == (1.0, {"supported"})
    assert pairs_table(as_runs([])).empty
