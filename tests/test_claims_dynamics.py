"""Claims on recordings: the rate of the explosion, the freeze, gradients without norm."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import as_runs, member, recordings

from analysis.claims import Verdict, evaluate_claims
from analysis.layer_dynamics import freeze_times, freezes, growth, growth_summary
from analysis.paper import load_paper
from resnet_lab.runs.frames import Runs

RATE, FREEZE, NO_NORM = "8-explosion-rate", "9-freeze", "10-vanishing-without-norm"


def verdict(runs: Runs, claim: str) -> Verdict:
    (found,) = [one for one in evaluate_claims(runs) if one.id == claim]
    return found


def grown(rates: list[float], network: str = "plain-20", claim: str = RATE) -> Verdict:
    rows = [member(network, seed, status="diverged") for seed in range(len(rates))]
    layers = [recordings(row, growth=rate) for row, rate in zip(rows, rates, strict=True)]
    return verdict(as_runs(rows, layers), claim)


def test_growth_within_the_margins_of_theory_is_at_its_rate() -> None:
    found = grown([1.195, 1.200, 1.205])
    assert (found.verdict, found.n) == ("supported", 3)
    assert found.effect == pytest.approx(1.2, abs=1e-4)
    theory = load_paper().gradient_growth
    low, high = theory * np.exp(-0.03), theory * np.exp(0.03)
    assert f"margins [{low:.3f}, {high:.3f}] around the theory's 1.2112" in found.reason


def test_growth_above_one_but_far_from_theory_is_not_at_its_rate() -> None:
    assert grown([1.10, 1.11, 1.12]).verdict == "refuted"
    assert grown([1.30, 1.31, 1.32]).verdict == "refuted"


def test_growth_whose_interval_crosses_a_margin_is_undecided() -> None:
    assert grown([1.15, 1.2, 1.25]).verdict == "undecided"


def test_the_rate_is_about_batch_norm() -> None:
    assert grown([1.2, 1.21], "plain-20-nonorm").verdict == "not tested"


def shrunk(rates: list[float], network: str = "plain-20-nonorm") -> Verdict:
    """Networks whose activation gradients are 1 at the last block and grow so, one rate a seed."""
    rows, layers = [], []
    for seed, rate in enumerate(rates):
        rows.append(member(network, seed, status="diverged"))
        one = recordings(rows[-1])
        blocks = one[(one["quantity"] == "weight_norm") & (one["layer"] % 2 == 1)]
        value = rate ** (blocks["layer"].max() - blocks["layer"]).astype(float)
        layers.append(blocks.assign(quantity="activation_gradient_norm", value=value))
    return verdict(as_runs(rows, layers), NO_NORM)


@pytest.mark.parametrize(
    ("rates", "outcome"),
    [
        ([0.90, 0.91, 0.92], "supported"),
        ([0.995, 1.0, 1.005], "refuted"),
        ([1.2, 1.21, 1.22], "refuted"),
        ([0.95, 0.98, 1.01], "undecided"),
        ([0.9], "undecided"),
    ],
)
def test_gradients_without_norm_vanish_below_098_a_layer(rates: list[float], outcome: str) -> None:
    found = shrunk(rates)
    assert found.verdict == outcome
    assert found.effect == pytest.approx(float(np.exp(np.log(rates).mean())))


def test_weight_gradients_say_nothing_about_vanishing() -> None:
    assert grown([0.9, 0.91], "plain-20-nonorm", NO_NORM).verdict == "not tested"


def test_claim_ten_is_about_plain_networks_without_norm() -> None:
    assert shrunk([0.9, 0.91], "plain-20").verdict == "not tested"
    assert shrunk([0.9, 0.91], "resnet-20-nonorm").verdict == "not tested"


def frozen(updates: dict[str, list[float]], step: int = 16) -> Verdict:
    """Networks whose stems have these relative updates, one a seed, from `step` on."""
    rows = [member(name, seed) for name, values in updates.items() for seed in range(len(values))]
    layers = []
    for row in rows:
        one = recordings(row)
        stem = (one["quantity"] == "relative_update") & (one["name"] == "stem.conv")
        one.loc[stem, "value"] = 1.0
        one.loc[stem & (one["step"] >= step), "value"] = updates[row["network"]][row["seed"]]
        layers.append(one)
    return verdict(as_runs(rows, layers), FREEZE)


MOVING = [1e-3, 1.2e-3, 0.9e-3]


def test_a_still_plain_stem_beside_a_moving_twin_is_frozen() -> None:
    found = frozen({"plain-56": [1e-8, 1e-9, 1e-10], "resnet-56": MOVING})
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(1e-9)
    half = 4.3027 / 3**0.5
    assert found.low == pytest.approx(10 ** (-9 - half), rel=1e-3)
    assert found.high == pytest.approx(10 ** (-9 + half), rel=1e-3)
    assert "plain-56 stem's relative update 1.0e-09 at steps 16 to 100" in found.evidence
    assert "plain-56 minus resnet-56: -6.0 decades" in found.reason


def test_a_moving_plain_stem_refutes_the_freeze() -> None:
    assert frozen({"plain-56": [1e-4, 2e-4, 3e-4], "resnet-56": MOVING}).verdict == "refuted"


def test_a_twin_as_still_as_the_plain_net_leaves_the_freeze_undecided() -> None:
    same = [1e-8, 1.1e-8, 0.9e-8]
    assert frozen({"plain-56": same, "resnet-56": same[::-1]}).verdict == "undecided"


def test_an_update_of_zero_counts_as_still() -> None:
    assert frozen({"plain-56": [0.0, 0.0, 0.0], "resnet-56": MOVING}).verdict == "supported"


def test_what_freezes_late_in_training_is_not_the_freeze() -> None:
    found = frozen({"plain-56": [1e-9, 1e-9, 1e-9], "resnet-56": MOVING}, step=120)
    assert found.verdict == "refuted"


def test_the_freeze_needs_a_deep_plain_net_and_its_twin() -> None:
    still = [1e-9, 1e-9]
    assert frozen({"plain-20": still, "resnet-20": MOVING[:2]}).verdict == "not tested"
    assert frozen({"plain-56": still, "resnet-20": MOVING[:2]}).verdict == "not tested"


def test_recordings_that_end_before_step_16_test_no_freeze() -> None:
    rows = [member(name, seed) for name in ("plain-56", "resnet-56") for seed in range(2)]
    layers = [recordings(row) for row in rows]
    early = [one[one["step"] < 16] for one in layers]
    assert verdict(as_runs(rows, early), FREEZE).verdict == "not tested"


def test_growth_is_summarised_over_runs_on_the_logarithm() -> None:
    rates = [1.1, 1.21, 1.331]
    rows = [member("plain-20", seed) for seed in range(3)]
    layers = [recordings(row, growth=rate) for row, rate in zip(rows, rates, strict=True)]
    table = growth_summary(growth(as_runs(rows, layers).layers)).set_index("stage")
    half = 4.3027 * np.log(1.1) / 3**0.5
    assert list(table["n"]) == [3, 3, 3]
    assert table.loc[1, "growth"] == pytest.approx(1.21)
    assert table.loc[1, "low"] == pytest.approx(1.21 * np.exp(-half), rel=1e-4)
    assert table.loc[1, "high"] == pytest.approx(1.21 * np.exp(half), rel=1e-4)
    one = growth_summary(growth(as_runs(rows[:1], layers[:1]).layers))
    assert one[["low", "high"]].isna().all(axis=None)


def test_freeze_times_count_the_runs_in_which_a_layer_froze() -> None:
    rows = [member("plain-56", seed) for seed in range(3)]
    layers = [recordings(row) for row in rows]
    stem = (layers[2]["quantity"] == "relative_update") & (layers[2]["name"] == "stem.conv")
    layers[2].loc[stem, "value"] = 1.0
    times = freeze_times(freezes(as_runs(rows, layers).layers, until=100)).set_index("name")
    assert tuple(times.loc["stem.conv", ["n", "frozen", "median_step", "latest"]]) == (3, 2, 16, 16)
    assert times.loc["stage1.block1.conv1", "frozen"] == 0
    assert times["median_step"].isna().sum() == len(times) - 1
