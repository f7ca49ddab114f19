from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_runs import as_runs, demo_runs, member, recordings

from analysis.claims import (
    ALPHA,
    CLAIMS,
    Claim,
    Verdict,
    evaluate_claims,
    format_verdicts,
    verdicts_frame,
    verdicts_json,
)
from analysis.claims.contrast import Contrast
from analysis.claims.project.degradation import judge
from analysis.groups import split_groups
from analysis.statistics import detectable, power, t_interval
from resnet_lab.runs.frames import Runs

DEGRADED, REVERSED, RESPONSES, GRADIENTS = (
    "1-degradation",
    "2-reversal",
    "5-responses",
    "7-gradients",
)
TESTED = ("8-explosion-rate", "9-freeze")
"""Claims that `demo_runs` tests as well."""


@pytest.fixture(scope="module")
def demo() -> list[Verdict]:
    return evaluate_claims(demo_runs())


@pytest.fixture(scope="module")
def single() -> list[Verdict]:
    return evaluate_claims(demo_runs(seeds=(0,)))


def verdict(runs: Runs, claim: str) -> Verdict:
    found = [one for one in evaluate_claims(runs) if one.id == claim]
    assert len(found) == 1
    return found[0]


def trained(errors: dict[str, list[float]], **settings: object) -> Runs:
    """Runs with these final training errors, one a seed."""
    rows = [
        member(network, seed, error, **settings)
        for network, values in errors.items()
        for seed, error in enumerate(values)
    ]
    return as_runs(rows)


def test_every_claim_holds_where_the_truth_is_made_so(demo: list[Verdict]) -> None:
    tested = [one for one in demo if one.verdict != "not tested"]
    assert [one.id for one in tested] == [DEGRADED, REVERSED, RESPONSES, GRADIENTS, *TESTED]
    outcomes = {one.id: one.verdict for one in tested}
    assert outcomes.pop("8-explosion-rate") == "equivalent"
    assert set(outcomes.values()) == {"supported"}
    assert [one.title for one in tested[:4]] == [
        "degradation",
        "reversed by shortcuts",
        "smaller responses",
        "gradients do not vanish",
    ]


def test_every_verdict_says_what_it_needs_and_what_would_test_it(demo: list[Verdict]) -> None:
    assert [one.id for one in demo] == [claim.id for claim in CLAIMS]
    for found, claim in zip(demo, CLAIMS, strict=True):
        assert (found.needs, found.sweep, found.smallest) == (
            claim.needs,
            claim.sweep,
            claim.smallest,
        )
        assert all((found.needs, found.sweep, found.smallest, found.rule, found.source))


def test_claims_are_numbered_as_the_paper_and_this_project_count_them() -> None:
    numbers = [int(claim.id.split("-")[0]) for claim in CLAIMS]
    assert numbers == list(range(1, 14))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claims_sweep_exists_and_says_where_it_has_one_seed(claim: Claim) -> None:
    files = re.findall(r"sweeps/\w+\.yaml", claim.sweep)
    root = Path(__file__).parents[1]
    seeds = [
        yaml.safe_load((root / file).read_text(encoding="utf-8"))["parameters"]["seed"]["values"]
        for file in files
    ]
    assert files or claim.sweep.startswith("resnet-lab train ")
    single = any(len(one) < 2 for one in seeds)
    assert claim.sweep.endswith("with more seeds") == single


def test_degradation_has_the_paired_difference_and_its_joint_interval() -> None:
    runs = trained({"plain-8": [1, 2, 3], "plain-20": [5, 5, 5], "plain-56": [51, 53, 52]})
    found = verdict(runs, DEGRADED)
    # differences to plain-8 are 50, 51, 49; two comparisons, so t at 1 - 0.05 / 2
    half = 6.2053 / 3**0.5
    assert (found.verdict, found.n) == ("supported", 3)
    assert found.effect == pytest.approx(50.0)
    assert found.low == pytest.approx(50 - half, abs=1e-3)
    assert found.high == pytest.approx(50 + half, abs=1e-3)
    assert found.evidence == (
        "plain-56 minus plain-8 training error 50.0 points, 95 % interval [46.4, 53.6], n = 3"
    )
    assert "averaged over all of training: plain-56 minus plain-8" in found.reason
    assert "25.0 points" in found.reason


