from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.convergence import (
    early_speed,
    error_curves,
    first_crossing,
    share_above,
    time_averages,
)


def curve(
    steps: list[int], values: list[float], network: str = "a", split: str = "train"
) -> pd.DataFrame:
    frame = pd.DataFrame({"step": steps, "value": values})
    return frame.assign(run="r", network=network, split=split, metric="error")


def test_an_average_over_time_weighs_points_by_their_distance() -> None:
    metrics = pd.concat([curve([0, 10, 40], [90, 30, 30]), curve([5], [1], "one")])
    table = time_averages(metrics).set_index("network")["value"]
    # (60 * 10 + 30 * 30) / 40
    assert table["a"] == pytest.approx(37.5)
    assert np.isnan(table["one"])


def test_curves_are_those_of_one_split_finite_and_in_order() -> None:
    metrics = pd.concat([curve([20, 10, 30], [1, 2, np.nan]), curve([10], [7], split="test")])
    assert list(error_curves(metrics)["step"]) == [10, 20]
    assert list(error_curves(metrics, "test")["value"]) == [7]


def test_steps_to_an_error_are_read_off_the_line_between_two_points() -> None:
    steps = np.array([100.0, 200.0, 300.0])
    assert first_crossing(steps, np.array([80.0, 40.0, 60.0]), 50.0) == pytest.approx(175.0)
    assert np.isnan(first_crossing(steps, np.array([90.0, 70.0, 60.0]), 50.0))


@pytest.mark.parametrize(("level", "step"), [(80.0, 100.0), (95.0, 100.0), (40.0, 200.0)])
def test_a_level_met_at_a_point_is_reached_there(level: float, step: float) -> None:
    assert first_crossing(np.array([100.0, 200.0]), np.array([80.0, 40.0]), level) == step


def test_early_speed_is_the_log_ratio_of_steps_to_an_error_that_both_reach() -> None:
    steps = [0, 10, 20, 30]
    slow = curve(steps, [90, 80, 70, 5])
    fast = curve(steps, [90, 70, 50, 5])
    # in the first quarter of 80 steps the slow one gets to 70, where the fast one is at 10
    assert early_speed(fast, slow, 80) == pytest.approx(np.log(10 / 20))
    assert early_speed(slow, fast, 80) == pytest.approx(np.log(20 / 10))
    assert early_speed(slow, slow, 80) == 0.0
    assert np.isnan(early_speed(fast, slow, 30))


def test_early_speed_of_equal_noisy_curves_averages_to_nothing() -> None:
    random, steps = np.random.default_rng(0), list(range(100, 1100, 100))
    trend = np.linspace(80, 20, len(steps))
    curves = [
        [curve(steps, list(trend + random.normal(0, 4, len(steps)))) for _ in range(2)]
        for _ in range(300)
    ]
    speeds = np.array([early_speed(first, second, 4000) for first, second in curves])
    assert abs(speeds.mean()) < 4 * speeds.std() / 300**0.5
    assert speeds.std() > 0.05


def test_share_above_looks_past_the_first_tenth() -> None:
    first = curve([5, 20, 50, 100], [0, 9, 9, 9])
    second = curve([5, 20, 50, 100], [1, 8, 9, 1])
    assert share_above(first, second, 100) == (pytest.approx(2 / 3), 3)
    share, points = share_above(first, curve([1], [1]), 100)
    assert (np.isnan(share), points) == (True, 0)
