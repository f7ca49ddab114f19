from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from synthetic_runs import as_runs, member

from analysis.claims.effects import COLUMNS, effects
from analysis.groups import split_groups
from analysis.statistics import noise_floor
from resnet_lab.runs.frames import Runs

ERRORS = {
    "plain-8": [1.0, 2.0, 3.0],
    "plain-20": [5.0, 5.5, 5.2],
    "plain-56": [51.0, 53.0, 52.0],
    "resnet-20": [1.0, 1.1, 1.2],
    "resnet-56": [0.5, 0.7, 0.3],
}


def trained(seeds: int = 3) -> Runs:
    rows = [
        member(network, seed, errors[seed], test_error=errors[seed] + 2)
        for network, errors in ERRORS.items()
        for seed in range(seeds)
    ]
    runs = as_runs(rows)
    return replace(runs, runs=runs.runs.assign(test_images=360))


def test_effects_are_paired_differences_with_p_values_and_the_noise_floor() -> None:
    table = effects(split_groups(trained())[0])
    assert list(table.columns) == COLUMNS
    assert list(table["effect"].unique()) == ["degradation", "residual gain"]
    key = ["effect", "measure", "comparison"]
    row = table.set_index(key).loc["degradation", "final training error", "plain-56 minus plain-8"]
    assert (row["mean"], row["n"]) == (pytest.approx(50.0), 3)
    reference = stats.ttest_rel(ERRORS["plain-56"], ERRORS["plain-8"])
    assert row["p"] == pytest.approx(reference.pvalue)
    joint = reference.confidence_interval(1 - 0.05 / 2)
    assert (row["low"], row["high"]) == (pytest.approx(joint.low), pytest.approx(joint.high))
    assert np.isnan(row["noise_floor"])
    tested = table.set_index(key).loc["residual gain", "test error", "plain-56 minus resnet-56"]
    assert tested["mean"] == pytest.approx(51.5)
    assert tested["noise_floor"] == pytest.approx(float(noise_floor(54.0, 2.5, 360)))


def test_p_values_are_adjusted_within_an_effect_and_measure() -> None:
    table = effects(split_groups(trained())[0])
    part = table[(table["effect"] == "degradation") & (table["measure"] == "mean training error")]
    smaller, larger = sorted(part["p"])
    assert sorted(part["p_holm"]) == pytest.approx([2 * smaller, max(2 * smaller, larger)])


def test_one_seed_has_effects_without_intervals() -> None:
    table = effects(split_groups(trained(1))[0])
    assert (table["n"] == 1).all()
    assert table[["sd", "low", "high", "p", "p_holm"]].isna().all(axis=None)
    assert table["mean"].notna().all()


def test_residual_networks_alone_have_no_effects() -> None:
    runs = as_runs([member("resnet-20", seed) for seed in range(2)])
    assert effects(split_groups(runs)[0]).empty