def test_one_seed_leaves_every_claim_undecided_without_interval(single: list[Verdict]) -> None:
    tested = [found for found in single if found.verdict != "not tested"]
    assert len(tested) == 4 + len(TESTED)
    for found in tested:
        assert found.verdict == "undecided"
        assert (found.low, found.high, found.n) == (None, None, 1)
        assert "n = 1, no interval" in found.evidence
        assert "One seed gives no interval" in found.reason
        assert (found.power, found.detectable) == ("", None)
        assert found.effect is not None


def test_a_verdict_says_what_its_seeds_could_have_found() -> None:
    found = verdict(trained({"plain-8": [1, 2, 3], "plain-56": [51, 53, 52]}), DEGRADED)
    # differences of 50, 51 and 49, so an sd of 1; three seeds decide at 99 %
    assert found.detectable == pytest.approx(detectable(1.0, 3, 0.99))
    assert power(found.detectable, 1.0, 3, 0.99) == pytest.approx(0.8)
    assert found.power == ""


def test_power_stands_beside_undecided_verdicts_alone() -> None:
    found = verdict(trained({"plain-8": [4, 6, 5], "plain-56": [6, 5, 4.5]}), DEGRADED)
    assert found.verdict == "undecided"
    assert re.fullmatch(
        r"Detectable difference: 12 points \(80 % power; 6.1 points to 74 points, as 3 seeds know "
        r"their spread\)\.",
        found.power,
    )


def test_a_deeper_net_that_is_better_everywhere_refutes_degradation() -> None:
    found = verdict(trained({"plain-8": [9, 9.5, 9.2], "plain-56": [4, 4.5, 4.3]}), DEGRADED)
    assert found.verdict == "refuted"
    assert found.high is not None
    assert found.high < 0


def test_better_than_the_shallowest_but_worse_than_the_middle_is_degradation() -> None:
    runs = trained({"plain-8": [20, 20.1, 20], "plain-20": [2, 2, 2.1], "plain-56": [9, 9, 9]})
    found = verdict(runs, DEGRADED)
    assert found.verdict == "supported"
    assert found.evidence.startswith("plain-56 minus plain-20")


def test_worse_at_the_end_but_not_along_training_is_undecided() -> None:
    runs = trained({"plain-8": [1, 1.1, 0.9], "plain-56": [5, 5.1, 4.9]})
    slow = (runs.metrics["network"] == "plain-8") & runs.metrics["step"].between(1, 150)
    runs.metrics.loc[slow, "value"] += 20
    assert verdict(runs, DEGRADED).verdict == "undecided"


def test_without_curves_the_end_alone_is_tested_and_said() -> None:
    rows = [member("plain-8", s, 1 + s / 10) for s in range(3)]
    rows += [member("plain-56", s, 50 + s) for s in range(3)]
    found = verdict(as_runs(rows, curves=False), DEGRADED)
    assert found.verdict == "supported"
    assert "only the end was tested" in found.reason


def test_overlapping_errors_are_undecided() -> None:
    found = verdict(trained({"plain-8": [4, 6, 5], "plain-56": [6, 5, 4.5]}), DEGRADED)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    "setting",
    [
        {"data": "cifar10"},
        {"protocol": "1437"},
        {"iterations": 320},
        {"lr": 0.01},
        {"batch_size": 64},
        {"precision": "bfloat16"},
    ],
)
def test_runs_that_differ_in_a_setting_are_never_compared(setting: dict[str, object]) -> None:
    rows = [member("plain-8", s, 1.0 + s) for s in range(3)]
    rows += [member("plain-56", s, 50.0 + s, **setting) for s in range(3)]
    found = verdict(as_runs(rows), DEGRADED)
    assert found.verdict == "not tested"
    assert "plain networks of two depths" in found.evidence


@pytest.mark.parametrize("deep", ["plain-56-x0.5", "plain-56-nonorm", "plain-56-fanout"])
def test_networks_that_differ_in_more_than_depth_are_never_compared(deep: str) -> None:
    rows = [member("plain-8", s, 1.0 + s) for s in range(3)]
    rows += [member(deep, s, 50.0 + s) for s in range(3)]
    assert verdict(as_runs(rows), DEGRADED).verdict == "not tested"


