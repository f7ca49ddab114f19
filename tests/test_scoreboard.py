from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_runs import as_runs, member

from analysis.groups import split_groups
from analysis.paper import load_paper
from analysis.scoreboard import departures, scoreboard, scoreboard_json, scoreboard_text
from resnet_lab.runs.frames import RECIPE, Runs, _schedule

ROOT = Path(__file__).parents[1]
MATCHES = {"cifar10_paper": "64k iterations", "imagenet_paper": "ten-crop"}


def recipe(experiment: str, **changed: object) -> dict[str, object]:
    """The settings columns of a run of one of the project's own experiment files."""
    from resnet_lab.configuration.recipe import RecipeConfig

    content = yaml.safe_load((ROOT / f"experiments/{experiment}.yaml").read_text("utf-8"))
    given = {**vars(RecipeConfig()), **content["recipe"]}
    given = {
        key: list(value) if isinstance(value, tuple) else value for key, value in given.items()
    }
    given.update({key: value for key, value in changed.items() if key in given})
    columns: dict[str, object] = {name: given[name] for name in RECIPE}
    columns["schedule"] = _schedule(given)
    data = content["data"]
    full = {"cifar10": "50k", "cifar100": "50k", "imagenet": "1231167/50k"}[data["name"]]
    columns |= {"data": data["name"], "protocol": full, "split_seed": 0}
    columns |= {"normalise": data["normalise"], "augment": data["augment"]}
    columns |= {"test_view": data.get("test_view", "centre"), "test_images": 10_000}
    return columns | {key: value for key, value in changed.items() if key not in given}


def published(
    errors: dict[str, list[float]], experiment: str = "cifar10_paper", **changed: object
) -> Runs:
    """Runs by an experiment's recipe with these test errors, one a seed."""
    settings = recipe(experiment, **changed)
    rows = [
        {**member(network, seed), **settings, "test_error": error}
        for network, values in errors.items()
        for seed, error in enumerate(values)
    ]
    return replace(as_runs([]), runs=pd.DataFrame(rows))


def cell(runs: Runs, network: str, table: str = "R Table 6", protocol: str = "") -> pd.Series:
    cells = scoreboard(runs).query("data == 'cifar10'")
    found = cells[(cells["network"] == network) & (cells["table"] == table)]
    found = found[found["paper_protocol"].str.contains(protocol)]
    assert len(found) == 1
    return found.iloc[0]


def test_the_papers_number_inside_the_interval_is_reproduced() -> None:
    row = cell(published({"resnet-20": [8.6, 8.8, 8.7, 8.9]}), "resnet-20")
    assert (row["verdict"], row["paper"], row["n"]) == ("reproduced", "8.75", 4)
    assert row["ours"] == pytest.approx(8.75)
    sd = np.std([8.6, 8.8, 8.7, 8.9], ddof=1)
    assert row["sd"] == pytest.approx(sd)
    assert row["difference"] == pytest.approx(0.0, abs=1e-9)
    # the paper's one run has our sd: sqrt(s^2 / 4 + s^2)
    assert row["sigma"] == pytest.approx(sd * 1.25**0.5)
    assert row["our_protocol"].startswith("cifar10, protocol 50k, 64,000 iterations, batch 128")
    assert (row["metric"], row["paper_protocol"]) == ("test error", "64k iterations")


def test_a_number_outside_the_interval_may_still_be_within_two_sigma() -> None:
    # mean 8.60, sd 0.1, n = 5: interval +-0.124, sigma 0.1095
    row = cell(published({"resnet-20": [8.45, 8.6, 8.6, 8.6, 8.75]}), "resnet-20")
    assert row["high"] < 8.75
    assert row["sigma"] == pytest.approx(row["sd"] * 1.2**0.5)
    assert row["verdict"] == "within 2 sigma"


def test_a_number_further_than_two_sigma_is_not_reproduced() -> None:
    row = cell(published({"resnet-20": [9.4, 9.5, 9.6]}), "resnet-20")
    assert row["verdict"] == "not reproduced"
    assert row["difference"] == pytest.approx(0.75)


