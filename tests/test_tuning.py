from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from synthetic_runs import as_runs, member
from tiny_runs import tiny

from analysis.figures import draw_tunings, style
from analysis.report import write_report
from analysis.tables import results_text, tuned_for_reading, tuning_tables
from analysis.tuning import (
    Tuning,
    at_best,
    degradation,
    effects,
    shortcut_effects,
    split_tunings,
)
from analysis.tuning_answer import CAUTION, UNTESTED, answer
from resnet_lab.runs.frames import Runs, load_runs
from resnet_lab.training.train import train

Errors = Sequence[float | None]
"""Validation errors of seeds 0, 1, ...; None: diverged."""


def rows(network: str, grid: Mapping[float, Errors], **settings: Any) -> list[dict[str, Any]]:
    """Members with these validation errors; training error is ten times as much, test the half."""
    found = []
    for lr, errors in grid.items():
        for seed, error in enumerate(errors):
            place = {"run": f"{network}-{lr}-{seed}", "name": f"{network}-{lr}-{seed}"}
            if error is None:
                lost = dict.fromkeys(("validation_error", "test_error"), float("nan"))
                how = {"status": "diverged", "diverged_at": 7, **lost}
                found.append(member(network, seed, float("nan"), lr=lr, **place, **how, **settings))
            else:
                known = {"validation_error": error, "test_error": error / 2, **settings}
                found.append(member(network, seed, 10 * error, lr=lr, **place, **known))
    return found


def tuned(networks: Mapping[str, Mapping[float, Errors]]) -> Runs:
    return as_runs([row for name, grid in networks.items() for row in rows(name, grid)])


def only(runs: Runs) -> Tuning:
    [tuning] = split_tunings(runs)
    return tuning


def choice(runs: Runs, network: str = "plain-8") -> dict[str, Any]:
    table = only(runs).choices.set_index("short")
    return {str(name): value for name, value in table.loc[network].items()}


DEEP = {
    "plain-8": {0.01: [0.5, 0.6, 0.7], 0.1: [0.1, 0.2, 0.3], 1.0: [0.4, 0.4, 0.4]},
    "plain-56": {0.01: [4.1, 5.2, 6.3], 0.1: [7.0, 7.0, 7.0], 1.0: [8.0, None, 8.0]},
    "resnet-56": {0.01: [0.3, 0.3, 0.3], 0.1: [0.1, 0.2, 0.0], 1.0: [0.2, 0.2, 0.2]},
}
"""Training errors at the best rates: plain-8 1, 2, 3; plain-56 41, 52, 63; resnet-56 1, 2, 0."""


@pytest.fixture
def deep() -> Tuning:
    return only(tuned(DEEP))


# Choosing a rate


def test_the_lowest_mean_validation_error_chooses_and_no_other_number() -> None:
    grid = rows("plain-8", {0.01: [6.0, 8.0], 0.1: [5.0, 7.0], 1.0: [9.0, 9.0]})
    for row in grid:
        row["train_error"], row["test_error"] = row["lr"], 100 * row["lr"]
    chosen = choice(as_runs(grid))
    assert (chosen["lr"], chosen["edge"], chosen["rates"], chosen["n"]) == (0.1, "", 3, 2)
    assert (chosen["validation_mean"], chosen["train_mean"], chosen["test_mean"]) == (6, 0.1, 10)
    assert chosen["validation_sd"] == pytest.approx(2**0.5)


def test_every_network_has_a_rate_of_its_own(deep: Tuning) -> None:
    table = deep.choices
    assert list(table["short"]) == ["plain-8", "plain-56", "resnet-56"]
    assert list(table["lr"]) == [0.1, 0.01, 0.1]
    assert list(table["train_mean"]) == pytest.approx([2.0, 52.0, 1.0])
    assert list(table["train_sd"]) == pytest.approx([1.0, 11.0, 1.0])
    assert list(table["test_mean"]) == pytest.approx([0.1, 2.6, 0.05])