def test_machine_and_speed_do_not_set_runs_apart() -> None:
    rows = [member("plain-8", s, 1.0 + s, device="cpu", wall_seconds=1.0) for s in range(3)]
    rows += [member("plain-56", s, 50.0 + 2 * s, device="H200") for s in range(3)]
    assert verdict(as_runs(rows), DEGRADED).verdict == "supported"


def test_each_group_of_alike_runs_has_its_own_verdict() -> None:
    rows = [
        member(network, seed, error + seed / 10, lr=lr)
        for lr, deep in ((0.1, 50.0), (0.01, 0.5))
        for network, error in (("plain-8", 2.0), ("plain-56", deep))
        for seed in range(3)
    ]
    rows += [member("plain-8", 9, 2.0)]
    found = [one for one in evaluate_claims(as_runs(rows)) if one.id == DEGRADED]
    assert [one.verdict for one in found] == ["supported", "refuted"]
    assert "lr 0.1" in found[0].protocol
    assert "lr 0.01" in found[1].protocol


def test_groups_with_one_recipe_are_told_apart_by_what_differs() -> None:
    rows = [member("plain-8", 0), member("plain-8", 1, momentum=0.5)]
    labels = [group.label for group in split_groups(as_runs(rows))]
    assert [label.rsplit(", ", 1)[1] for label in labels] == ["momentum 0.9", "momentum 0.5"]


def test_a_seed_trained_twice_counts_once() -> None:
    runs = trained({"plain-8": [1, 2], "plain-56": [50, 52]})
    again = runs.runs.assign(run="f" * 16, train_error=99.0)
    twice = Runs(pd.concat([runs.runs, again]), runs.metrics, runs.layers, [])
    found = verdict(twice, DEGRADED)
    assert found.n == 2
    assert found.effect == pytest.approx(49.5)


def lose(runs: Runs, network: str, seeds: list[int]) -> Runs:
    lost = (runs.runs["network"] == network) & runs.runs["seed"].isin(seeds)
    runs.runs.loc[lost, "status"] = "diverged"
    runs.runs.loc[lost, "train_error"] = np.nan
    return runs


def better(deep: list[float] | None = None) -> Runs:
    """Five seeds of a deep plain network that trains better than the shallow one."""
    return trained({"plain-8": [9, 9.1, 9.2, 9, 9.1], "plain-56": deep or [4, 4.1, 4.3, 4.2, 4]})


def test_diverged_seeds_are_never_left_out_to_refute_degradation() -> None:
    assert verdict(better(), DEGRADED).verdict == "refuted"
    found = verdict(lose(better(), "plain-56", [0, 1, 2]), DEGRADED)
    assert found.verdict == "undecided"
    # Clopper-Pearson of 3 of 5
    assert "plain-56 3 of 5 (3 diverged, 0 collapsed; exact 95 % interval [15, 95] %)" in (
        found.reason
    )


def test_a_deep_network_that_loses_significantly_more_seeds_is_degraded() -> None:
    found = verdict(lose(better(), "plain-56", [0, 1, 2, 3]), DEGRADED)
    assert found.verdict == "supported"  # Fisher: 4 of 5 against 0 of 5, p = 0.048
    every = verdict(lose(better(), "plain-56", [0, 1, 2, 3, 4]), DEGRADED)
    assert (every.verdict, every.effect) == ("supported", None)
    assert every.evidence == "seeds that diverged or collapsed: plain-8 0 of 5, plain-56 5 of 5"


def test_collapsed_seeds_are_counted_and_not_averaged() -> None:
    found = verdict(better([4, 4.1, 4.3, 89.9, 90.1]), DEGRADED)
    assert (found.verdict, found.n) == ("undecided", 3)
    assert "plain-56 2 of 5 (0 diverged, 2 collapsed" in found.reason