def test_a_published_spread_counts_with_its_own_number_of_runs() -> None:
    runs = published({"resnet-110": [6.6, 6.8, 6.7]}, warmup_until_error=80.0)
    row = cell(runs, "resnet-110", protocol="64k")
    assert row["sigma"] == pytest.approx((0.1**2 / 3 + 0.16**2 / 5) ** 0.5)
    assert row["verdict"] == "reproduced"


def test_two_seeds_are_within_two_sigma_at_most() -> None:
    row = cell(published({"resnet-20": [8.7, 8.8]}), "resnet-20")
    assert row["low"] < 8.75 < row["high"]
    assert (row["verdict"], row["note"]) == (
        "within 2 sigma",
        "fewer than 3 seeds reproduce nothing",
    )


def test_one_seed_without_a_published_spread_is_undecided() -> None:
    row = cell(published({"resnet-20": [8.75]}), "resnet-20")
    assert row["verdict"] == "undecided"
    assert row["note"].startswith("n = 1 and no published spread")
    assert row[["sd", "low", "high", "sigma"]].isna().all()


@pytest.mark.parametrize(("error", "mark"), [(6.7, "within 2 sigma"), (7.5, "not reproduced")])
def test_one_seed_beside_a_published_spread_is_compared_with_it(error: float, mark: str) -> None:
    runs = published({"resnet-110": [error]}, warmup_until_error=80.0)
    row = cell(runs, "resnet-110", protocol="64k")
    assert row["sigma"] == pytest.approx((0.16**2 + 0.16**2 / 5) ** 0.5)
    assert (row["verdict"], row["note"]) == (mark, "n = 1: sigma is the paper's")


@pytest.mark.parametrize(
    ("errors", "mark"),
    [
        ([70.0, 75.0, 72.0], "reproduced"),
        ([30.0, 31.0, 32.0], "not reproduced"),
        ([50.0, 60.0, 70.0], "undecided"),
        ([90.0], "undecided"),
    ],
)
def test_more_than_60_percent_is_met_by_an_interval_above_it(
    errors: list[float], mark: str
) -> None:
    runs = published({"plain-110": errors}, warmup_until_error=80.0)
    assert cell(runs, "plain-110", "R Figure 6")["verdict"] == mark


def test_a_number_read_off_a_curve_is_within_two_sigma_at_most() -> None:
    row = cell(published({"plain-56": [13.4, 13.5, 13.6]}), "plain-56", "R Figure 6")
    assert row["verdict"] == "within 2 sigma"
    far = cell(published({"plain-56": [15.4, 15.5, 15.6]}), "plain-56", "R Figure 6")
    assert far["verdict"] == "not reproduced"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"protocol": "45k/5k"}, "protocol 45k/5k, not 50k"),
        ({"iterations": 32_000}, "iterations 32000, not 64000"),
        ({"lr": 0.05}, "lr 0.05, not 0.1"),
        ({"normalise": "channel"}, "normalise channel, not pixel-mean"),
        ({"augment": "none"}, "augment none, not paper"),
        ({"precision": "bfloat16"}, "precision bfloat16, not float32"),
        ({"clip": 0.5}, "clip 0.5, not none"),
        ({"nesterov": True}, "nesterov True, not False"),
        ({"drops": [20_000]}, "drops [20000], not [32000, 48000]"),
        ({"warmup_until_error": 80.0}, "warmup_until_error 80.0, not none"),
    ],
)
def test_runs_by_another_protocol_are_never_set_beside_the_paper(
    changed: dict[str, object], note: str
) -> None:
    row = cell(published({"resnet-20": [8.7, 8.8, 8.75]}, **changed), "resnet-20")
    assert row["verdict"] == "not run"
    assert row["note"] == f"only by another protocol: {note}"
    assert np.isnan(row["ours"])
    assert row["n"] == 0


def test_two_protocols_are_not_averaged() -> None:
    right, wrong = (
        published({"resnet-20": errors}, protocol=protocol).runs
        for errors, protocol in (([8.7, 8.8, 8.75], "50k"), ([1.0, 1.0, 1.0], "45k/5k"))
    )
    row = cell(replace(as_runs([]), runs=pd.concat([right, wrong])), "resnet-20")
    assert (row["n"], row["ours"]) == (3, pytest.approx(8.75))