def test_of_equal_rates_the_smaller_is_chosen() -> None:
    runs = tuned({"plain-8": {0.3: [1.0, 3.0], 0.03: [3.0, 1.0], 1.0: [2.0, 2.0], 0.01: [5, 5]}})
    assert choice(runs)["lr"] == 0.03


def test_a_diverged_seed_counts_as_wrong_everywhere() -> None:
    assert choice(tuned({"plain-8": {0.1: [40.0, 42.0], 1.0: [1.0, None]}}))["lr"] == 0.1
    chosen = choice(tuned({"plain-8": {0.1: [None, None], 1.0: [2.0, None]}}))
    assert (chosen["lr"], chosen["diverged"], chosen["n"]) == (1.0, 1, 2)
    assert (chosen["validation_mean"], chosen["train_mean"]) == ((2 + 100) / 2, (20 + 100) / 2)


def test_a_rate_at_which_every_seed_diverged_is_never_the_best() -> None:
    lost: dict[float, Errors] = {0.1: [None, None], 1.0: [None, None]}
    grids: dict[str, dict[float, Errors]] = {"plain-8": {0.1: [1.0, 2.0], 1.0: [3.0, 4.0]}}
    tuning = only(tuned({**grids, "plain-56": lost}))
    assert list(tuning.choices["short"]) == ["plain-8"]
    assert not tuning.rates.query("short == 'plain-56'")["best"].any()
    assert "No best rate: plain-56 diverged at every one." in answer(tuning)
    half = {**lost, 1.0: [100.0, 100.0]}
    assert choice(tuned({**grids, "plain-56": half}), "plain-56")["lr"] == 1.0
    assert split_tunings(tuned({"plain-56": lost})) == []


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "stopped"])
def test_a_rate_at_which_a_seed_has_not_come_to_its_end_cannot_be_chosen(status: str) -> None:
    grid = rows("plain-8", {0.01: [3.0, 3.0], 0.1: [2.0, 2.0], 1.0: [0.1, 0.1]})
    grid[-1]["status"] = status
    assert choice(as_runs(grid))["lr"] == 0.1
    assert "Not complete and left out: plain-8 at 1 (1 of 2 seeds)." in answer(only(as_runs(grid)))


def test_a_rate_that_lacks_a_seed_cannot_be_chosen() -> None:
    runs = tuned({"plain-8": {0.01: [3.0, 3.0], 0.1: [2.0, 2.0], 1.0: [0.1]}})
    assert choice(runs)["lr"] == 0.1
    assert list(only(runs).rates.query("split == 'train'")["eligible"]) == [True, True, False]


@pytest.mark.parametrize(("best", "edge"), [(0.01, "lowest"), (0.1, ""), (1.0, "highest")])
def test_a_best_rate_on_the_grids_edge_is_named(best: float, edge: str) -> None:
    grid = {lr: [1.0 if lr == best else 5.0] for lr in (0.01, 0.1, 1.0)}
    runs = tuned({"plain-8": grid})
    assert choice(runs)["edge"] == edge
    assert ("The grid is too narrow for plain-8" in answer(only(runs))) == bool(edge)


# Which runs make a tuning


@pytest.mark.parametrize(
    "grid",
    [
        [],
        rows("plain-8", {0.1: [1.0, 2.0]}),
        rows("plain-8", {0.1: [1.0]}) + rows("resnet-8", {0.01: [1.0]}),
        rows("plain-8", {0.1: [1.0]}) + rows("plain-8", {0.01: [1.0]}, weight_decay=0.1),
        rows("plain-8", {0.1: [1.0]}) + rows("plain-8", {0.01: [1.0]}, iterations=320),
        rows("plain-8", {0.1: [1.0]}) + rows("plain-8", {0.01: [1.0]}, study="other"),
        rows("plain-8", {0.1: [1.0], 0.01: [1.0]}, status="running"),
        rows("plain-8", {0.1: [1.0, 2.0], 0.01: [1.0]}),
        [
            {**row, "validation_error": float("nan"), "protocol": "full"}
            for row in rows("plain-8", {0.1: [1.0], 0.01: [1.0], 1.0: [None]})
        ],
    ],
    ids=[
        "no runs",
        "one rate",
        "one each",
        "unlike",
        "longer",
        "apart",
        "unfinished",
        "one complete",
        "no choice",
    ],
)
def test_without_two_complete_rates_of_alike_runs_there_is_no_tuning(
    grid: list[dict[str, Any]],
) -> None:
    assert split_tunings(as_runs(grid)) == []