def test_a_shallow_network_that_loses_seeds_is_not_the_better_one() -> None:
    errors = {"plain-8": [1, 2, 3, 2, 1], "plain-56": [51, 53, 52, 52, 51]}
    assert verdict(trained(errors), DEGRADED).verdict == "supported"
    assert verdict(lose(trained(errors), "plain-8", [0, 1]), DEGRADED).verdict == "undecided"


@pytest.mark.parametrize("claim", [DEGRADED, REVERSED])
def test_networks_at_chance_test_no_claim(claim: str) -> None:
    errors = {"plain-8": 84.0, "plain-56": 89.0, "resnet-8": 85.0, "resnet-56": 84.0}
    runs = trained({name: [e, e + 0.1, e + 0.05] for name, e in errors.items()})
    found = verdict(runs, claim)
    assert found.verdict == "not under this recipe"
    assert "training error, and guessing gives 90 % (learnt: below 81 %)" in found.reason


def test_a_residual_network_whose_seeds_diverge_reverses_nothing() -> None:
    errors = {"plain-56": [50, 52, 51, 50], "resnet-8": [2.0] * 4, "resnet-56": [0.1] * 4}
    assert verdict(trained(errors), REVERSED).verdict == "supported"
    assert verdict(lose(trained(errors), "resnet-56", [3]), REVERSED).verdict == "undecided"


def test_an_interval_that_skewed_seeds_show_too_often_decides_nothing() -> None:
    found = verdict(trained({"plain-8": [1.0, 1.0, 1.0], "plain-56": [2.0, 2.1, 1.6]}), DEGRADED)
    assert (found.verdict, found.low and found.low > 0) == ("undecided", True)
    assert "by too little for so few seeds" in found.reason


def test_every_seed_and_the_correlation_of_pairs_stand_beside_a_mean() -> None:
    found = verdict(trained({"plain-8": [1, 2, 3], "plain-56": [51, 53, 52]}), DEGRADED)
    assert (
        "seeds 0, 1, 2: plain-56 51.0, 53.0, 52.0; plain-8 1.0, 2.0, 3.0 (correlation of the "
        in (found.reason)
    )
    assert "pairs 0.50)" in found.reason
    assert "worse at every point after warm-up" in found.reason


def test_diverged_and_running_members_are_left_out_and_named() -> None:
    runs = trained({"plain-8": [1, 2, 1.5], "plain-56": [50, 52, 51]})
    lost = (runs.runs["network"] == "plain-56") & (runs.runs["seed"] == 2)
    runs.runs.loc[lost, "status"] = "diverged"
    found = verdict(runs, DEGRADED)
    assert found.n == 2
    assert "Left out: plain-56 seed 2 (diverged)." in found.reason


def reversal(deep_residual: list[float], plain: list[float] | None = None) -> Verdict:
    errors = {
        "plain-56": plain or [50, 52, 51],
        "resnet-8": [2.0, 2.1, 2.2],
        "resnet-56": deep_residual,
    }
    return verdict(trained(errors), REVERSED)


def test_reversal_shows_the_gain_over_the_plain_twin() -> None:
    found = reversal([0.1, 0.2, 0.1])
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(-50.8667, abs=1e-3)
    assert found.evidence.startswith("resnet-56 minus plain-56 training error -50.9 points")
    assert "resnet-56 minus resnet-8" in found.reason


def test_a_deep_residual_net_that_is_not_the_better_one_has_removed_the_degradation() -> None:
    found = reversal([2.5, 2.6, 2.7])
    assert found.verdict == "equivalent"
    assert found.comparison == (
        "degradation removed; which residual depth is better cannot be seen"
    )


def test_at_the_floor_which_depth_is_better_cannot_be_seen() -> None:
    errors = {"plain-56": [50, 52, 51], "resnet-8": [0.0] * 3, "resnet-56": [0.0] * 3}
    found = verdict(trained(errors), REVERSED)
    assert found.verdict == "equivalent"
    assert found.comparison.endswith("which residual depth is better cannot be seen")
    assert "all 3 seeds of both 0 of 1,294 images" in found.reason


def test_seeds_without_any_spread_have_an_interval_as_wide_as_the_images_resolve() -> None:
    found = verdict(trained({"plain-8": [1.0] * 3, "plain-56": [5.0] * 3}), DEGRADED)
    # two errors, each rounded to one of 1,294 images: 100 / 1294 / sqrt(6) points
    half = 4.3027 * 100 / 1294 / 6**0.5 / 3**0.5
    assert (found.low, found.high) == (pytest.approx(4 - half), pytest.approx(4 + half))


