from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import (
    deciding_level,
    detectable,
    mean_interval,
    noise_floor,
    paired,
    power,
    seeds_to_decide,
    summarise,
    t_interval,
)


def two_arms(first: list[float], second: list[float]) -> pd.DataFrame:
    rows = [("deep", seed, value) for seed, value in enumerate(first)]
    rows += [("shallow", seed, value) for seed, value in enumerate(second)]
    return pd.DataFrame(rows, columns=["arm", "seed", "error"])


def difference(frame: pd.DataFrame, *sides: str) -> pd.Series:
    pairs = paired(frame, *sides)
    return mean_interval(pairs["first"] - pairs["second"])


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
    row = difference(two_arms(first, second), "arm", "deep", "shallow", "error")
    reference = stats.ttest_rel(first, second)
    interval = reference.confidence_interval()
    assert (row["n"], row["mean"]) == (4, 1.5)
    assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_pairing_removes_what_seeds_share() -> None:
    frame = two_arms([1.0, 51.1, -29.1], [0.0, 50.0, -30.0])
    row = difference(frame, "arm", "deep", "shallow", "error")
    assert row["mean"] == pytest.approx(1.0)
    assert row["sd"] == pytest.approx(0.1)
    assert row["low"] > 0


def test_seeds_without_a_partner_are_left_out() -> None:
    frame = two_arms([1.0, 2.0, 30.0], [0.0, 0.0])
    row = difference(frame, "arm", "deep", "shallow", "error")
    assert (row["n"], row["mean"]) == (2, 1.5)


def test_no_common_seed_gives_no_row() -> None:
    frame = two_arms([1.0], []).assign(seed=0)
    assert paired(frame, "arm", "deep", "shallow", "error").empty


def test_two_values_of_one_seed_are_an_error() -> None:
    frame = pd.concat([two_arms([1.0], [2.0]), two_arms([1.0], [])])
    with pytest.raises(ValueError, match="more than one error a seed"):
        difference(frame, "arm", "deep", "shallow", "error")


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
    row = difference(frame, "arm", "deep", "shallow", "error")
    back = difference(frame, "arm", "shallow", "deep", "error")
    assert back["mean"] == pytest.approx(-row["mean"])
    assert back["low"] == pytest.approx(-row["high"], abs=1e-9)


@pytest.mark.parametrize(("n", "level"), [(2, 0.95), (3, 0.95), (5, 0.95), (3, 0.975)])
def test_power_is_how_often_simulated_intervals_lie_above_zero(n: int, level: float) -> None:
    draws, effect = 20_000, 1.5
    values = np.random.default_rng(0).normal(effect, 1.0, size=(draws, n))
    low, _ = t_interval(values.mean(axis=1), values.std(axis=1, ddof=1), n, level)
    expected = power(effect, 1.0, n, level)
    tolerance = 4 * (expected * (1 - expected) / draws) ** 0.5
    assert (low > 0).mean() == pytest.approx(expected, abs=tolerance)


def test_power_at_no_effect_is_half_the_level_and_of_one_seed_none() -> None:
    assert power(0.0, 1.0, 5) == pytest.approx(0.025)
    assert power(9.0, 1.0, 1) == 0.0
    assert (power(0.1, 0.0, 2), power(0.0, 0.0, 2)) == (1.0, 0.0)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_detectable_effect_has_a_power_of_80_percent(n: int) -> None:
    least = detectable(0.7, n)
    assert power(least, 0.7, n) == pytest.approx(0.8, abs=1e-6)
    assert np.isnan(detectable(0.7, 1))


def test_seeds_to_decide_are_the_fewest_that_reach_the_power() -> None:
    n = seeds_to_decide(0.5, 1.0)
    reached = [power(0.5, 1.0, one, deciding_level(one)) for one in (n - 1, n)]
    assert reached[1] >= 0.8 > reached[0]
    with pytest.raises(ValueError, match="give a positive one"):
        seeds_to_decide(0.0, 1.0)


def test_noise_floor_of_two_equal_errors() -> None:
    # 100 sqrt(2 * 0.1 * 0.9 / 10,000)
    assert noise_floor(10.0, 10.0, 10_000) == pytest.approx(0.42426, abs=1e-5)
    assert noise_floor(0.0, 0.0, 100) == 0.0


def test_noise_floor_is_what_independent_mistakes_scatter_and_an_upper_bound_otherwise() -> None:
    random, images, draws = np.random.default_rng(0), 500, 4000
    hard = random.uniform(size=(draws, images)) < 0.2
    apart = random.uniform(size=(draws, images)) < 0.2
    alike = hard ^ (random.uniform(size=(draws, images)) < 0.05)
    floor = float(noise_floor(20.0, 20.0, images))
    spread = 100 * (hard.mean(axis=1) - apart.mean(axis=1)).std()
    assert spread == pytest.approx(floor, rel=0.05)
    assert 100 * (hard.mean(axis=1) - alike.mean(axis=1)).std() < 0.6 * floor