def test_tunings_that_differ_otherwise_stand_apart_and_are_told_apart() -> None:
    grid = {0.1: [1.0], 0.01: [2.0]}
    more = rows("plain-8", {0.3: [1.0], **grid}, momentum=0.5, study="other")
    first, second = split_tunings(as_runs(rows("plain-8", grid) + more))
    assert (len(first.members), len(second.members)) == (3, 2)
    assert first.label.startswith("digits, protocol 1294/143, 160 iterations, batch 128, lr 0.01 ")
    assert first.label.endswith("lr 0.01 to 0.3, momentum 0.5")
    assert second.label.endswith("lr 0.01 to 0.1, momentum 0.9")
    assert (first.slug, second.slug) == ("1", "2")


# Several settings jointly

JOINT: dict[tuple[float, float, str], list[float]] = {
    (0.1, 0.0, "cosine"): [5.0, 5.0],
    (0.1, 0.9, "cosine"): [4.0, 4.0],
    (1.0, 0.0, "cosine"): [1.0, 1.2],
    (1.0, 0.9, "cosine"): [9.0, 9.0],
    (1.0, 0.0, "step"): [0.2, 0.4],
    (0.1, 0.9, "step"): [0.3, 0.4],
}
"""(lr, momentum, schedule) -> validation errors of two seeds. The best lr on average is 0.1."""


def joint(network: str, scale: float = 1.0, flip: bool = False) -> list[dict[str, Any]]:
    found = []
    for (lr, momentum, kind), errors in JOINT.items():
        own = 1.1 - lr if flip else lr
        cells = {own: [scale * error for error in errors]}
        for row in rows(network, cells, momentum=momentum):
            row["run"] = f"{row['run']}-{momentum}-{kind}"
            found.append({**row, "schedule": f"drops=[80, 90] kind={kind} ema=0.0"})
    return found


def as_joint(members: list[dict[str, Any]]) -> Runs:
    return Runs(pd.DataFrame(members), *_no_rows(), [])


def _no_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    empty = as_runs([])
    return empty.metrics, empty.layers


def test_settings_are_chosen_jointly_as_one_point() -> None:
    tuning = only(as_joint(joint("plain-8") + joint("plain-56", 3.0, flip=True)))
    assert tuning.settings == ("lr", "momentum", "kind")
    chosen = tuning.choices.set_index("short")
    assert chosen.loc["plain-8", ["lr", "momentum", "kind"]].tolist() == [1.0, 0.0, "step"]
    assert chosen.loc["plain-56", ["lr", "momentum"]].tolist() == pytest.approx([0.1, 0.0])
    assert chosen.loc["plain-8", "validation_mean"] == pytest.approx(0.3)
    assert chosen.loc["plain-8", ["rates", "edge"]].tolist() == [6, "lr highest, momentum lowest"]
    [found] = degradation(tuning, "train")
    assert found.mean == pytest.approx(10 * (0.9 - 0.3))
    text = answer(tuning)
    assert "With each network at its own best recipe (plain-56 lr 0.1, momentum 0, kind step; " in (
        text
    )
    assert "plain-8 lr 1, momentum 0, kind step): plain-56 minus plain-8" in text
    assert "chose the recipes; training" in text
    assert tuning.label.endswith("lr 0.1 to 1, momentum 0 to 0.9, kind cosine or step")
    table = tuned_for_reading(tuning).set_index("network")
    assert table.loc["plain-8", ["best lr", "best momentum", "best kind"]].tolist() == [
        *("1", "0", "step")
    ]