def test_a_deep_residual_net_clearly_worse_than_the_shallow_one_refutes_reversal() -> None:
    assert reversal([22.0, 22.1, 22.2]).verdict == "refuted"


def test_a_deep_residual_net_worse_than_its_plain_twin_refutes_reversal() -> None:
    assert reversal([2.1, 2.2, 2.3], plain=[1.0, 1.0, 1.0]).verdict == "refuted"


def test_a_noisy_deep_residual_net_leaves_reversal_undecided() -> None:
    assert reversal([0.0, 2.0, 6.0]).verdict == "undecided"


def test_reversal_needs_the_plain_twin() -> None:
    runs = trained({"resnet-8": [2, 2.1], "resnet-56": [1, 1.1], "plain-20": [3, 3]})
    assert verdict(runs, REVERSED).verdict == "not tested"


def responses(plain: float, shallow: float, deep: float, noise: float = 0.01) -> Verdict:
    rows, layers = [], []
    levels = {"plain-20": plain, "resnet-8": shallow, "resnet-20": deep}
    for seed, factor in enumerate(np.exp([-noise, 0.0, noise])):
        for network, level in levels.items():
            rows.append(member(network, seed))
            tilt = factor if network == "resnet-20" else 1.0
            layers.append(recordings(rows[-1], response=level * tilt, spread=0.0))
    return verdict(as_runs(rows, layers), RESPONSES)


def test_response_effect_is_the_ratio_of_geometric_means() -> None:
    found = responses(1.0, 0.8, 0.5)
    assert found.verdict == "supported"
    assert found.unit == "ratio"
    assert found.effect == pytest.approx(0.5)
    half = 4.3027 * 0.01 / 3**0.5
    assert found.low == pytest.approx(0.5 * np.exp(-half), rel=1e-4)
    assert found.high == pytest.approx(0.5 * np.exp(half), rel=1e-4)
    assert found.evidence.startswith("resnet-20 over plain-20 response std 0.500")


def test_larger_residual_responses_refute_the_claim() -> None:
    assert responses(0.5, 0.8, 0.7).verdict == "refuted"


def test_responses_that_grow_with_depth_refute_the_claim() -> None:
    assert responses(1.0, 0.5, 0.8).verdict == "refuted"


def test_responses_that_differ_less_than_their_noise_are_undecided() -> None:
    assert responses(1.0, 0.9, 0.85, noise=0.3).verdict == "undecided"


def gradients(rates: list[float], network: str = "plain-20") -> Verdict:
    rows = [member(network, seed) for seed in range(len(rates))]
    layers = [recordings(row, growth=rate) for row, rate in zip(rows, rates, strict=True)]
    return verdict(as_runs(rows, layers), GRADIENTS)


def test_growth_above_one_supports_claim_seven() -> None:
    found = gradients([1.19, 1.20, 1.21])
    assert (found.verdict, found.n, found.unit) == ("supported", 3, "growth per layer")
    assert found.effect == pytest.approx(1.2, abs=1e-4)
    assert found.low is not None
    assert 1.17 < found.low < 1.19
    assert "1.2112" in found.reason
    assert re.search(r"Stem over last convolution at step 0: plain-20 26\.\d", found.reason)


def test_gradients_that_shrink_towards_the_input_refute_claim_seven() -> None:
    assert gradients([0.8, 0.81, 0.82]).verdict == "refuted"


def test_growth_scattered_around_one_is_undecided() -> None:
    assert gradients([0.9, 1.0, 1.1]).verdict == "undecided"


def test_claim_seven_is_about_batch_norm() -> None:
    assert gradients([0.8, 0.81], "plain-20-nonorm").verdict == "not tested"


def test_the_freeze_of_the_deep_plain_stem_is_reported(demo: list[Verdict]) -> None:
    found = next(one for one in demo if one.id == GRADIENTS)
    assert "plain-56 in 3 of 3 runs (from step 16)" in found.reason
    assert "resnet-56 in 0 of 3 runs" in found.reason


