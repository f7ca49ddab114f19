from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import paired_differences, summarise, t_interval, t_test


def two_arms(first: list[float], second: list[float]) -> pd.DataFrame:
    rows = [("deep", seed, value) for seed, value in enumerate(first)]
    rows += [("shallow", seed, value) for seed, value in enumerate(second)]
    return pd.DataFrame(rows, columns=["arm", "seed", "error"])


def test_interval_of_two_values_uses_the_t_quantile_of_one_degree_of_freedom() -> None:
    frame = pd.DataFrame({"network": "a", "seed": [0, 1], "error": [0.0, 2.0]})
    row = summarise(frame, ["network"], "error").iloc[0]
    assert (row["n"], row["mean"]) == (2, 1.0)
    assert row["sd"] == pytest.approx(2**0.5)
    assert row["low"] == pytest.approx(1 - 12.7062, abs=1e-4)
    assert row["high"] == pytest.approx(1 + 12.7062, abs=1e-4)


def test_level_widens_the_interval() -> None:
    assert t_interval(5.0, 1.0, 4, 0.99)[1] == pytest.approx(5 + 5.8409 / 2, abs=1e-4)
    assert t_interval(5.0, 1.0, 4, 0.95)[1] == pytest.approx(5 + 3.1824 / 2, abs=1e-4)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    frame = pd.DataFrame({"network": ["a"], "error": [3.0]})
    row = summarise(frame, ["network"], "error").iloc[0]
    assert (row["n"], row["mean"]) == (1, 3.0)
    assert row[["sd", "low", "high"]].isna().all()


def test_missing_values_are_not_counted() -> None:
    frame = pd.DataFrame({"network": ["a", "a", "b"], "error": [3.0, np.nan, np.nan]})
    table = summarise(frame, ["network"], "error").set_index("network")
    assert list(table["n"]) == [1, 0]
    assert table.loc["a", "mean"] == 3.0
    assert table["mean"].isna().to_dict() == {"a": False, "b": True}


def test_paired_difference_equals_the_paired_t_test() -> None:
    first, second = [5.0, 6.5, 7.0, 9.0], [4.0, 5.0, 6.5, 6.0]
    row = paired_differences(two_arms(first, second), "arm", "deep", "shallow", "error").iloc[0]
    reference = stats.ttest_rel(first, second)
    interval = reference.confidence_interval()
    assert (row["n"], row["mean"]) == (4, 1.5)
    assert row["p"] == pytest.approx(reference.pvalue)
    assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_pairing_removes_what_seeds_share() -> None:
    frame = two_arms([1.0, 51.1, -29.1], [0.0, 50.0, -30.0])
    row = paired_differences(frame, "arm", "deep", "shallow", "error").iloc[0]
    assert row["mean"] == pytest.approx(1.0)
    assert row["sd"] == pytest.approx(0.1)
    assert row["low"] > 0


def test_seeds_without_a_partner_are_left_out() -> None:
    frame = two_arms([1.0, 2.0, 30.0], [0.0, 0.0])
    row = paired_differences(frame, "arm", "deep", "shallow", "error").iloc[0]
    assert (row["n"], row["mean"]) == (2, 1.5)


def test_no_common_seed_gives_no_row() -> None:
    frame = two_arms([1.0], []).assign(seed=0)
    assert paired_differences(frame, "arm", "deep", "shallow", "error").empty


def test_groups_are_differenced_apart() -> None:
    frame = pd.concat(
        [two_arms([3.0, 5.0], [1.0, 1.0]).assign(lr=0.1), two_arms([1.0], [9.0]).assign(lr=1.0)]
    )
    table = paired_differences(frame, "arm", "deep", "shallow", "error", by=["lr"])
    assert dict(zip(table["lr"], table["mean"], strict=True)) == {0.1: 3.0, 1.0: -8.0}
    assert dict(zip(table["lr"], table["n"], strict=True)) == {0.1: 2, 1.0: 1}


def test_two_values_of_one_seed_are_an_error() -> None:
    frame = pd.concat([two_arms([1.0], [2.0]), two_arms([1.0], [])])
    with pytest.raises(ValueError, match="more than one error a seed"):
        paired_differences(frame, "arm", "deep", "shallow", "error")


@pytest.mark.parametrize(
    ("mean", "sd", "n", "p"), [(0.0, 0.0, 3, 1.0), (2.0, 0.0, 3, 0.0), (0.0, 1.0, 3, 1.0)]
)
def test_p_value_at_the_edges(mean: float, sd: float, n: int, p: float) -> None:
    assert t_test(mean, sd, n) == p


def test_p_value_of_one_seed_is_missing() -> None:
    assert np.isnan(t_test(2.0, np.nan, 1))


def test_intervals_of_three_seeds_cover_the_truth_in_95_percent_of_draws() -> None:
    draws = 4000
    values = np.random.default_rng(0).normal(7.0, 2.0, size=(draws, 3))
    frame = pd.DataFrame({"draw": np.repeat(np.arange(draws), 3), "error": values.ravel()})
    table = summarise(frame, ["draw"], "error")
    covered = ((table["low"] <= 7.0) & (table["high"] >= 7.0)).mean()
    assert covered == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / draws) ** 0.5)


errors = st.lists(st.floats(0, 100), min_size=2, max_size=6)


@settings(max_examples=25, deadline=None)
@given(errors, errors)
def test_swapping_the_sides_turns_the_difference_around(a: list[float], b: list[float]) -> None:
    frame = two_arms(a, b)
    row = paired_differences(frame, "arm", "deep", "shallow", "error").iloc[0]
    back = paired_differences(frame, "arm", "shallow", "deep", "error").iloc[0]
    assert back["mean"] == pytest.approx(-row["mean"])
    assert back["low"] == pytest.approx(-row["high"], abs=1e-9)
    assert back["p"] == pytest.approx(row["p"])
