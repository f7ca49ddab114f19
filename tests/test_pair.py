"""The verdict on a pair: plain against residual at equal depth, on runs with a chosen truth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import as_runs, demo_runs, member
from test_false_positives import ALPHA, DRAWS, FAR, Case, at_most, outcomes

from analysis.claims import Verdict, evaluate_pairs, format_verdicts, verdicts_json
from analysis.claims import pair as pairs
from analysis.claims.contrast import Contrast
from analysis.claims.pair import MARGIN, PAIR, all_pairs
from analysis.statistics import t_interval
from resnet_lab.runs.frames import Runs

PLAIN, RESIDUAL = "plain-34", "resnet-34"
IMAGENET = {"data": "imagenet", "protocol": "1281167/50000", "iterations": 600_000}


def trained(errors: Mapping[str, Sequence[tuple[float, float] | float]], **settings: Any) -> Runs:
    """Runs of networks with (training, test) errors, or one for both, seed by seed."""
    rows = []
    for network, values in errors.items():
        for seed, value in enumerate(values):
            train, test = value if isinstance(value, tuple) else (value, value)
            rows.append(member(network, seed, train, test_error=test, **settings))
    return as_runs(rows)


def only(runs: Runs) -> Verdict:
    (found,) = evaluate_pairs(runs)
    return found


def with_status(runs: Runs, network: str, status: str, seeds: Sequence[int]) -> Runs:
    """The same runs, in which these seeds of a network have another status, and no errors."""
    here = (runs.runs["network"] == network) & runs.runs["seed"].isin(seeds)
    runs.runs.loc[here, "status"] = status
    runs.runs.loc[here, ["train_error", "test_error", "validation_error"]] = float("nan")
    return runs


def test_the_papers_pair_of_34_layers_is_supported_with_its_paired_intervals() -> None:
    runs = trained(
        {PLAIN: [(33.0, 28.4), (33.5, 28.6), (33.1, 28.7)], RESIDUAL: [(28, 25), (28.2, 25.1), 28]},
        **IMAGENET,
    )
    runs.runs.loc[runs.runs["train_error"] == 28, "test_error"] = 25.0
    found = only(runs)
    # training differences 5.0, 5.3, 5.1; test differences 3.4, 3.5, 3.7
    low, high = (float(one) for one in t_interval(5.4 / 3 + 10 / 3, 0.1527525, 3))
    assert (found.id, found.verdict, found.n) == ("pair", "supported", 3)
    assert found.title == "shortcuts help at 34 layers"
    assert found.effect == pytest.approx(15.4 / 3)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.evidence == (
        "plain-34 minus resnet-34 training error 5.1 points, 95 % interval [4.8, 5.5], n = 3; "
        "test error 3.5 points, 95 % interval [3.2, 3.9], n = 3"
    )
    for text in (
        "At 34 layers the residual network has the lower training and test error",
        "training error at the end: seeds 0, 1, 2: plain-34 33.00, 33.50, 33.10; resnet-34 28.00",
        "averaged over training: plain-34 minus resnet-34 training error 2.6 points",
        "plain-34 worse at every point after warm-up",
        "test error at the end: seeds 0, 1, 2: plain-34 28.40, 28.60, 28.70; resnet-34 25.00",
    ):
        assert text in found.reason


@pytest.mark.parametrize("shift", [0.06, -0.06, 0.5])
def test_a_tie_at_18_layers_is_equivalence_even_where_its_interval_excludes_0(shift: float) -> None:
    errors = [27.90, 27.88, 27.86]
    plain = [value + shift + 0.001 * k for k, value in enumerate(errors)]
    found = only(trained({"plain-18": plain, "resnet-18": errors}, **IMAGENET))
    assert found.verdict == "equivalent"
    assert found.comparison == "a tie at 18 layers: within 1 point"
    assert "At 18 layers the two tie at the end" in found.reason


def test_a_tie_at_the_end_says_which_network_was_slower() -> None:
    runs = trained({"plain-18": [27.9, 27.8, 27.9], "resnet-18": [27.9, 27.8, 27.9]}, **IMAGENET)
    slow = runs.metrics["network"].eq("plain-18") & runs.metrics["step"].lt(500_000)
    runs.metrics.loc[slow, "value"] += 6 + 0.01 * runs.metrics.loc[slow, "run"].str[-1].astype(int)
    found = only(runs)
    assert found.verdict == "equivalent"
    assert "; over training plain-18 is 5.1 points worse on average" in found.comparison


def test_ties_at_18_and_a_difference_at_34_layers_are_two_verdicts() -> None:
    runs = trained(
        {
            "plain-18": [27.94, 27.90, 27.95],
            "resnet-18": [27.88, 27.87, 27.88],
            PLAIN: [28.54, 28.50, 28.60],
            RESIDUAL: [25.03, 25.05, 25.00],
        },
        **IMAGENET,
    )
    assert [(one.title, one.verdict) for one in evaluate_pairs(runs)] == [
        ("shortcuts help at 18 layers", "equivalent"),
        ("shortcuts help at 34 layers", "supported"),
    ]


@pytest.mark.parametrize(
    ("plain", "residual", "outcome", "reason"),
    [
        ([10, 10.2, 10.1], [20, 20.1, 20.1], "refuted", "the plain network has the lower training"),
        ([10, 20, 30], [12, 15, 33], "undecided", "neither exclude 0"),
        ([(10, 30), (11, 31), (10, 30.5)], [(20, 20), (21, 21), (20, 20)], "undecided", "favour"),
        ([(0, 9), (0, 9.1), (0, 9.2)], [(0, 6), (0, 6.1), (0, 6.1)], "supported", "lower test"),
        ([12.0, 14.4, 13.0], [10, 12, 9], "undecided", "by too little for so few seeds"),
        ([88, 89, 90], [87, 89, 89], "not under this recipe", "Nothing was learnt"),
        ([88, 89, 90], [20, 21, 20], "supported", "lower training and test error"),
        ([20], [10], "undecided", "One seed gives no interval: train more seeds"),
    ],
)
def test_outcomes(plain: list, residual: list, outcome: str, reason: str) -> None:
    found = only(trained({PLAIN: plain, RESIDUAL: residual}))
    assert (found.verdict, found.n) == (outcome, len(plain))
    assert reason in found.reason
    assert ("n = 1, no interval" in found.evidence) == (len(plain) == 1)


def test_the_power_of_an_undecided_pair_stands_beside_what_the_paper_has() -> None:
    found = only(trained({PLAIN: [26, 30, 29], RESIDUAL: [25, 26, 24.5]}, **IMAGENET))
    assert found.verdict == "undecided"
    assert found.power.startswith("Detectable difference: ")
    assert "plain-34 minus resnet-34 is 3.51 points in R Tables 2, 3" in found.power


def test_every_shortcut_width_and_ordering_has_its_own_pair() -> None:
    networks = ["plain-20", "resnet-20", "resnet-20-B", "resnet-20-C", "plain-56"]
    networks += ["plain-20-x0.5", "resnet-20-x0.5", "plain-20-preact", "resnet-20-preact"]
    runs = trained({network: [5.0, 6.0] for network in networks})
    found = [(pair.plain, pair.residual, pair.group.settings["width"]) for pair in all_pairs(runs)]
    assert found == [
        ("plain-20", "resnet-20", 1.0),
        ("plain-20", "resnet-20-B", 1.0),
        ("plain-20", "resnet-20-C", 1.0),
        ("plain-20", "resnet-20", 0.5),
        ("plain-20", "resnet-20", 1.0),
    ]
    assert all_pairs(runs)[-1].group.settings["ordering"] == "preactivation"


def test_without_test_images_validation_error_stands_in() -> None:
    runs = trained({PLAIN: [20, 21, 20], RESIDUAL: [10, 11, 10]})
    runs.runs["test_error"] = float("nan")
    runs.runs["validation_error"] -= 1
    found = only(runs)
    assert found.verdict == "supported"
    assert "; validation error 10.0 points, 95 % interval" in found.evidence
    runs = trained({PLAIN: [20, 21, 20], RESIDUAL: [10, 11, 10]})
    runs.runs[["test_error", "validation_error"]] = float("nan")
    found = only(runs)
    assert found.verdict == "supported"
    assert found.evidence.endswith("points, 95 % interval [9.9, 10.1], n = 3")


def test_one_collapsed_seed_is_counted_and_not_averaged() -> None:
    runs = trained({PLAIN: [20, 21, 20, 89.9], RESIDUAL: [10, 11, 10, 11]})
    found = only(runs)
    assert (found.verdict, found.n) == ("supported", 3)
    assert found.effect == pytest.approx(10.0)
    assert "Seeds lost: plain-34 1 of 4 (0 diverged, 1 collapsed" in found.reason
    assert "Seeds without a partner: resnet-34 3." in found.reason


def test_a_lower_error_of_the_seeds_that_are_left_decides_nothing() -> None:
    runs = trained({PLAIN: [20, 21, 20, 21], RESIDUAL: [10, 11, 10, 89.9]})
    found = only(runs)
    assert found.verdict == "undecided"
    assert "leaving lost seeds out decides nothing" in found.reason


def test_a_tie_of_the_seeds_that_are_left_is_no_tie() -> None:
    runs = trained({PLAIN: [10, 11, 10, 89.9], RESIDUAL: [10, 11, 10, 11]})
    assert only(runs).verdict == "undecided"


@pytest.mark.parametrize(("n", "outcome"), [(3, "undecided"), (4, "supported")])
def test_where_all_plain_seeds_diverge_rates_are_compared(n: int, outcome: str) -> None:
    runs = trained({PLAIN: [20] * n, RESIDUAL: [10] * n})
    found = only(with_status(runs, PLAIN, "diverged", range(n)))
    assert (found.verdict, found.effect, found.n) == (outcome, None, n)
    assert found.evidence == (
        f"seeds that diverged or collapsed: plain-34 {n} of {n}, resnet-34 0 of {n}"
    )


def test_runs_that_cannot_be_compared_say_why() -> None:
    runs = trained({PLAIN: [20, 21], RESIDUAL: [10, 11]})
    runs.runs.loc[runs.runs["network"] == RESIDUAL, "seed"] += 5
    found = only(runs)
    assert (found.verdict, found.effect) == ("not tested", None)
    assert found.evidence == (
        "plain-34 and resnet-34: they share no seed (plain-34 has 0, 1; resnet-34 has 5, 6), and "
        "only runs of one seed saw the same batches"
    )
    runs = trained({PLAIN: [20, 21], RESIDUAL: [10, 11]})
    found = only(with_status(runs, RESIDUAL, "running", [0, 1]))
    assert "no run of resnet-34 has come to its end (2 running)" in found.evidence


def test_runs_without_a_pair_say_what_a_pair_needs() -> None:
    found = only(trained({"plain-20": [20, 21], RESIDUAL: [10, 11]}))
    assert (found.verdict, found.sweep) == ("not tested", PAIR.sweep)
    assert found.evidence.startswith("needs a plain network and its residual twin")
    assert only(as_runs([])).verdict == "not tested"


def test_settings_that_differ_keep_a_pair_apart() -> None:
    rows = [member(PLAIN, seed, 20, lr=0.1) for seed in range(3)]
    rows += [member(RESIDUAL, seed, 10, lr=0.05) for seed in range(3)]
    assert only(as_runs(rows)).verdict == "not tested"


def test_text_and_json_have_every_pair() -> None:
    found = evaluate_pairs(demo_runs())
    lines = format_verdicts(found).splitlines()
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "shortcuts help at 8 layers: equivalent",
        "shortcuts help at 20 layers: supported",
        "shortcuts help at 56 layers: supported",
    ]
    rows = json.loads(verdicts_json(found))
    assert [(row["id"], row["n"]) for row in rows] == [("pair", 3)] * 3


def rule(alone: Sequence[Contrast], joint: Sequence[Contrast]) -> Any:
    """Training error at the end, held-out error at the end, training error over training."""
    return pairs.judge(alone[:2], joint[:2], alone[2])[0]


SUPPORT = Case(
    "pair",
    rule,
    ((0, 0, 0), (0, 0, FAR), (FAR, 0, 0), (-MARGIN, FAR, FAR), (FAR, -MARGIN, FAR)),
    (FAR, FAR, FAR),
    comparisons=2,
)
TIE = Case(
    "pair",
    rule,
    ((MARGIN, 0, 0), (0, -MARGIN, 0), (-MARGIN, -MARGIN, 0), (MARGIN, -MARGIN, FAR)),
    (0, 0, FAR),
    0.05,
    2,
    "equivalent",
)


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("case", [SUPPORT, TIE], ids=["support", "tie"])
def test_chance_decides_a_pair_no_more_often_than_its_level(
    case: Case, n: int, shared: bool
) -> None:
    for null in case.nulls:
        found = outcomes(case, null, n, shared)
        assert found.count(case.found) / DRAWS <= at_most(ALPHA / 2), null
        if case is SUPPORT:
            assert found.count("refuted") / DRAWS <= at_most(ALPHA / 2), null


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("case", [SUPPORT, TIE], ids=["support", "tie"])
def test_a_large_difference_and_a_close_tie_are_found(case: Case, n: int) -> None:
    found = outcomes(case, case.truth, n, shared=False, draws=200)
    assert found.count(case.found) >= 190
    assert set(outcomes(case, case.truth, 1, shared=False, draws=20)) == {"undecided"}


def test_curves_of_the_test_images_are_averaged_where_they_were_followed() -> None:
    runs = trained({PLAIN: [20, 21, 20], RESIDUAL: [10, 11, 10]})
    assert all_pairs(runs)[0].followed == "validation"
    curve = runs.metrics[runs.metrics["split"] == "train"].assign(split="test")
    metrics = pd.concat([runs.metrics[runs.metrics["split"] != "test"], curve], ignore_index=True)
    found = only(Runs(runs.runs, metrics, runs.layers))
    assert (
        found.reason.count("averaged over training: plain-34 minus resnet-34 training error") == 1
    )
    assert "averaged over training: plain-34 minus resnet-34 test error 5.0 points" in found.reason