def test_of_several_settings_the_figure_has_the_best_of_the_others_at_each_rate() -> None:
    figure = drawn(as_joint(joint("plain-8")))
    assert points(figure, 1, "plain-8")[:2] == ([0.1, 1.0], pytest.approx([0.35, 0.3]))
    assert points(figure, 1, "plain-8 best")[0] == [1.0]


def test_one_setting_that_is_no_rate_is_tuned_too() -> None:
    members = [row for row in joint("plain-8") if (row["lr"], row["momentum"]) == (1.0, 0.0)]
    tuning = only(as_joint(members))
    assert tuning.settings == ("kind",)
    assert tuning.choices["kind"].tolist() == ["step"]
    assert draw_tunings(as_joint(members)) == []


# Effects at best rates


def test_degradation_is_paired_by_seed_at_each_networks_own_rate(deep: Tuning) -> None:
    [found] = degradation(deep, "train")
    assert (found.first, found.second, found.n) == ("plain-56", "plain-8", 3)
    assert found.mean == pytest.approx((40 + 50 + 60) / 3)
    half = stats.t.ppf(0.975, 2) * 10 / 3**0.5
    assert (found.low, found.high) == pytest.approx((50 - half, 50 + half))
    assert list(at_best(deep, "train").query("network == 'plain-56'")["value"]) == pytest.approx(
        [41, 52, 63]
    )


def test_several_shallower_networks_widen_the_intervals() -> None:
    first, second = degradation(only(tuned({**DEEP, "plain-20": DEEP["plain-8"]})), "train")
    assert (first.second, second.second) == ("plain-8", "plain-20")
    half = stats.t.ppf(0.9875, 2) * 10 / 3**0.5
    assert first.high - first.mean == pytest.approx(half)


def test_the_shortcuts_effect_is_that_of_networks_of_one_depth(deep: Tuning) -> None:
    [found] = shortcut_effects(deep, "train")
    assert found.name == "resnet-56 minus plain-56"
    assert found.mean == pytest.approx(np.mean([1 - 41, 2 - 52, 0 - 63]))
    table = effects(deep)
    assert list(table["effect"]) == ["degradation", "degradation", "shortcut", "shortcut"]
    assert list(table["split"]) == ["train", "test", "train", "test"]
    assert table["mean"].iloc[1] == pytest.approx((4.1 + 5.2 + 6.3 - 0.1 - 0.2 - 0.3) / 6)


def test_without_test_images_only_training_errors_are_compared() -> None:
    grid = [row for name, cells in DEEP.items() for row in rows(name, cells)]
    for row in grid:
        row["test_error"] = float("nan")
    tuning = only(as_runs(grid))
    assert set(effects(tuning)["split"]) == {"train"}
    assert tuning.choices["test_mean"].isna().all()
    assert "test error" not in answer(tuning).replace("training and test errors", "")
    assert "test error %" not in tuned_for_reading(tuning)


# The answer


def test_the_answer_has_the_effect_its_interval_and_n(deep: Tuning) -> None:
    text = answer(deep)
    assert text.startswith(
        "Does degradation survive tuning? Undecided. The interval excludes the threshold, but by "
        "too little for so few seeds: where seeds are skewed, that is seen by chance too often. "
        "With each network at its own best learning rate (plain-56 0.01, plain-8 0.1): "
        "plain-56 minus plain-8 training "
        "error 50.0 points, 95 % interval [25.2, 74.8], n = 3; plain-56 minus plain-8 test error "
        "2.5 points"
    )
    assert "With shortcuts: resnet-56 minus plain-56 training error -51.0 points, 95 %" in text
    assert CAUTION in text
    assert "too narrow for plain-56 (0.01, the lowest tried): a rate beyond it" in text


def with_deep(errors: Errors, shallow: Mapping[float, Errors] = DEEP["plain-8"]) -> str:
    worse = [None if one is None else one + 3 for one in errors]
    grid: dict[float, Errors] = {0.01: worse, 0.1: errors, 1.0: worse}
    return answer(only(tuned({"plain-8": shallow, "plain-56": grid})))