def test_no_runs_test_no_claim() -> None:
    verdicts = evaluate_claims(as_runs([]))
    assert [one.verdict for one in verdicts] == ["not tested"] * len(CLAIMS)
    assert all(one.evidence.startswith("needs ") for one in verdicts)


def null_outcomes(draws: int, depths: tuple[int, ...]) -> list[str]:
    """Outcomes of claim 1's rule where every plain network has the same distribution of errors."""
    seeds = 3
    values = np.random.default_rng(1).normal(20, 2, (len(depths), draws, seeds))
    *shallower, deepest = [f"plain-{depth}" for depth in depths]
    found = []
    for network, own in zip(shallower, values[:-1], strict=True):
        differences = values[-1] - own
        mean, sd = differences.mean(axis=1), differences.std(axis=1, ddof=1)
        low, high = t_interval(mean, sd, seeds, 1 - ALPHA / len(shallower))
        bounds = zip(mean.tolist(), low.tolist(), high.tolist(), strict=True)
        found.append([Contrast(deepest, network, *one, seeds) for one in bounds])
    return [judge(contrasts, [])[0] for contrasts in zip(*found, strict=True)]


@pytest.mark.parametrize("depths", [(8, 56), (8, 20, 32, 56)])
def test_degradation_is_found_by_chance_no_more_often_than_its_level(
    depths: tuple[int, ...],
) -> None:
    draws = 4000
    outcomes = null_outcomes(draws, depths)
    decided = 1 - outcomes.count("undecided") / draws
    level = ALPHA / 5  # three seeds decide at 99 %
    assert decided <= level + 3 * (level * (1 - level) / draws) ** 0.5
    assert 0.001 < outcomes.count("supported") / draws <= level / 2 + 0.005


def test_text_has_one_line_a_verdict_under_its_protocol(demo: list[Verdict]) -> None:
    lines = format_verdicts(demo).splitlines()
    assert lines[0].startswith("digits, protocol 1294/143, 160 iterations, batch 128, lr 0.1")
    assert lines[0].endswith("width x0.5:")
    heads = [line for line in lines[1:] if not line.startswith(" ")]
    assert heads[0].startswith("degradation: supported (plain-56 minus plain-8 training error 55.9")
    assert heads[1].startswith("reversed by shortcuts: supported (resnet-56 minus plain-56")
    assert [line for line in heads if line in ("", "not tested:")] == ["", "not tested:"]
    assert len(heads) == len(CLAIMS) + 2
    assert all(len(line) <= 100 for line in lines if line.startswith(" "))


def test_claims_that_were_not_tested_come_last() -> None:
    runs = trained({"plain-8": [1, 2, 1.5], "plain-56": [50, 52, 51]})
    text = format_verdicts(evaluate_claims(runs))
    assert "not tested:\nreversed by shortcuts: not tested (needs residual networks" in text
    assert "    to test it: " not in text
    text = format_verdicts(evaluate_claims(runs), why=True)
    assert "    to test it: sweeps/paper_table3_shortcuts.yaml, with more seeds\n" in text
    assert "    The deeper plain network fits its own training data worse" in text


def test_json_holds_every_number_and_null_for_none(single: list[Verdict]) -> None:
    rows = json.loads(verdicts_json(single))
    assert [row["id"] for row in rows] == [claim.id for claim in CLAIMS]
    assert rows[0]["effect"] == pytest.approx(54.8)
    assert (rows[0]["low"], rows[0]["high"], rows[0]["n"]) == (None, None, 1)


def test_frame_has_one_row_a_verdict_with_numeric_bounds(demo: list[Verdict]) -> None:
    frame = verdicts_frame(demo)
    tested = frame[frame["verdict"].isin(["supported", "equivalent"])]
    assert len(tested) == 4 + len(TESTED)
    exact = tested["id"] == "9-freeze"  # the same update in every seed
    assert (tested["low"] < tested["effect"])[~exact].all()
    assert (tested["effect"] < tested["high"])[~exact].all()
    assert frame.loc[frame["verdict"] == "not tested", "detectable"].isna().all()
    assert verdicts_frame([]).empty
