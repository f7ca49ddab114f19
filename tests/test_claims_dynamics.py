"""Claims on recordings: the explosion's rate, the freeze, gradients without norm, branches."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import as_runs, member, recordings

from analysis.claims import CLAIMS, Verdict, evaluate_claims
from analysis.padding import padding_growth
from analysis.paper import load_paper
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.runs.frames import Runs

GROWS, RATE, FREEZE, NO_NORM, RESPONSES, BRANCHES = (
    *("7-gradients", "8-explosion-rate", "9-freeze", "10-vanishing-without-norm"),
    *("5-responses", "12-branches-near-zero"),
)


def verdict(runs: Runs, claim: str) -> Verdict:
    (found,) = [one for one in evaluate_claims(runs) if one.id == claim]
    return found


def grown(rates: list[float], network: str = "plain-20", claim: str = RATE) -> Verdict:
    rows = [member(network, seed, status="diverged") for seed in range(len(rates))]
    layers = [recordings(row, growth=rate) for row, rate in zip(rows, rates, strict=True)]
    return verdict(as_runs(rows, layers), claim)


def test_growth_within_the_margins_of_theory_is_equivalent_and_says_that_it_is_not_theory() -> None:
    found = grown([1.205, 1.208, 1.211])
    assert (found.verdict, found.n) == ("equivalent", 3)
    assert found.effect == pytest.approx(1.208, abs=1e-4)
    theory = load_paper().gradient_growth
    low, high = theory * np.exp(-0.03), theory * np.exp(0.03)
    assert f"margins [{low:.3f}, {high:.3f}] around the theory's 1.2112" in found.reason
    assert found.comparison == "0.3 % below theory's 1.2112; furthest stage 0.3 % from it"
    excluded = grown([1.186, 1.188, 1.190])
    assert excluded.verdict == "equivalent"
    assert excluded.comparison.startswith("1.9 % below theory's 1.2112; ")
    assert excluded.comparison.endswith("; the interval excludes theory itself")


def staged(rates: list[float], stages: dict[int, float], claim: str) -> Verdict:
    """plain-20 whose growths are `rates`, one a seed, times those of `stages` in these stages."""
    rows = [member("plain-20", seed) for seed in range(len(rates))]
    layers = [recordings(row, growth=rate) for row, rate in zip(rows, rates, strict=True)]
    for one in layers:
        for stage, rate in stages.items():
            norms = (one["quantity"] == "gradient_norm") & (one["stage"] == stage)
            one.loc[norms, "value"] *= rate ** -one.loc[norms, "layer"].astype(float)
    return verdict(as_runs(rows, layers), claim)


def test_every_stage_must_be_at_the_rate_and_each_is_reported() -> None:
    rates = [1.209, 1.211, 1.213]
    assert staged(rates, {}, RATE).verdict == "equivalent"
    found = staged(rates, {3: 0.92}, RATE)
    assert found.verdict == "refuted"
    assert found.effect == pytest.approx(1.211 * 0.92 ** (1 / 3), abs=1e-4)
    assert "stage 1 (8x8, padding 0.960) x1.211 [1.206, 1.216]" in found.reason
    assert "stage 2 (4x4, padding 0.873) x1.211" in found.reason
    assert "stage 3 (2x2, padding 0.667) x1.114" in found.reason
    assert "furthest stage 8.0 % from it" in found.comparison


def test_gradients_that_shrink_in_one_stage_vanish_there() -> None:
    rates = [1.199, 1.2, 1.201]
    assert staged(rates, {}, GROWS).verdict == "supported"
    assert staged(rates, {2: 0.8}, GROWS).verdict == "refuted"
    assert staged([1.15, 1.2, 1.25], {2: 1 / 1.2}, GROWS).verdict == "undecided"


def test_growth_above_one_but_far_from_theory_is_not_at_its_rate() -> None:
    assert grown([1.108, 1.11, 1.112]).verdict == "refuted"
    assert grown([1.308, 1.31, 1.312]).verdict == "refuted"


def test_growth_whose_interval_crosses_a_margin_is_undecided() -> None:
    assert grown([1.15, 1.2, 1.25]).verdict == "undecided"


def test_the_rate_is_about_batch_norm() -> None:
    assert grown([1.2, 1.21], "plain-20-nonorm").verdict == "not tested"


def shrunk(rates: list[float], network: str = "plain-20-nonorm", data: str = "digits") -> Verdict:
    """Networks whose activation gradients are 1 at the last block and grow so, one rate a seed."""
    rows, layers = [], []
    for seed, rate in enumerate(rates):
        rows.append(member(network, seed, status="diverged", data=data))
        one = recordings(rows[-1])
        blocks = one[(one["quantity"] == "weight_norm") & (one["layer"] % 2 == 1)]
        value = rate ** (blocks["layer"].max() - blocks["layer"]).astype(float)
        layers.append(blocks.assign(quantity="activation_gradient_norm", value=value))
    return verdict(as_runs(rows, layers), NO_NORM)


PADDED = padding_growth(NetworkSpec.parse("plain-20-nonorm"), 8)


@pytest.mark.parametrize(
    ("rates", "outcome"),
    [
        ([0.90, 0.91, 0.92], "supported"),
        ([0.998, 1.0, 1.002], "equivalent"),
        ([0.995, 1.0, 1.005], "undecided"),
        ([0.975, 1.0, 1.025], "undecided"),
        ([1.0, 1.02, 1.04], "undecided"),
        ([1.028, 1.03, 1.032], "refuted"),
        ([1.2, 1.21, 1.22], "refuted"),
        ([0.95, 0.98, 1.01], "undecided"),
        ([0.9], "undecided"),
    ],
)
def test_gradients_vanish_without_norm_where_they_lose_more_than_padding_takes(
    rates: list[float], outcome: str
) -> None:
    found = shrunk([PADDED * rate for rate in rates])
    assert found.verdict == outcome
    assert found.effect == pytest.approx(float(np.exp(np.log(rates).mean())))


def test_the_loss_that_padding_predicts_is_named_beside_the_measured_one() -> None:
    found = shrunk([0.99 * PADDED, PADDED, 1.01 * PADDED])
    assert round(PADDED, 3) == 0.836
    assert "over the x0.836 that zero padding alone predicts on 8x8 images" in found.evidence
    assert "measured x0.836 a layer, 0.0 % below the x0.836 of zero padding" in found.comparison


def test_the_same_loss_is_vanishing_where_maps_are_large() -> None:
    rates = [0.834, 0.836, 0.838]
    assert shrunk(rates).verdict == "equivalent"
    assert shrunk(rates, data="cifar10").verdict == "supported"
    assert shrunk(rates, data="unknown").verdict == "not tested"


def test_the_claim_about_vanishing_is_not_the_papers() -> None:
    (claim,) = [one for one in CLAIMS if one.id == NO_NORM]
    assert claim.source.startswith("the classical account")
    assert "no claim of R" in claim.source


def test_weight_gradients_say_nothing_about_vanishing() -> None:
    assert grown([0.9, 0.91], "plain-20-nonorm", NO_NORM).verdict == "not tested"


def test_claim_ten_is_about_plain_networks_without_norm() -> None:
    assert shrunk([0.9, 0.91], "plain-20").verdict == "not tested"
    assert shrunk([0.9, 0.91], "resnet-20-nonorm").verdict == "not tested"


def frozen(angles: dict[str, list[float]], first: int = 16) -> Verdict:
    """Networks whose stems turn by these angles in all, one a seed, evenly from `first` on."""
    rows = [member(name, seed) for name, values in angles.items() for seed in range(len(values))]
    layers = []
    for row in rows:
        one = recordings(row)
        stem = (one["quantity"] == "update_angle") & (one["name"] == "stem.conv")
        one.loc[stem, "value"] = 1.0
        steady = angles[row["network"]][row["seed"]] / (159 - 16)
        one.loc[stem & (one["step"] >= first), "value"] = steady
        layers.append(one)
    return verdict(as_runs(rows, layers), FREEZE)


MOVING = [1.0, 1.2, 0.9]


def test_a_still_plain_stem_beside_a_moving_twin_is_frozen() -> None:
    found = frozen({"plain-56": [2e-4, 1e-4, 5e-5], "resnet-56": MOVING})
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(1e-4)
    half = 4.3027 * np.log10(2) / 3**0.5
    assert found.low == pytest.approx(10 ** (-4 - half), rel=1e-3)
    assert found.high == pytest.approx(10 ** (-4 + half), rel=1e-3)
    assert found.unit == "radians"
    assert "plain-56 stem turns by 0.0001 radians from step 16 to the last, 159" in found.evidence
    assert found.comparison == ("below 0.1 radians (6 degrees); 1/10260 of resnet-56's 1 radians")


def test_a_plain_stem_that_moves_as_its_twins_refutes_the_freeze() -> None:
    assert frozen({"plain-56": [0.8, 1.0, 0.9], "resnet-56": MOVING}).verdict == "refuted"
    still = [1e-4, 1.1e-4, 0.9e-4]
    assert frozen({"plain-56": still, "resnet-56": still[::-1]}).verdict == "refuted"


def test_a_stem_far_slower_than_its_twins_that_still_turns_has_slowed_down() -> None:
    found = frozen({"plain-56": [0.3, 0.31, 0.29], "resnet-56": [90, 100, 95]})
    assert found.verdict == "undecided"
    assert found.reason.startswith("Slowed down, not frozen")
    assert "1/316 of resnet-56's 95 radians" in found.comparison


def test_an_angle_of_zero_counts_as_still() -> None:
    assert frozen({"plain-56": [0.0, 0.0, 0.0], "resnet-56": MOVING}).verdict == "supported"
    assert frozen({"plain-56": [0.0, 2e-7, 1e-7], "resnet-56": MOVING}).verdict == "supported"


def test_what_freezes_late_in_training_is_not_the_freeze() -> None:
    found = frozen({"plain-56": [1e-9, 1e-9, 1e-9], "resnet-56": MOVING}, first=120)
    assert found.verdict == "refuted"


def test_one_seed_freezes_nothing() -> None:
    assert frozen({"plain-56": [1e-9], "resnet-56": [1.0]}).verdict == "undecided"


def test_the_freeze_needs_a_deep_plain_net_and_its_twin() -> None:
    still = [1e-9, 1e-9]
    assert frozen({"plain-20": still, "resnet-20": MOVING[:2]}).verdict == "not tested"
    assert frozen({"plain-56": still, "resnet-20": MOVING[:2]}).verdict == "not tested"


def test_recordings_that_end_before_step_16_test_no_freeze() -> None:
    rows = [member(name, seed) for name in ("plain-56", "resnet-56") for seed in range(2)]
    layers = [recordings(row) for row in rows]
    early = [one[one["step"] < 16] for one in layers]
    assert verdict(as_runs(rows, early), FREEZE).verdict == "not tested"


def test_recordings_without_angles_are_to_be_made_again() -> None:
    rows = [member(name, seed) for name in ("plain-56", "resnet-56") for seed in range(2)]
    layers = [recordings(row) for row in rows]
    old = [one[one["quantity"] != "update_angle"] for one in layers]
    found = verdict(as_runs(rows, old), FREEZE)
    assert (found.verdict, found.effect) == ("not tested", None)
    assert "these runs were recorded without it, record them again" in found.evidence
    assert found.protocol.startswith("digits")


def branches(ratios: dict[str, list[float]], power: float = 0.0) -> Verdict:
    """Residual networks with these ratios in the first block, times l^power in block l."""
    rows = [member(name, seed) for name, values in ratios.items() for seed in range(len(values))]
    layers = []
    for row in rows:
        one = recordings(row)
        blocks = one[(one["quantity"] == "weight_norm") & one["name"].str.endswith(".conv2")]
        number = (blocks["layer"].astype(float) - 1) / 2
        value = ratios[row["network"]][row["seed"]] * number**power
        layers.append(blocks.assign(quantity="variance_ratio", value=value))
    return verdict(as_runs(rows, layers), BRANCHES)


@pytest.mark.parametrize(
    ("deep", "outcome"),
    [
        ([0.10, 0.11, 0.12], "supported"),
        ([0.50, 0.51, 0.52], "refuted"),  # grows with depth
        ([1.50, 1.51, 1.52], "refuted"),  # the branch outweighs the shortcut
        ([0.20, 0.30, 0.40], "undecided"),
        ([0.1], "undecided"),
    ],
)
def test_branches_are_near_zero_where_shortcuts_vary_more(deep: list[float], outcome: str) -> None:
    shallow = [0.30, 0.31, 0.32][: len(deep)]
    found = branches({"resnet-56": deep, "resnet-20": shallow})
    assert found.verdict == outcome
    assert found.effect == pytest.approx(float(np.exp(np.log(deep).mean())))


def test_the_trend_over_blocks_is_their_power() -> None:
    found = branches({"resnet-56": [0.5, 0.5], "resnet-20": [0.9, 0.9]}, power=-0.5)
    assert "Within resnet-56 it goes with block number l as l^-0.50" in found.reason


def test_branches_need_two_residual_depths_and_a_step_of_training() -> None:
    assert branches({"resnet-56": [0.1, 0.1], "plain-20": [0.1, 0.1]}).verdict == "not tested"


def test_responses_of_the_initialisation_alone_are_no_evidence() -> None:
    names = ("plain-56", "resnet-20", "resnet-56")
    rows = [member(name, seed) for name in names for seed in range(2)]
    whole = [recordings(row, response=0.5 if "res" in row["network"] else 1.0) for row in rows]
    assert verdict(as_runs(rows, whole), RESPONSES).verdict != "not tested"
    assert "gamma and beta alone" in verdict(as_runs(rows, whole), RESPONSES).reason
    start = [one[one["step"] == 0] for one in whole]
    assert verdict(as_runs(rows, start), RESPONSES).verdict == "not tested"
