from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_lab.errors import UserError
from resnet_lab.sweeps.distributions import (
    DISTRIBUTIONS,
    TAIL,
    Choices,
    Continuous,
    Integers,
    read_distribution,
)

E = math.e
# Every distribution that W&B documents, and its quantiles at 0, 1/2 and 1.
CASES: list[tuple[dict[str, Any], float, float, float]] = [
    ({"distribution": "uniform", "min": -1.0, "max": 3.0}, -1, 1, 3),
    ({"distribution": "q_uniform", "min": 0, "max": 100, "q": 10}, 0, 50, 100),
    ({"distribution": "log_uniform", "min": -2, "max": 4}, E**-2, E, E**4),
    ({"distribution": "q_log_uniform", "min": 0, "max": 6, "q": 1}, 1, 20, 403),
    ({"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}, 0.01, 0.1, 1),
    ({"distribution": "q_log_uniform_values", "min": 10, "max": 1000, "q": 5}, 10, 100, 1000),
    ({"distribution": "inv_log_uniform", "min": -2, "max": 4}, E**-4, E**-1, E**2),
    ({"distribution": "inv_log_uniform_values", "min": 0.01, "max": 1.0}, 0.01, 0.1, 1),
    ({"distribution": "normal", "mu": 2, "sigma": 3}, 2 - 3 * 4.7534, 2, 2 + 3 * 4.7534),
    ({"distribution": "normal"}, -4.7534, 0, 4.7534),
    ({"distribution": "q_normal", "mu": 0, "sigma": 1, "q": 0.5}, -5, 0, 5),
    ({"distribution": "log_normal", "mu": 1, "sigma": 1}, E ** (1 - 4.7534), E, E**5.7534),
    ({"distribution": "q_log_normal", "mu": 3, "sigma": 0.1}, 12, 20, 32),
    ({"distribution": "beta", "a": 1, "b": 1}, TAIL, 0.5, 1 - TAIL),
    ({"distribution": "q_beta", "a": 2, "b": 2, "q": 0.25}, 0, 0.5, 1),
]


def read(**entry: Any) -> Any:
    return read_distribution("file.yaml: parameter 'x'", entry)


def drawn(entry: dict[str, Any], count: int) -> list[str]:
    """What a random sampler draws from a distribution."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distribution = read(**entry)
    return [distribution.draw(study.ask(), "x") for _ in range(count)]


@pytest.mark.parametrize(("entry", "low", "middle", "high"), CASES, ids=str)
def test_quantiles_are_those_of_the_definition(
    entry: dict[str, Any], low: float, middle: float, high: float
) -> None:
    distribution = read(**entry)
    values = [float(distribution.at(level)) for level in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([low, middle, high], rel=1e-4, abs=1e-9)
    assert [float(value) for value in distribution.extremes()] == [values[0], values[2]]


@pytest.mark.parametrize(("entry", "low", "middle", "high"), CASES, ids=str)
def test_draws_have_the_median_and_the_bounds(
    entry: dict[str, Any], low: float, middle: float, high: float
) -> None:
    values = np.array([float(value) for value in drawn(entry, 300)])
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert low - slack <= values.min()
    assert values.max() <= high + slack
    # Of 300 draws, 150 +- 8.7 lie below the median (one standard deviation).
    assert (values <= middle + slack).sum() >= 115
    assert (values >= middle - slack).sum() >= 115
    if "q" in entry:
        multiples = values / entry["q"]
        assert multiples == pytest.approx(np.round(multiples), abs=1e-9)


def test_the_cases_are_all_that_are_documented() -> None:
    tested = {entry["distribution"] for entry, *_ in CASES}
    lists = {"constant", "categorical", "categorical_w_probabilities", "int_uniform"}
    assert tested | lists == set(DISTRIBUTIONS)


def test_kinds_are_told_from_the_keys() -> None:
    assert read(value=None) == Choices(("null",))
    assert read(values=[1, "a", [2, 3], True]) == Choices(("1", "a", "[2, 3]", "true"))
    assert read(min=1, max=4) == Integers(1, 4)
    assert read(min=1, max=4.0) == Continuous("uniform", 1, 4.0)
    assert read(min=1, max=4, distribution="uniform") == Continuous("uniform", 1, 4)
    assert read(values=[1, 2], probabilities=[0.25, 0.75]) == Choices(("1", "2"), (0.25, 0.75))


@pytest.mark.parametrize(
    ("entry", "stored"),
    [
        ({"values": [1, "a"]}, "Choices(values=('1', 'a'), probabilities=None)"),
        ({"min": 1, "max": 4}, "Integers(low=1, high=4)"),
        (
            {"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8},
            "Continuous(shape='log_uniform', first=8, second=64, quantum=8)",
        ),
        (
            {"distribution": "inv_log_uniform", "min": -2, "max": 0.0},
            f"Continuous(shape='log_uniform', first=1.0, second={math.exp(2)!r}, quantum=None)",
        ),
    ],
    ids=str,
)
def test_a_search_that_was_begun_before_is_known_again(entry: dict[str, Any], stored: str) -> None:
    """Studies keep this text: a search goes on only where it is the same, see `open_study`."""
    assert repr(read(**entry)) == stored


def test_lists_and_whole_numbers_are_drawn_evenly_or_by_their_probabilities() -> None:
    even = drawn({"values": ["a", "b"]}, 400)
    assert 160 <= even.count("a") <= 240  # 200 +- 10
    assert set(drawn({"min": 3, "max": 5}, 60)) == {"3", "4", "5"}
    skewed = drawn({"values": ["a", "b", "c"], "probabilities": [0.0, 0.9, 0.1]}, 400)
    assert skewed.count("a") == 0
    assert 16 <= skewed.count("c") <= 64  # 40 +- 6
    assert drawn({"value": 7}, 2) == ["7", "7"]


def test_a_grid_counts_lists_and_whole_numbers_only() -> None:
    for values, known in ((read(min=1, max=3), ["1", "2", "3"]), (read(values=[2, 1]), ["2", "1"])):
        assert list(values.grid()) == known
        assert values.count() == len(known)
    assert read(min=1.0, max=2.0).count() is None


@given(st.floats(0, 1), st.floats(1e-6, 1.0), st.floats(1.001, 1e6))
def test_a_logarithmic_range_keeps_to_its_bounds(level: float, low: float, ratio: float) -> None:
    value = float(Continuous("log_uniform", low, low * ratio).at(level))
    assert low <= value <= low * ratio


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "give one of value, values, min and max, parameters, or a distribution"),
        ({"min": 1}, "give one of value, values, min and max, parameters, or a distribution"),
        ({"distribution": "unifrom", "min": 0, "max": 1}, "unknown distribution 'unifrom', did "),
        ({"distribution": "uniform", "min": 0, "max": 1, "mu": 1}, "unknown key 'mu'"),
        ({"distribution": "uniform", "min": 0}, "uniform needs a number as 'max', not None"),
        ({"min": 2, "max": 1}, "min is 2 and max 1: min must be below max"),
        ({"min": 1.0, "max": 1.0}, "min is 1.0 and max 1.0: min must be below max"),
        ({"min": "1e-4", "max": 1.0}, "min is the text '1e-4': YAML reads a number in the form"),
        ({"min": 0.0, "max": math.inf}, "uniform needs a number as 'max', not inf"),
        ({"min": False, "max": 1}, "uniform needs a number as 'min', not False"),
        (
            {"distribution": "log_uniform_values", "min": 0, "max": 1},
            "min is 0: log_uniform_values needs a number above 0",
        ),
        ({"distribution": "log_uniform", "min": 0, "max": 1e6}, "e to the power of 1000000.0 is "),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "int_uniform needs whole numbers"),
        ({"distribution": "normal", "mu": 0, "sigma": 0}, "mu is 0, sigma 0: give numbers above"),
        ({"distribution": "beta", "a": -1, "b": 2}, "a is -1, b 2: give numbers above 0"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q is 0: give a number above"),
        ({"values": 3}, "values is 3: give a list with at least one value"),
        ({"values": [1, 2], "probabilities": [0.5]}, "probabilities are [0.5]: give one for each"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "probabilities are [0.5, 0.6]: give"),
    ],
    ids=str,
)
def test_what_holds_nothing_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(**entry)
    assert str(caught.value).startswith(f"file.yaml: parameter 'x': {message}")
