"""Claim 3: at 18 layers plain and residual networks tie, but the residual one learns faster."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    Contrast,
    contrast,
    floor_text,
    held_out_error,
    interval_text,
    seeds_text,
    unsettled,
)
from analysis.claims.findings import points_finding
from analysis.claims.learning import settled
from analysis.claims.published import published
from analysis.claims.thresholds import TIE_MARGIN
from analysis.convergence import EARLY_SHARE, early_speed, error_curves
from analysis.groups import Group, arms

MARGIN = TIE_MARGIN

SHALLOW = {"imagenet": 18, "cifar10": 20, "cifar100": 20}
"""The depth at which R's data show a tie: 18 on ImageNet, and CIFAR's counterpart."""


def tie(group: Group) -> Finding | None:
    """Compare the shallow twins' test error, and how fast they learn at first."""
    members = group.finished
    depth = SHALLOW.get(str(group.settings["data"]))
    twins = members[members["depth"] == depth]
    plain = twins.loc[twins["family"] == "plain", "short"].unique()
    if not len(plain) or not arms(twins):
        return None
    residual = str(twins.loc[twins["shortcut"] == arms(twins)[0], "short"].iloc[0])
    values, what = held_out_error(twins)
    ends = contrast(values, residual, str(plain[0]))
    speeds = contrast(speed(group, residual, str(plain[0])), residual, str(plain[0]))
    if ends is None or speeds is None:
        return None
    outcome = judge(ends, speeds)
    outcome, why = settled(outcome, [ends], group)
    reason = why + _reason(outcome, ends, speeds) + floor_text(group, values, ends)
    comparison = f"within {MARGIN:g} point of each other" if within(ends) else ""
    size = published(group, ends)
    return points_finding(outcome, ends, what, reason, group, comparison, size)


def speed(group: Group, residual: str, plain: str) -> pd.DataFrame:
    """Return network, seed and value, such that paired differences are log ratios of steps.

    The value is `early_speed` for the residual network and 0 for the plain one.
    """
    members = group.finished[["run", "network", "seed", "short"]]
    curves = error_curves(group.runs.metrics).merge(members, on=["run", "network"])
    end = float(str(group.settings["iterations"]))
    rows = []
    for seed, part in curves.groupby("seed"):
        fast, slow = (part[part["short"] == name] for name in (residual, plain))
        if len(fast) and len(slow):
            rows += [(residual, seed, early_speed(fast, slow, end)), (plain, seed, 0.0)]
    return pd.DataFrame(rows, columns=["network", "seed", "value"]).dropna()


def judge(ends: Contrast, speeds: Contrast) -> Outcome:
    """Return the outcome of a difference of test errors and a log ratio of steps."""
    if within(ends) and speeds.below(0):
        return "supported"
    apart = ends.above(MARGIN) or ends.below(-MARGIN)
    return "refuted" if apart or speeds.above(0) else "undecided"


def within(ends: Contrast) -> bool:
    """Whether two networks tie."""
    return ends.above(-MARGIN) and ends.below(MARGIN)


def _reason(outcome: Outcome, ends: Contrast, speeds: Contrast) -> str:
    said = {
        "not under this recipe": "Networks that learn nothing tie at every depth",
        "supported": "The two tie, and the residual network learns faster at first",
        "refuted": "The two differ by more than the margin, or the plain network learns faster",
        "undecided": unsettled(
            min(ends.n, speeds.n), "The intervals do not settle both the tie and the speed"
        ),
    }[outcome]
    ratio, low, high = (float(np.exp(one)) for one in (speeds.mean, speeds.low, speeds.high))
    return (
        f"{said} (tie: within {MARGIN:g} point); {seeds_text(ends, 2)}; "
        "to an error that both reach in the first "
        f"{100 * EARLY_SHARE:.0f} % of training {speeds.first} takes x{ratio:.3g} the steps of "
        f"{speeds.second}, {interval_text(low, high, speeds.n, 3)}."
    )


TIE = Claim(
    id="3-tie-when-shallow",
    title="shallow networks tie",
    source="R Figure 4, Table 2",
    statement="At 18 layers (20 on CIFAR) plain and residual networks are equally accurate, but "
    "the residual one converges faster at first.",
    needs="plain-18 and resnet-18 on ImageNet, or plain-20 and resnet-20 on CIFAR, with equal "
    "seeds and training curves, trained alike",
    rule="Equivalence and speed: supported if the paired 95 % t interval of (residual minus plain) "
    f"test error lies within +-{MARGIN:g} percentage point and that of the log ratio of steps, to "
    "the lowest training error that both reach in the first quarter of training, lies below 0; "
    "refuted if the first lies outside the margins or the second above 0. At least two seeds.",
    test=tie,
    sweep="sweeps/paper_fig6.yaml",
    smallest="1 point of test error; any gain of speed",
    overturned={
        "supported": "With more seeds the test errors lie more than 1 point apart, or the plain "
        "network is as fast to an early error.",
        "refuted": "Under the paper's recipe both come within 1 point, and the residual network "
        "is the faster one.",
    },
)
