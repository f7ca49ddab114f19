"""Factorial studies: effects by hand, blocks, what is no factorial, and the rules of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_runs import as_runs, member, recordings

from analysis.export import paper_tables
from analysis.factorial import Factorial, pooled_intervals, signs_of, subsets
from analysis.factorial_answer import CURED, Role, answer, roles, state
from analysis.factorial_design import split_factorials
from analysis.factorial_tables import cells_for_reading, factorial_tables, roles_for_reading
from analysis.figures import draw_factorials
from analysis.mediators import mediators
from analysis.report import write_report
from analysis.report.page import crossed
from resnet_lab.runs.frames import Runs

Errors = Sequence[float | None]
"""Training errors of seeds 0, 1, ...; None: diverged."""
THREE = ["".join(one) for one in product("01", repeat=3)]
TOKENS = ("", "-dirac"), ("", "-leaky0.3")
CLIPS = (None, 0.1)


def rows(cell: str, errors: Errors, **settings: Any) -> list[dict[str, Any]]:
    """Members of a cell; digits: initial values dirac, activation leaky0.3, clip 0.1."""
    network = "plain-56" + "".join(
        tokens[int(digit)] for digit, tokens in zip(cell, TOKENS, strict=False)
    )
    clip = CLIPS[int(cell[2])] if len(cell) > 2 else None
    return [one(network, seed, error, clip=clip, **settings) for seed, error in enumerate(errors)]


def one(network: str, seed: int, error: float | None, **settings: Any) -> dict[str, Any]:
    place = f"{network}-{settings.get('clip')}-{seed}-{settings.get('study')}"
    lost = {"status": "diverged", "diverged_at": 7} if error is None else {}
    value = float("nan") if error is None else error
    return member(network, seed, value, run=place, name=place, **lost, **settings)


def runs_of(
    members: Sequence[Mapping[str, Any]],
    layers: Sequence[pd.DataFrame] = (),
    curves: bool = False,
) -> Runs:
    """Runs with the columns that only these tests vary."""
    found = as_runs(members, layers, curves)
    more = {
        name: [row.get(name) for row in members]
        for name in ("clip", "optimizer", "schedule")
        if any(name in row for row in members)
    }
    return replace(found, runs=found.runs.assign(**more))


def study(cells: Mapping[str, Errors], twin: Errors = (), curves: bool = False) -> Runs:
    members = [row for cell, errors in cells.items() for row in rows(cell, errors)]
    twins = [one("resnet-56", seed, error, clip=None) for seed, error in enumerate(twin)]
    return runs_of([*members, *twins], curves=curves)


def only(runs: Runs) -> Factorial:
    [found] = split_factorials(runs)
    return found


def effect(found: Factorial, factors: str, kind: str = "") -> pd.Series:
    table = found.effects
    kinds = [kind] if kind else ["main", "interaction"]
    [place] = table.index[(table["factors"] == factors) & table["effect"].isin(kinds)]
    return table.loc[place]


def role(found: Factorial, name: str) -> Role:
    return next(one for one in roles(found) if one.factor.name == name)


SQUARE: dict[str, Errors] = {"00": [10.0, 20.0], "10": [6.0, 12.0], "01": [5.0, 13.0]}
SQUARE |= {"11": [3.0, 9.0]}


# Effects


def test_effects_of_two_factors_by_hand() -> None:
    """Seed 0: dirac ((6 + 3) - (10 + 5)) / 2 = -3; seed 1: ((12 + 9) - (20 + 13)) / 2 = -6."""
    found = only(study(SQUARE))
    assert [factor.name for factor in found.factors] == ["dirac", "leaky0.3"]
    seeds = {"dirac": [-3, -6], "leaky0.3": [-4, -5], "dirac x leaky0.3": [1, 2]}
    for name, values in seeds.items():
        row = effect(found, name)
        assert row["mean"] == pytest.approx(np.mean(values))
        interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert (row["n"], row["p"]) == (2, 0.5), "two seeds of one sign: 2 of 4 flips are as far"
    assert effect(found, "dirac", "alone")["seeds"] == "0: -4.00, 1: -8.00"
    assert effect(found, "dirac", "last")["seeds"] == "0: -2.00, 1: -4.00"
    assert effect(found, "dirac")["signs"] == "2 of 2 below 0"


EFFECTS = dict(zip(subsets(3), (-14.0, -30.0, -6.0, 5.0, 3.0, -2.0, 1.0), strict=True))


def truth(noise: float = 0.0) -> dict[str, list[float]]:
    """Errors with the effects `EFFECTS`, another level a seed, and noise of one cell and seed."""
    random = np.random.default_rng(0)
    levels = [50.0, 55.0, 47.0, 52.0]
    means = sum(signs_of(THREE, chosen) * size / 2 for chosen, size in EFFECTS.items())
    return {
        cell: [level + float(mean) + noise * random.normal() for level in levels]
        for cell, mean in zip(THREE, np.asarray(means), strict=True)
    }


def test_all_effects_of_three_factors_are_found_whatever_the_seeds_level() -> None:
    found = only(study(truth()))
    table = found.effects.query("effect in ('main', 'interaction')")
    assert list(table["mean"]) == pytest.approx(list(EFFECTS.values()))
    assert list(table["factors"][:4]) == ["dirac", "leaky0.3", "clip 0.1", "dirac x leaky0.3"]
    assert (table["high"] - table["low"] < 0.2).all(), "blocks: levels of seeds are no noise"
    assert (table["high"] > table["low"]).all(), "images have a resolution, so no width is zero"


def test_pooled_intervals_are_the_analysis_of_variance_of_blocks_by_hand() -> None:
    """Effect +- t(df) s sqrt(4 / (8 n)), df = (n - 1)(8 - 1), s^2 from what blocks leave."""
    found = only(study(truth(2.0)))
    table = found.table("error")
    y = table.to_numpy()
    n = len(y)
    left = y - y.mean(1, keepdims=True) - y.mean(0, keepdims=True) + y.mean()
    s = np.sqrt((left**2).sum() / (7 * (n - 1)))
    half = stats.t.ppf(0.975, 7 * (n - 1)) * s * np.sqrt(4 / (8 * n))
    means = found.effects["mean"][:7]
    expected = [(mean - half, mean + half) for mean in means]
    assert np.array(pooled_intervals(table)) == pytest.approx(np.array(expected))
    assert list(found.effects["pooled_low"][:7]) == pytest.approx([low for low, _ in expected])
    assert found.effects["pooled_low"][7:].isna().all()


def test_one_seed_has_effects_without_intervals() -> None:
    found = only(study({cell: errors[:1] for cell, errors in SQUARE.items()}))
    row = effect(found, "leaky0.3")
    assert (row["mean"], row["n"]) == (-4, 1)
    assert row[["low", "high", "pooled_low", "pooled_high"]].isna().all()


def test_a_seed_without_every_cell_is_left_out_of_effects_and_named() -> None:
    found = only(study({**SQUARE, "11": [3.0]}, twin=[0.0, 0.0]))
    assert (found.seeds, found.left_out, found.missing) == ([0], [1], [])
    assert effect(found, "dirac")["mean"] == -3
    assert "Effects leave out seeds that lack a cell: 1." in answer(found)


def test_a_missing_cell_is_named_and_nothing_is_estimated() -> None:
    cells = {cell: errors for cell, errors in truth().items() if cell != "110"}
    found = only(study(cells, twin=[0.0] * 4))
    assert (found.missing, found.seeds) == (["110"], [])
    assert found.effects.empty
    assert "Cells without a finished run: dirac + leaky0.3." in answer(found)
    assert "No seed has all cells, so there are no effects." in answer(found)


def test_a_diverged_run_counts_as_wrong_everywhere() -> None:
    found = only(study({**SQUARE, "00": [10.0, None]}, twin=[0.0, 0.0]))
    assert effect(found, "dirac", "alone")["seeds"] == "0: -4.00, 1: -88.00"
    assert "1 runs diverged and count as 100 % error." in answer(found)


# What is a factorial


def test_the_reference_is_the_usual_level_whatever_the_order() -> None:
    found = only(study(dict(reversed(list(truth().items())))))
    assert [one.usual for one in found.factors] == ["fanin", "relu", "clip none"]
    assert found.summary["name"][0] == "nothing changed"
    assert found.cells == ["000", "100", "010", "001", "110", "101", "011", "111"]


def test_one_change_at_a_time_is_no_factorial() -> None:
    assert split_factorials(study({"00": [1.0], "10": [1.0], "01": [1.0]})) == []


def test_a_setting_of_three_levels_is_no_factor() -> None:
    extra = [one("plain-56-leaky0.5", 0, 1.0, clip=None)]
    members = [row for cell, errors in SQUARE.items() for row in rows(cell, errors)]
    assert len(split_factorials(runs_of(members))) == 1
    assert split_factorials(runs_of([*members, *extra])) == []


def test_a_grid_of_the_recipe_alone_is_no_factorial() -> None:
    grid = [
        one("plain-56", 0, 1.0, clip=clip, lr=lr, study=f"{lr}") for clip in CLIPS for lr in (1, 2)
    ]
    same = [{**row, "study": "grid"} for row in grid]
    assert split_factorials(runs_of(same)) == []


@pytest.mark.parametrize("setting", [{"iterations": 320}, {"data": "other"}, {"study": "other"}])
def test_runs_that_differ_in_anything_else_never_meet(setting: dict[str, Any]) -> None:
    members = [row for cell, errors in SQUARE.items() for row in rows(cell, errors)]
    for row in members:
        if "leaky" in row["network"]:
            row.update(setting)
    assert split_factorials(runs_of(members)) == []


def test_depths_are_factorials_of_their_own() -> None:
    members = [row for cell, errors in SQUARE.items() for row in rows(cell, errors)]
    deeper = [
        {
            **row,
            "network": row["network"].replace("56", "110"),
            "depth": 110,
            "run": f"d{row['run']}",
        }
        for row in members
    ]
    first, second = split_factorials(runs_of([*members, *deeper]))
    assert {first.slug, second.slug} == {"1", "2"}
    assert {set(each.members["network"].str[:8]).pop() for each in (first, second)} == {
        "plain-56",
        "plain-11",
    }


def test_settings_that_change_together_are_one_factor() -> None:
    members = [
        {**row, "optimizer": optimizer, "schedule": schedule, "run": f"{row['run']}{optimizer}"}
        for cell in ("00", "10")
        for row in rows(cell, [1.0, 2.0])
        for optimizer, schedule in (("sgd", "drops=[1]"), ("lars", "drops=[1] eps=0.1"))
    ]
    found = only(runs_of(members))
    assert [each.name for each in found.factors] == ["dirac", "optimizer lars, eps 0.1"]


def test_the_label_has_the_references_settings_and_names_the_factors() -> None:
    grid = [
        one(f"plain-56{token}", 0, 1.0, clip=None, lr=lr, study=f"{lr}")
        for token in ("-dirac", "")
        for lr in (0.2, 0.1)
    ]
    found = only(runs_of([{**row, "study": "grid"} for row in grid]))
    assert found.label.startswith("2 x 2 factorial of 56 plain layers (dirac, lr 0.2), digits, ")
    assert ", lr 0.1" in found.label
    assert "init" not in found.label


# Sufficient and necessary


TWIN = [0.0, 0.1, 0.0, 0.1, 0.0]
HIGH = [50.0, 52.0, 51.0, 53.0, 50.5]
LOW = [0.5, 0.4, 0.6, 0.5, 0.4]
BETWEEN = [1.0, 9.0, 3.0, 7.0, 5.0]


def judged(high: Sequence[str], low: Sequence[str] = (), between: Sequence[str] = ()) -> Factorial:
    cells: dict[str, Errors] = dict.fromkeys(high, HIGH)
    return only(study(cells | dict.fromkeys(low, LOW) | dict.fromkeys(between, BETWEEN), TWIN))


def test_states_of_cells() -> None:
    found = judged(["00", "10"], ["01"], ["11"])
    states = [state(found, cell) for cell in ("00", "10", "01", "11")]
    assert states == ["not cured", "not cured", "cured", "open"]


def test_a_change_that_alone_cures_and_without_which_nothing_does_is_both() -> None:
    found = judged(["00", "10"], ["01", "11"])
    leaky, dirac = role(found, "leaky0.3"), role(found, "dirac")
    assert (leaky.sufficient, leaky.necessary) == ("yes", "yes")
    assert (dirac.sufficient, dirac.necessary) == ("no", "no")
    assert leaky.why_necessary == "cured only with leaky0.3: leaky0.3 and dirac + leaky0.3"
    assert dirac.why_necessary == "cured without dirac: leaky0.3"
    assert "leaky0.3: sufficient (alone 0.4 points above the twin" in answer(found)


def test_changes_that_cure_only_together_are_necessary_and_not_sufficient() -> None:
    found = judged(["00", "10", "01"], ["11"])
    for name in ("dirac", "leaky0.3"):
        assert (role(found, name).sufficient, role(found, name).necessary) == ("no", "yes")


def test_either_of_two_changes_is_sufficient_and_none_necessary() -> None:
    found = judged(["00"], ["10", "01", "11"])
    for name in ("dirac", "leaky0.3"):
        assert (role(found, name).sufficient, role(found, name).necessary) == ("yes", "no")


def test_where_nothing_cures_necessity_is_undecided() -> None:
    found = judged(["00", "10", "01", "11"])
    assert (role(found, "dirac").sufficient, role(found, "dirac").necessary) == ("no", "undecided")
    assert role(found, "dirac").why_necessary == "no combination is shown to cure"


def test_an_open_cell_leaves_open_what_rests_on_it() -> None:
    found = judged(["00", "10"], ["11"], ["01"])
    assert role(found, "leaky0.3").sufficient == "undecided"
    assert role(found, "dirac").necessary == "undecided"
    assert role(found, "dirac").why_necessary == "not decided without dirac: leaky0.3"
    assert role(found, "leaky0.3").necessary == "yes"


def test_a_cell_without_runs_leaves_necessity_open() -> None:
    cells: dict[str, Errors] = dict.fromkeys(THREE, HIGH)
    cells["111"] = LOW
    del cells["011"]
    found = only(study(cells, TWIN))
    assert role(found, "leaky0.3").necessary == "yes"
    assert role(found, "dirac").why_necessary == "not decided without dirac: leaky0.3 + clip 0.1"


@pytest.mark.parametrize(
    ("cells", "twin", "why"),
    [
        (dict.fromkeys(["00", "10", "01", "11"], HIGH), [], "no residual twin"),
        (dict.fromkeys(["00", "10", "01", "11"], LOW), TWIN, "not shown to be worse"),
        (dict.fromkeys(["00", "10", "01", "11"], HIGH[:1]), TWIN, "not shown to be worse"),
    ],
)
def test_without_degradation_seeds_or_twin_nothing_is_judged(
    cells: dict[str, Errors], twin: Errors, why: str
) -> None:
    found = only(study(cells, twin))
    assert {(each.sufficient, each.necessary) for each in roles(found)} == {
        ("not judged", "not judged")
    }
    assert why in roles(found)[0].why_sufficient
    assert "Not judged" in answer(found)


def test_the_twin_is_the_one_with_the_references_settings() -> None:
    runs = study(dict.fromkeys(["00", "10", "01", "11"], HIGH), TWIN)
    other = [one("resnet-56-dirac", seed, 40.0, clip=None) for seed in range(5)]
    both = replace(runs, runs=pd.concat([runs.runs, runs_of(other).runs]))
    assert set(only(both).twins["network"]) == {"resnet-56"}
    assert CURED == 5


# Mediators


def with_layers() -> Runs:
    """Growth 1.2, with leaky0.3 1.08; the stem turns 0.01 a step, with clip 0.1 0.03.

    Gradients correlate by 0.1, with dirac by 0.3.
    """
    members = [row for cell in THREE for row in rows(cell, [50.0, 52.0])]
    layers = []
    for row in members:
        growth = (1.08 if "leaky" in row["network"] else 1.2) * (1 + 0.001 * row["seed"])
        recorded = recordings(row, growth)
        turned = (0.03 if row["clip"] else 0.01) * (1 + 0.1 * row["seed"])
        recorded.loc[recorded["quantity"] == "update_angle", "value"] = turned
        alike = (0.3 if "dirac" in row["network"] else 0.1) + 0.01 * row["seed"]
        recorded.loc[recorded["quantity"] == "gradient_correlation", "value"] = alike
        layers.append(recorded)
    return runs_of(members, layers)


def test_factors_move_the_mediators_that_they_are_meant_to_and_no_others() -> None:
    found = only(with_layers())
    table = found.moved.query("effect == 'main'").set_index(["factor", "mediator"])["mean"]
    assert table["leaky0.3", "growth"] == pytest.approx(1.08 / 1.2)
    assert table["clip 0.1", "angle"] == pytest.approx(3.0)
    assert table["dirac", "growth"] == table["leaky0.3", "angle"] == pytest.approx(1.0)
    assert table["dirac", "gradient_correlation"] == pytest.approx(0.2)
    assert table["clip 0.1", "gradient_correlation"] == pytest.approx(0.0)
    aims = found.moved.query("aimed and effect == 'main'")
    assert list(zip(aims["factor"], aims["mediator"], strict=True)) == [
        ("leaky0.3", "growth"),
        ("clip 0.1", "angle"),
        ("dirac", "gradient_correlation"),
    ]
    assert found.summary.set_index("cell").loc["000", "growth"] == pytest.approx(1.2 * 1.001**0.5)
    angle = 0.01 * 1.1**0.5 * (160 - 16)
    assert found.summary.set_index("cell").loc["000", "angle"] == pytest.approx(angle, rel=0.02)


def test_a_change_alone_may_move_a_mediator_otherwise_than_on_average() -> None:
    """The stem turns thrice as far with clip 0.1 alone, and no further where leaky0.3 is in too."""
    runs = with_layers()
    leaky = runs.layers["network"].str.contains("leaky")
    angle = leaky & (runs.layers["quantity"] == "update_angle")
    later = runs.layers.assign(value=runs.layers["value"].mask(angle, 0.03))
    table = only(replace(runs, layers=later)).moved.query("mediator == 'angle'")
    table = table.set_index(["factor", "effect"])
    assert table.loc[("clip 0.1", "alone"), "mean"] == pytest.approx(3.0)
    assert table.loc[("clip 0.1", "main"), "mean"] == pytest.approx(3.0**0.5)


def test_gradient_correlation_is_read_where_it_was_recorded() -> None:
    layers = recordings(member("plain-56", 0))
    correlation = layers["quantity"] == "gradient_correlation"
    later = layers[correlation].assign(step=8, value=0.5)
    known = mediators(pd.concat([layers[~correlation], later]))
    assert known["gradient_correlation"].isna().all(), "step 0 is what counts"
    layers.loc[correlation, "value"] = 0.25
    known = mediators(pd.concat([layers, later]))
    assert list(known["gradient_correlation"]) == [0.25]


def test_what_was_not_recorded_is_said() -> None:
    found = only(study(SQUARE, TWIN))
    assert set(roles_for_reading(found)["alone, on gradient correlation"]) == {"not recorded"}
    assert set(cells_for_reading(found)["growth a layer, step 0"]) == {"not recorded"}


# Page, files and figures


def test_the_page_has_a_section_with_answer_tables_and_figures() -> None:
    runs = study(dict.fromkeys(["00", "10"], HIGH) | dict.fromkeys(["01", "11"], LOW), TWIN)
    drawings = draw_factorials(runs)
    [section] = crossed(runs, drawings, {one.name: b"<svg/>" for one in drawings})
    assert section.answer.startswith("Which change cures degradation? With nothing changed")
    assert [one.title for one in section.exhibits] == ["Cells", "Effects"]
    assert len(section.results) == 5
    first, second = section.beside.values()
    assert list(first["necessary"]) == ["no", "yes"]
    assert list(second["effect"]) == [
        "dirac",
        "leaky0.3",
        "dirac x leaky0.3",
        *(f"{name}, the others {how}" for name in ("dirac", "leaky0.3") for how in HOW),
    ]


HOW = ("as usual", "changed")


@pytest.mark.slow
def test_the_report_has_the_study_with_its_tables_and_figures(tmp_path: Path) -> None:
    cells = dict.fromkeys(["00", "10"], HIGH[:3]) | dict.fromkeys(["01", "11"], LOW[:3])
    runs = study(cells, TWIN[:3], curves=True)
    page = write_report(runs, tmp_path).read_text("utf-8")
    assert "Which change cures degradation?" in page
    assert "Which is sufficient, which necessary" in page
    written = pd.read_csv(tmp_path / "tables" / "factorial_roles.csv").set_index("factor")
    assert list(written.loc["leaky0.3", ["sufficient", "necessary"]]) == ["yes", "yes"]
    cells = pd.read_csv(tmp_path / "tables" / "factorial_cells.csv", dtype={"cell": str})
    assert list(cells["cell"]) == ["00", "10", "01", "11", "twin"]
    assert (tmp_path / "figures" / "factorial_effects.svg").is_file()
    names = {one.name for one in paper_tables(runs, [])}
    assert {"factorial_cells", "factorial_effects", "factorial_roles"} <= names


def test_runs_without_a_factorial_have_no_table_of_one() -> None:
    assert factorial_tables(as_runs([member("plain-8")])) == {}
    assert draw_factorials(as_runs([member("plain-8")])) == []


def test_figures_show_every_seed_of_every_cell_and_every_effect() -> None:
    runs = with_layers()
    cells, effects = draw_factorials(runs)
    panel, growth, angle, correlation = cells.figure.axes
    assert correlation.get_xscale() == "linear"
    dots = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert [sorted(line.get_xdata()) for line in dots] == [[50, 52]] * 8
    assert [text.get_text() for text in panel.get_yticklabels()][:2] == ["nothing", "A  dirac"]
    assert growth.get_xscale() == angle.get_xscale() == "log"
    shown = only(runs).effects.query("effect in ('main', 'interaction')")
    left = effects.figure.axes[0]
    means = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "s"]
    assert means == pytest.approx(list(shown["mean"]))
    assert [text.get_text() for text in left.get_yticklabels()][3:5] == ["A x B", "A x C"]