def test_degradation_that_tuning_removes_is_denied() -> None:
    assert "tuning? No: the deepest plain network trains better" in with_deep([0.0, 0.1, 0.2])


def test_only_the_loser_at_the_grids_edge_leaves_the_answer_open() -> None:
    at_the_edge = {0.01: [0.1, 0.2, 0.3], 0.1: [0.5, 0.6, 0.7], 1.0: [0.4, 0.4, 0.4]}
    assert "tuning? Yes. With each" in with_deep([4.7, 5.2, 5.7], at_the_edge)
    assert "tuning? No, as far as this grid goes: the" in with_deep([0.0, 0.1, 0.2], at_the_edge)


def test_degradation_inside_its_interval_is_undecided() -> None:
    text = with_deep([0.2, 0.1, 0.4])
    assert "tuning? Undecided: the interval does not exclude 0." in text


def test_a_yes_has_reserve_where_the_loser_is_at_the_grids_edge() -> None:
    clear = {**DEEP, "plain-56": {**DEEP["plain-56"], 0.01: [4.7, 5.2, 5.7]}}
    assert "tuning? Yes, as far as this grid goes. With each" in results_text(tuned(clear))


def test_a_rate_inside_the_grid_gives_an_answer_without_reserve() -> None:
    text = with_deep([4.7, 5.2, 5.7])
    assert "tuning? Yes. With each" in text
    assert "narrow" not in text


def test_one_seed_is_undecided_and_has_no_interval() -> None:
    grids = {name: {lr: cells[:1] for lr, cells in grid.items()} for name, grid in DEEP.items()}
    text = answer(only(tuned(grids)))
    assert "tuning? Undecided: one seed gives no interval." in text
    assert "plain-56 minus plain-8 training error 40.0 points, n = 1, no interval" in text


def test_one_plain_depth_does_not_test_degradation() -> None:
    text = answer(only(tuned({name: DEEP[name] for name in ("plain-56", "resnet-56")})))
    assert text.startswith(f"Does degradation survive tuning? {UNTESTED} With shortcuts: resnet-56")


def test_unequal_choices_are_named() -> None:
    fewer = {lr: DEEP["plain-8"][lr] for lr in (0.1, 1.0)}
    text = answer(only(tuned({**DEEP, "plain-8": fewer})))
    assert "Networks chose among unequally many rates, 2 to 3." in text


# Figure, tables, report


def drawn(runs: Runs) -> Figure:
    [drawing] = draw_tunings(runs)
    return drawing.figure


def points(figure: Figure, panel: int, label: str) -> tuple[list[float], list[float], Line2D]:
    [line] = [one for one in figure.axes[panel].lines if one.get_label() == label]
    x, y = (np.asarray(values, dtype=float) for values in (line.get_xdata(), line.get_ydata()))
    return list(x), list(y), line


def test_the_figure_has_training_error_left_and_validation_error_right() -> None:
    figure = drawn(tuned(DEEP))
    assert [axes.get_title() for axes in figure.axes] == ["training error", "validation error"]
    assert points(figure, 0, "plain-8")[:2] == ([0.01, 0.1, 1.0], pytest.approx([6, 2, 4]))
    assert points(figure, 1, "plain-8")[1] == pytest.approx([0.6, 0.2, 0.4])
    assert points(figure, 1, "plain-56")[1] == pytest.approx([5.2, 7.0, 116 / 3])
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    low, high = figure.axes[0].get_ylim()
    assert low < 0 < 100 < high
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.get_figwidth() == style.COLUMN_WIDTH


def test_the_best_rate_of_each_network_is_marked_in_both_panels() -> None:
    figure = drawn(tuned(DEEP))
    for panel, factor in ((0, 10), (1, 1)):
        assert points(figure, panel, "plain-56 best")[:2] == ([0.01], pytest.approx([5.2 * factor]))
        assert points(figure, panel, "resnet-56 best")[0] == [0.1]
    assert points(figure, 0, "plain-56 best")[2].get_marker() == "*"


