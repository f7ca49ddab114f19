"""The dose-response: doses from theory, the claim's test, the figure and the table."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from synthetic_runs import as_runs, member, recordings

from analysis.claims import evaluate_claims
from analysis.claims.claim import Verdict
from analysis.claims.dose import split_doses
from analysis.claims.project.dose import DOSE
from analysis.figures import draw_doses
from analysis.report import write_report
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.runs.frames import Runs

TOKENS = {0.0: "", 0.1: "-leaky0.1", 0.3: "-leaky0.3", 0.5: "-leaky0.5"}


def growth(slope: float) -> float:
    """Yang et al. 2019, for leaky ReLU."""
    return math.sqrt((1 + slope**2) / (1 + slope**2 - (1 - slope) ** 2 / math.pi))


def study(
    errors: dict[float, float], seeds: int = 3, twins: float = 0.0, measured: float = 1.0
) -> Runs:
    """Plain-56 at each slope with this error (seeds apart by 0.5), twins with `twins`."""
    rows, layers = [], []
    for (slope, error), seed in product(errors.items(), range(seeds)):
        for family, own in (("plain", error + 0.5 * seed), ("resnet", twins)):
            row = member(f"{family}-56{TOKENS.get(slope, f'-leaky{slope:g}')}", seed, own)
            row["run"] = f"{seed:08x}{int(100 * slope):08x}"
            rate = growth(slope) * measured if family == "plain" else 1.01
            recorded = recordings(row, rate)
            recorded = recorded[(recorded["quantity"] == "gradient_norm") & (recorded["step"] == 0)]
            layers.append(recorded.assign(quantity="activation_gradient_norm"))
            rows.append(row)
    return as_runs(rows, layers, curves=False)


def verdict(runs: Runs) -> Verdict:
    (found,) = evaluate_claims(runs, [DOSE])
    return found


def test_doses_are_those_of_theory_and_growth_is_as_measured() -> None:
    runs = study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0, 0.5: 2.0}, measured=0.97)
    (doses,) = split_doses(runs)
    assert doses.depth == 56
    table = doses.table[doses.table["family"] == "plain"].set_index(["activation", "seed"])
    for slope, name in ((0.0, "relu"), (0.1, "leaky0.1"), (0.3, "leaky0.3"), (0.5, "leaky0.5")):
        assert table.loc[(name, 1), "predicted"] == pytest.approx(growth(slope))
        assert table.loc[(name, 1), "measured"] == pytest.approx(0.97 * growth(slope))
    assert [round(one, 4) for one in sorted(set(table["predicted"]))] == [
        1.0334,
        1.0803,
        1.1588,
        1.2112,
    ]


def test_a_response_is_the_slope_of_each_seeds_line() -> None:
    per_percent = {slope: 3.0 * 100 * math.log(growth(slope)) for slope in (0.0, 0.1, 0.3, 0.5)}
    found = verdict(study(per_percent, twins=1.0))
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(3.0)
    assert found.n == 3
    assert found.comparison == "resnet-56's by 0.00; predicted before training"


def test_slopes_agree_with_a_regression_by_hand() -> None:
    errors = {0.0: 60.0, 0.1: 55.0, 0.3: 8.0, 0.5: 2.0}
    (doses,) = split_doses(study(errors))
    slopes = doses.slopes()
    x = [100 * math.log(growth(slope)) for slope in errors]
    expected = stats.linregress(x, list(errors.values())).slope
    plain = slopes.loc[slopes["network"] == "plain-56", "value"]
    assert list(plain) == pytest.approx([expected] * 3)


def test_errors_that_fall_with_the_growth_refute_and_flat_ones_decide_nothing() -> None:
    assert verdict(study({0.0: 5.0, 0.1: 10.0, 0.3: 30.0, 0.5: 50.0})).verdict == "refuted"
    flat = study({0.0: 20.0, 0.1: 20.0, 0.3: 20.0})
    assert verdict(flat).verdict == "undecided"
    assert verdict(study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0}, seeds=1)).verdict == "undecided"


def test_pages_test_stands_beside_with_its_exact_p() -> None:
    found = verdict(study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0}))
    # All three seeds in perfect order of three doses: one of 6^3 rankings.
    assert f"exact p = {1 / 216:.2g}, n = 3" in found.reason


def test_two_doses_or_no_twins_or_another_norm_are_not_tested() -> None:
    assert verdict(study({0.0: 60.0, 0.1: 40.0})).verdict == "not tested"
    runs = study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0})
    plain = Runs(runs.runs[runs.runs["family"] == "plain"], runs.metrics, runs.layers, skipped=[])
    assert verdict(plain).verdict == "not tested"


def test_no_dose_is_said_of_initial_values_that_theory_does_not_know() -> None:
    runs = study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0})
    for frame in (runs.runs, runs.layers):
        frame["network"] = frame["network"] + "-dirac"
    assert split_doses(runs) == []
    assert verdict(runs).verdict == "not tested"


def test_a_linear_network_is_shown_apart_and_left_out_of_the_slope() -> None:
    errors = {0.0: 60.0, 0.1: 40.0, 0.3: 10.0}
    with_linear = {**errors, 1.0: 70.0}
    assert NetworkSpec.parse("plain-56-leaky1").parts.activation.gradient_growth == 1.0
    assert verdict(study(with_linear)).effect == pytest.approx(verdict(study(errors)).effect)
    (drawing,) = draw_doses(study(with_linear))
    (axes,) = drawing.figure.axes
    drawn = {str(one.get_label()): np.asarray(one.get_ydata(), dtype=float) for one in axes.lines}
    assert list(drawn["plain linear"]) == [70.0, 70.5, 71.0]
    assert sorted(drawn["plain"]) == sorted(
        error + 0.5 * seed for error in errors.values() for seed in range(3)
    )
    assert "linear networks" in drawing.caption


def test_the_figure_has_every_seed_at_its_measured_growth_and_the_prediction_beside() -> None:
    (drawing,) = draw_doses(study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0}, measured=0.98))
    (axes,) = drawing.figure.axes
    drawn = {str(one.get_label()): one for one in axes.lines}
    places = np.asarray(drawn["plain"].get_xdata(), dtype=float)
    assert sorted(set(places.round(6))) == pytest.approx(
        [0.98 * growth(slope) for slope in (0.3, 0.1, 0.0)], rel=1e-5
    )
    assert list(np.asarray(drawn["predicted"].get_xdata(), dtype=float)) == pytest.approx(
        [growth(slope) for slope in (0.3, 0.1, 0.0)]
    )
    assert drawing.caption.startswith("Training error of 56 plain layers rises by ")
    labels = {text.get_text() for text in axes.texts}
    assert labels == {"ReLU", "slope 0.1", "slope 0.3"}


def test_the_report_shows_dose_figure_and_table_first(tmp_path: Path) -> None:
    page = write_report(study({0.0: 60.0, 0.1: 40.0, 0.3: 10.0}), tmp_path).read_text("utf-8")
    dose = page.index("<b>Training error against the explosion rate.</b>")
    assert dose < page.index('id="results"') < page.index("<td>1.2112</td>")
    assert (tmp_path / "tables/doses.csv").exists()