def test_a_setting_that_runs_do_not_state_is_a_departure() -> None:
    runs = published({"resnet-20": [8.7, 8.8, 8.75]})
    unknown = replace(runs, runs=runs.runs.drop(columns="normalise"))
    assert cell(unknown, "resnet-20")["note"] == "only by another protocol: normalise unknown"


def test_imagenet_has_two_errors_and_the_view_that_they_were_measured_by() -> None:
    runs = published({"plain-34": [28.4, 28.5, 28.7]}, "imagenet_paper")
    top5 = replace(runs, runs=runs.runs.assign(test_top5_error=[10.0, 10.1, 10.2]))
    cells = scoreboard(top5)
    rows = cells[(cells["network"] == "plain-34") & (cells["n"] > 0)].set_index("metric")
    assert dict(rows["verdict"]) == {"top-1 error": "reproduced", "top-5 error": "reproduced"}
    assert rows.loc["top-5 error", "difference"] == pytest.approx(0.08)
    centre = published({"plain-34": [28.4, 28.5, 28.7]}, "imagenet_paper", test_view="centre")
    assert set(scoreboard(centre)["verdict"]) == {"not run"}


@pytest.mark.parametrize(("experiment", "protocol"), MATCHES.items())
def test_this_projects_own_recipes_are_the_papers(experiment: str, protocol: str) -> None:
    """But for the 5,000 images that CIFAR's file holds out, which the sweeps put back."""
    (group,) = split_groups(published({"resnet-20": [8.7]}, experiment))
    assert departures(group.settings, load_paper().protocols[protocol]) == []


def test_the_warm_up_of_110_layers_is_a_protocol_of_its_own() -> None:
    runs = published({"resnet-110": [6.6, 6.7, 6.5]})
    row = cell(runs, "resnet-110", protocol="64k")
    assert row["note"] == "only by another protocol: warmup_until_error none, not 80.0"


def test_the_best_of_five_and_released_weights_stand_beside_no_run() -> None:
    runs = published({"resnet-110": [6.4, 6.5, 6.6]}, warmup_until_error=80.0)
    best = cell(runs, "resnet-110", protocol="best")
    assert (best["verdict"], best["paper_error"]) == ("not run", 6.43)
    assert "choice by test error" in best["note"]
    assert "resnet-lab evaluate" in cell(runs, "resnet-110", "akamaster")["note"]


HELD_400 = {"warmup_until_error": 100.0, "warmup_window": 400}


def test_a_median_and_lost_seeds_are_said() -> None:
    runs = published({"resnet-110-preact": [6.3, 6.4, 6.5, 0.0]}, **HELD_400)
    runs.runs.loc[runs.runs["seed"] == 3, "status"] = "diverged"
    row = cell(runs, "resnet-110-preact", "I Tables 2, 3")
    assert (row["n"], row["verdict"], row["paper"]) == (3, "reproduced", "median 6.37 of 5")
    assert row["note"] == "ours is a mean, the paper's the median of 5; seed 3 diverged"


def test_a_median_varies_more_than_a_mean_and_sigma_says_so() -> None:
    """Var(median of 5 normal values) = 0.2868 sd^2, where their mean's is 0.2 sd^2."""
    runs = published({"resnet-1001-preact": [4.8, 4.9, 5.0]}, **HELD_400)
    median = cell(runs, "resnet-1001-preact", "I Tables 3, 4", protocol="400 steps")
    assert median["sigma"] == pytest.approx((0.1**2 / 3 + 0.28683 * 0.14**2) ** 0.5, rel=1e-4)
    mean = cell(runs, "resnet-1001-preact", "I Table 4", protocol="400 steps")
    assert mean["sigma"] == pytest.approx((0.1**2 / 3 + 0.14**2 / 5) ** 0.5)
    assert (mean["paper"], mean["note"]) == ("4.89 ± 0.14", "")


