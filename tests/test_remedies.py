"""Remedies: which networks are compared with which, and the numbers of their table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_runs import as_runs, member, recordings

from analysis.remedies import (
    Remedies,
    remedies_answer,
    remedies_for_reading,
    remedies_table,
    split_remedies,
)
from resnet_lab.runs.frames import Runs

ERRORS = {
    "plain-56": [50.0, 52.0, 54.0],
    "resnet-56": [0.0, 1.0, 2.0],
    "plain-56-circular": [60.0, 61.0, 66.0],
    "plain-56-leaky0.3": [10.0, 12.0, 11.0],
    "resnet-56-lambda0.5": [0.5, 1.5, 2.5],
    "resnet-56-skipinit-nonorm": [1.0, 2.0, 4.0],
}


def rows(errors: dict[str, list[float]], **settings: Any) -> list[dict[str, Any]]:
    place = "-".join(map(str, settings.values()))
    return [
        member(network, seed, error, run=f"{network}-{seed}-{place}", **settings)
        for network, values in errors.items()
        for seed, error in enumerate(values)
    ]


def runs_of(members: list[dict[str, Any]]) -> Runs:
    found = as_runs(members, curves=False)
    clips = [row.get("clip") for row in members]
    return replace(found, runs=found.runs.assign(clip=pd.Series(clips, dtype=object)))


def only(runs: Runs) -> Remedies:
    [found] = split_remedies(runs)
    return found


@pytest.fixture
def study() -> Remedies:
    clipped = rows({"plain-56": [30.0, 34.0, 38.0]}, clip=0.1, study="recipes")
    return only(runs_of([*rows(ERRORS), *clipped]))


def test_references_come_first_and_remedies_by_error(study: Remedies) -> None:
    assert list(study.table["arm"]) == [
        "plain",
        "residual",
        "lambda0.5",
        "residual, nonorm, skipinit",
        "plain, leaky0.3",
        "plain, clip 0.1",
        "plain, circular",
    ]
    kinds = dict(zip(study.table["arm"], study.table["kind"], strict=True))
    assert kinds["plain"] == kinds["residual"] == ""
    assert (kinds["lambda0.5"], kinds["plain, clip 0.1"]) == ("shortcut", "recipe")
    assert kinds["residual, nonorm, skipinit"] == "several"


def test_points_above_residual_are_paired_by_seed(study: Remedies) -> None:
    row = study.table.set_index("arm").loc["plain, leaky0.3"]
    interval = stats.ttest_1samp([10, 11, 9], 0).confidence_interval(0.95)
    assert (row["above"], row["n"], row["mean"]) == (10, 3, 11)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["sd"], row["lowest"], row["highest"]) == (1, 10, 12)


def test_states_follow_the_factorials_margin(study: Remedies) -> None:
    states = study.table.set_index("arm")["state"]
    assert states["plain"] == states["plain, circular"] == "not cured"
    assert states["lambda0.5"] == "cured"
    assert states["residual"] == ""
    text = remedies_answer(study)
    assert "Plain ends at 52.0 % training error, residual at 1.0 %" in text
    assert "51.0 points less" in text
    assert "n = 3 seeds" in text


def test_a_run_of_several_networks_shares_its_seconds() -> None:
    members = rows(ERRORS)
    for row in members:
        if row["network"] in ("plain-56", "resnet-56"):
            row["run"] = f"pair-{row['seed']}"
    table = only(runs_of(members)).table.set_index("arm")
    assert table.loc["plain", "seconds"] == 12.5 / 2
    assert table.loc["plain, circular", "seconds"] == 12.5
    assert table.loc["plain", "multiply_adds"] == 56e6


def test_growth_and_angle_stand_beside() -> None:
    members = rows(ERRORS)
    layers = [recordings(row, 1.1) for row in members if row["network"] == "plain-56-circular"]
    runs = replace(runs_of(members), layers=as_runs(members, layers, curves=False).layers)
    table = only(runs).table.set_index("arm")
    assert table.loc["plain, circular", "growth"] == pytest.approx(1.1)
    assert np.isnan(table.loc["plain", "growth"])
    texts = remedies_for_reading(only(runs)).set_index("network")
    assert texts.loc["plain, circular", "growth a layer, step 0"] == "1.1"
    assert texts.loc["plain", "growth a layer, step 0"] == "-"


@pytest.mark.parametrize("setting", [{"iterations": 320}, {"data": "other"}, {"batch_size": 64}])
def test_another_budget_is_never_compared(setting: dict[str, Any]) -> None:
    plain = {name: ERRORS[name] for name in ("plain-56", "resnet-56")}
    rest = {name: errors for name, errors in ERRORS.items() if name not in plain}
    assert split_remedies(runs_of([*rows(plain), *rows(rest, **setting)])) == []


def test_one_kind_of_change_alone_is_no_comparison_of_remedies() -> None:
    slopes = {f"plain-56-leaky0.{slope}": [1.0] for slope in (1, 2, 3)}
    pair = {name: ERRORS[name][:1] for name in ("plain-56", "resnet-56")}
    assert split_remedies(runs_of(rows(pair | slopes))) == []
    assert len(split_remedies(runs_of(rows(pair | slopes | {"plain-56-circular": [1.0]})))) == 1


def test_without_the_residual_network_there_is_no_comparison() -> None:
    rest = {name: errors for name, errors in ERRORS.items() if name != "resnet-56"}
    assert split_remedies(runs_of(rows(rest))) == []


def test_depths_stand_apart_and_the_file_has_both() -> None:
    deeper = {name.replace("56", "110"): errors for name, errors in ERRORS.items()}
    runs = runs_of(rows(ERRORS | deeper))
    assert [one.depth for one in split_remedies(runs)] == [56, 110]
    table = remedies_table(runs)["remedies"]
    assert list(table.groupby("depth").size()) == [6, 6]
    assert remedies_table(as_runs([member("plain-8")])) == {}