def test_networks_look_as_in_every_figure() -> None:
    figure = drawn(tuned(DEEP))
    plain, residual = (points(figure, 0, name)[2] for name in ("plain-56", "resnet-56"))
    assert plain.get_color() == style.colour("none", 56)
    assert residual.get_color() == style.colour("A", 56)
    assert (plain.get_linestyle(), residual.get_linestyle()) == ("--", "-")
    assert (plain.get_marker(), residual.get_marker()) == ("o", "s")
    [legend] = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["plain-8 (n = 3)", "plain-56 (n = 3)", "best rate", "resnet-56 (n = 3)"]


def test_rates_that_cannot_be_chosen_are_not_drawn() -> None:
    grid = {**DEEP["plain-8"], 3.0: [0.1]}
    assert points(drawn(tuned({"plain-8": grid})), 1, "plain-8")[0] == [0.01, 0.1, 1.0]


def test_the_table_shows_each_network_at_its_best_rate(deep: Tuning) -> None:
    table = tuned_for_reading(deep).set_index("network")
    assert list(table["best lr"]) == ["0.1", "0.01", "0.1"]
    assert table.loc["plain-56", "training error %"] == "52.00 ± 11.00"
    assert list(table["note"]) == ["", "lowest tried", ""]
    diverging = {"plain-8": {0.1: [None, None], 1.0: [2.0, None]}}
    assert tuned_for_reading(only(tuned(diverging)))["note"].iloc[0] == "highest tried, 1 diverged"


def test_the_text_for_a_terminal_has_the_tuning_first() -> None:
    lines = results_text(tuned(DEEP)).splitlines()
    assert lines[0].endswith("lr 0.01 to 1, each network at its best rate")
    assert lines[1].split()[:3] == ["network", "best", "lr"]
    assert "Does degradation survive tuning? Undecided" in results_text(tuned(DEEP))
    assert "tuning" not in results_text(as_runs([member("plain-8"), member("plain-14")]))


def test_the_report_has_the_answer_its_table_and_its_figure(tmp_path: Path) -> None:
    grid = {"plain-8": {0.1: [0.1], 1.0: [0.2]}, "plain-14": {0.1: [4.0], 1.0: [5.0]}}
    runs = tuned(grid)
    page = write_report(runs, tmp_path / "tuned").read_text(encoding="utf-8")
    assert "Does degradation survive tuning? Undecided: one seed gives no interval." in page
    results = page[page.index('<section id="results">') :]
    assert results.index("each network at its best rate") < results.index("lr 0.1</h3>")
    assert page.count('alt="Error against learning rate.') == 1
    assert (tmp_path / "tuned/figures/tuning.png").read_bytes().startswith(b"\x89PNG")
    for name, table in tuning_tables(runs).items():
        written = pd.read_csv(tmp_path / "tuned/tables" / f"{name}.csv")
        assert list(written) == list(table)
        assert len(written) == len(table) > 0


def test_a_report_without_tuned_rates_says_nothing_of_tuning(tmp_path: Path) -> None:
    runs = as_runs([member("plain-8"), member("plain-14")], curves=False)
    page = write_report(runs, tmp_path / "plain").read_text(encoding="utf-8")
    assert "tuning" not in page
    assert not list((tmp_path / "plain").rglob("tuning*"))
    assert tuning_tables(runs) == {}
    assert draw_tunings(runs) == []


def test_runs_that_were_trained_are_tuned_too() -> None:
    for lr in (0.01, 0.1):
        train(tiny(network="plain-8-x0.25,plain-14-x0.25", lr=lr))
    tuning = only(load_runs("runs"))
    table = tuning.rates
    assert list(table["n"]) == [1] * 12
    assert table["eligible"].all()
    frame = load_runs("runs").runs.set_index(["network", "lr"])
    for row in tuning.choices.itertuples(index=False):
        errors = frame.loc[f"{row.short}-x0.25", "validation_error"]
        assert row.lr == errors.sort_index().idxmin()
        assert row.train_mean == frame.loc[(f"{row.short}-x0.25", row.lr), "train_error"]
    assert "Undecided: one seed gives no interval." in answer(tuning)