def test_the_two_warm_ups_are_two_protocols() -> None:
    """R ends it by a condition on training error, I after 400 steps."""
    by_condition = published({"resnet-110": [6.6, 6.7, 6.5]}, warmup_until_error=80.0)
    fixed = published({"resnet-110": [6.6, 6.7, 6.5]}, **HELD_400)
    where = [("R Table 6", "64k"), ("I Tables 1, 2, 3", "")]
    for runs, expected in ((by_condition, [3, 0]), (fixed, [0, 3])):
        assert [cell(runs, "resnet-110", *at)["n"] for at in where] == expected


def test_the_sweep_of_the_orderings_fills_their_table() -> None:
    content = yaml.safe_load((ROOT / "sweeps/identity_mappings_table2.yaml").read_text("utf-8"))
    set_here = {
        name.removeprefix("recipe."): one["value"]
        for name, one in content["parameters"].items()
        if name.startswith("recipe.")
    }
    runs = published({"resnet-110-preact": [6.3, 6.4, 6.5]}, **set_here)
    assert cell(runs, "resnet-110-preact", "I Tables 2, 3")["n"] == 3


def test_a_number_has_the_decimals_that_its_source_prints() -> None:
    cells = scoreboard(as_runs([])).query("data == 'imagenet'").set_index(["table", "network"])
    assert list(cells.loc[("A", "resnet-152"), "paper"]) == ["23.0", "6.7"]
    assert list(cells.loc[("I Table 5", "resnet-200 (ImageNet, bottlenecks)"), "paper"]) == [
        "21.8",
        "6.0",
    ]
    assert list(cells.loc[("R Table 3", "resnet-34-C"), "paper"]) == ["24.19", "7.40"]


def test_a_network_that_was_untrainable_has_a_cell_without_a_number() -> None:
    row = cell(as_runs([]), "plain-156 (depth that no 6n+2 gives)", "Li")
    assert (row["paper"], row["verdict"]) == ("untrainable", "not run")
    assert np.isnan(row["paper_error"])


def test_the_test_sets_noise_stands_beside_every_difference() -> None:
    row = cell(published({"resnet-20": [8.7, 8.8, 8.75]}), "resnet-20")
    # 100 sqrt(2 * 0.0875 * 0.9125 / 10,000)
    assert row["noise_floor"] == pytest.approx(0.3996, abs=1e-4)


def test_every_published_number_has_a_cell_whatever_was_run() -> None:
    paper, cells = load_paper(), scoreboard(as_runs([]))
    both = [*paper.results, *paper.variants]
    assert len(cells) == len(both) + sum(None not in (one.error, one.top5_error) for one in both)
    assert set(cells["verdict"]) == {"not run"}
    assert {one.protocol for one in paper.results} == set(paper.protocols)


def test_a_run_of_another_network_of_the_same_depth_fills_no_cell() -> None:
    runs = published({"resnet-20-x0.5": [8.7, 8.8, 8.75], "resnet-20-B": [8.7, 8.8, 8.75]})
    assert set(scoreboard(runs)["verdict"]) == {"not run"}


def test_text_says_first_what_was_run_and_then_what_was_not() -> None:
    runs = published({"resnet-20": [8.6, 8.8, 8.7, 8.9]})
    lines = scoreboard_text(scoreboard(runs)).splitlines()
    assert lines[0].startswith(
        "resnet-20, cifar10 test error: reproduced (paper 8.75, R Table 6; ours 8.75 ± 0.13, n = 4,"
        " difference +0.00, test set's noise 0.40)"
    )
    total = len(scoreboard(runs))
    assert f"not run: {total - 1} of {total} published numbers" in lines
    assert "  R Table 2: plain-18, resnet-18" in lines
    assert "    resnet-20: only by another protocol: normalise pixel-mean, not channel" in lines


def test_json_has_null_where_nothing_was_run() -> None:
    rows = json.loads(scoreboard_json(scoreboard(published({"resnet-20": [8.7, 8.8, 8.75]}))))
    assert rows[0]["ours"] == pytest.approx(8.75)
    assert (rows[1]["network"], rows[1]["ours"], rows[1]["n"]) == ("resnet-32", None, 0)
