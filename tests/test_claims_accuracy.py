"""Claims on held-out error: the tie at 20 layers, shortcuts, overfitting, pre-activation."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import as_runs, member

from analysis.claims import Verdict, evaluate_claims, format_verdicts
from resnet_lab.runs.frames import Runs

NOISE = (0.0, 0.1, -0.1)
"""What three seeds add to an error, so that pairs differ by it alone."""


def accuracies(
    errors: dict[str, float], noise: dict[str, tuple[float, ...]] | None = None, **settings: object
) -> Runs:
    """CIFAR-10 runs with these test errors and three seeds; training errors 2 points lower."""
    rows = [
        member(
            network,
            seed,
            **{
                "train_error": max(0.0, error + extra - 2),
                "test_error": error + extra,
                "data": "cifar10",
                **settings,
            },
        )
        for network, error in errors.items()
        for seed, extra in enumerate((noise or {}).get(network, NOISE))
    ]
    runs = as_runs(rows)
    return replace(runs, runs=runs.runs.assign(test_images=10_000))


def verdicts(runs: Runs, claim: str) -> list[Verdict]:
    return [one for one in evaluate_claims(runs) if one.id == claim]


def verdict(runs: Runs, claim: str) -> Verdict:
    (found,) = verdicts(runs, claim)
    return found


def slower(runs: Runs, network: str, points: float) -> Runs:
    """Raise the training curve of one network everywhere but at its end."""
    curve = (runs.metrics["network"] == network) & (runs.metrics["split"] == "train")
    early = curve & runs.metrics["step"].between(1, 150)
    runs.metrics.loc[early, "value"] += points + runs.metrics.loc[early, "run"].str[-1].astype(int)
    return runs


TIE = "3-tie-when-shallow"


def test_equal_errors_and_a_faster_residual_net_are_a_tie_with_speed() -> None:
    noise = {"plain-20": (0.1, 0.15, -0.05)}
    runs = slower(accuracies({"plain-20": 9.3, "resnet-20": 9.0}, noise), "plain-20", 8.0)
    found = verdict(runs, TIE)
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(-1.1 / 3)
    assert found.evidence.startswith("resnet-20 minus plain-20 test error -0.37 points")
    assert found.comparison == "within 1 point of each other"
    assert "resnet-20 9.00, 9.10, 8.90; plain-20 9.40, 9.45, 9.25" in found.reason
    assert "to an error that both reach in the first 25 % of training resnet-20 takes x0." in (
        found.reason
    )


def test_the_noise_floor_of_the_test_set_stands_beside_a_difference_of_test_errors() -> None:
    found = verdict(accuracies({"plain-20": 10.0, "resnet-20": 10.0}), TIE)
    # 100 sqrt(2 * 0.1 * 0.9 / 10,000)
    assert "10,000 images give a difference at these errors a standard error of at most 0.42" in (
        found.reason
    )


def test_errors_further_apart_than_the_margin_are_no_tie() -> None:
    assert verdict(accuracies({"plain-20": 12.0, "resnet-20": 9.0}), TIE).verdict == "refuted"


def test_a_faster_plain_net_refutes_the_tie() -> None:
    runs = slower(accuracies({"plain-20": 9.0, "resnet-20": 9.0}), "resnet-20", 8.0)
    assert verdict(runs, TIE).verdict == "refuted"


def test_equal_errors_and_equal_curves_leave_the_tie_undecided() -> None:
    assert verdict(accuracies({"plain-20": 9.0, "resnet-20": 9.0}), TIE).verdict == "undecided"


@pytest.mark.parametrize("data", ["digits", "imagenet"])
def test_the_tie_is_about_18_layers_on_imagenet_and_20_on_cifar(data: str) -> None:
    runs = accuracies({"plain-20": 9.0, "resnet-20": 9.0}, data=data)
    assert verdict(runs, TIE).verdict == "not tested"


SHORTCUTS = "4-shortcuts"
FOUR = {"plain-34": 28.5, "resnet-34": 25.0, "resnet-34-B": 24.5, "resnet-34-C": 24.2}


def imagenet(errors: dict[str, float], noise: dict[str, tuple[float, ...]] | None = None) -> Runs:
    return accuracies(errors, noise, data="imagenet")


def test_shortcuts_in_the_papers_order_are_supported() -> None:
    found = verdict(imagenet(FOUR), SHORTCUTS)
    assert found.verdict == "supported"
    assert found.evidence.startswith("resnet-34 minus resnet-34-B test error 0.50 points")
    assert "resnet-34-B minus resnet-34-C test error 0.30 points" in found.reason
    assert "plain-34 minus resnet-34 test error 3.5 points" in found.reason


@pytest.mark.parametrize(
    "other",
    [{"resnet-34-B": 25.5}, {"resnet-34-C": 24.9}, {"plain-34": 25.5}],
    ids=["B worse than A", "C worse than B", "plain near"],
)
def test_any_contrast_the_other_way_round_refutes_the_order(other: dict[str, float]) -> None:
    assert verdict(imagenet({**FOUR, **other}), SHORTCUTS).verdict == "refuted"


def test_shortcuts_that_differ_less_than_their_noise_are_undecided() -> None:
    noise = {"resnet-34-B": (1.0, -1.0, 0.0)}
    assert verdict(imagenet(FOUR, noise), SHORTCUTS).verdict == "undecided"


def test_shortcuts_that_differ_little_are_equivalent_and_say_what_the_order_takes() -> None:
    close = {**FOUR, "resnet-34-B": 24.98, "resnet-34-C": 24.96}
    found = verdict(imagenet(close, {"resnet-34-B": (0.02, 0.09, -0.1)}), SHORTCUTS)
    assert found.verdict == "equivalent"
    assert "within 1 point of each other, so projections are not essential" in found.comparison
    assert re.search(
        r"B minus C is 0.33 points: with this spread that takes \d+ seeds", found.reason
    )


def test_the_order_is_not_one_of_110_layers() -> None:
    deep = {name.replace("34", "110"): error for name, error in FOUR.items()}
    assert verdict(accuracies(deep), SHORTCUTS).verdict == "not tested"


def test_the_order_needs_all_four_arms_of_one_depth() -> None:
    three = {name: error for name, error in FOUR.items() if name != "resnet-34-C"}
    other = {**three, "resnet-18-C": 27.0}
    assert verdict(imagenet(other), SHORTCUTS).verdict == "not tested"


OVERFITTING = "6-overfitting"


def overfitted(train: float, deep: float, shallow: float = 6.6) -> Verdict:
    runs = accuracies({"resnet-1202": deep, "resnet-110": shallow})
    runs.runs.loc[runs.runs["network"] == "resnet-1202", "train_error"] = [
        train,
        train + 0.01,
        train + 0.02,
    ]
    return verdict(runs, OVERFITTING)


def test_a_fitted_net_of_1202_layers_that_tests_worse_overfits() -> None:
    found = overfitted(0.03, 7.9)
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(1.3)
    assert "resnet-1202 training error 0.040 %, 95 % interval [0.015, 0.065], n = 3" in found.reason


@pytest.mark.parametrize(("train", "deep"), [(0.5, 7.9), (0.03, 5.0)])
def test_a_net_that_does_not_fit_or_does_not_test_worse_refutes_overfitting(
    train: float, deep: float
) -> None:
    assert overfitted(train, deep).verdict == "refuted"


def test_a_training_error_around_the_limit_leaves_overfitting_undecided() -> None:
    assert overfitted(0.09, 7.9).verdict == "undecided"


PREACTIVATION = "11-preactivation"


def test_orderings_are_compared_across_groups_at_the_greatest_common_depth() -> None:
    errors = {
        "resnet-110": 6.6,
        "resnet-110-preact": 6.4,
        "resnet-1202": 7.9,
        "resnet-1202-preact": 5.9,
    }
    found = verdict(accuracies(errors), PREACTIVATION)
    assert found.verdict == "supported"
    assert found.evidence.startswith("resnet-1202 minus resnet-1202-preact test error 2.0 points")
    assert found.protocol == "cifar10, protocol 1294/143, 160 iterations, batch 128, lr 0.1"


def test_a_worse_preactivation_refutes_the_claim() -> None:
    errors = {"resnet-110": 6.0, "resnet-110-preact": 6.5}
    assert verdict(accuracies(errors), PREACTIVATION).verdict == "refuted"


def test_bottlenecks_are_a_group_of_their_own() -> None:
    errors = {"resnet-110": 6.6, "resnet-110-preact": 6.4, "resnet-164": 5.9}
    found = verdicts(accuracies({**errors, "resnet-164-preact": 5.5}), PREACTIVATION)
    assert [one.verdict for one in found] == ["supported", "supported"]
    assert [one.evidence.split(" test")[0] for one in found] == [
        "resnet-110 minus resnet-110-preact",
        "resnet-164 minus resnet-164-preact",
    ]


@pytest.mark.parametrize("deep", ["resnet-56", "resnet-110-bnafter"])
def test_preactivation_needs_both_orderings_at_great_depth(deep: str) -> None:
    errors = {deep: 6.6, "resnet-56-preact": 6.4, "resnet-110-preact": 6.4}
    assert verdict(accuracies(errors), PREACTIVATION).verdict == "not tested"


def test_orderings_trained_differently_are_never_compared() -> None:
    first, second = accuracies({"resnet-110": 6.6}), accuracies({"resnet-110-preact": 6.4}, lr=0.01)
    rows = [*first.runs.to_dict("records"), *second.runs.to_dict("records")]
    assert verdict(as_runs(rows), PREACTIVATION).verdict == "not tested"


def test_without_test_images_the_validation_error_is_compared() -> None:
    runs = accuracies({"resnet-110": 6.6, "resnet-110-preact": 6.4}, test_error=np.nan)
    found = verdict(replace(runs, runs=runs.runs.assign(test_images=0)), PREACTIVATION)
    assert "validation error 0.20 points" in found.evidence
    assert "noise floor" not in found.reason


def test_no_verdict_looks_at_the_best_evaluation_along_training() -> None:
    runs = accuracies({"plain-20": 9.3, "resnet-20": 9.0, "plain-56": 13.0, "resnet-56": 7.0})
    before = evaluate_claims(runs)
    runs.metrics.loc[runs.metrics["split"].isin(["validation", "test"]), "value"] = 0.0
    assert format_verdicts(evaluate_claims(runs)) == format_verdicts(before)
