"""Claim 5: residual networks have smaller layer responses, the deeper ones smaller still."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import (
    Contrast,
    by_depth,
    contrast,
    interval_text,
    left_out,
    unsettled,
)
from analysis.claims.findings import factor_finding
from analysis.groups import Group, arms
from analysis.layer_dynamics import at_step


def mean_log_response(group: Group) -> pd.DataFrame:
    """Return network, seed and value: the mean over layers of log response std at the last step.

    A response is a main-path convolution's output after its norm, before ReLU and addition
    (R Figure 7). Members with a response that is not positive are absent.
    """
    rows = group.of(at_step(group.runs.layers, "response_std"))
    rows = rows.assign(value=np.log(rows["value"].where(rows["value"] > 0)))
    means = rows.groupby(["run", "short", "seed"])["value"].agg(
        lambda values: values.mean(skipna=False)
    )
    values = means.dropna().reset_index()
    finished = group.finished[["run", "short"]]
    values = values.merge(finished, on=["run", "short"]).rename(columns={"short": "network"})
    return values[["network", "seed", "value"]]


def smaller_responses(group: Group) -> Finding | None:
    """Compare the mean response of the deepest twins, and of deep and shallow residual networks."""
    values = mean_log_response(group)
    members = group.finished[group.finished["short"].isin(values["network"])]
    plain = members[members["family"] == "plain"].drop_duplicates("depth").set_index("depth")
    for shortcut in arms(members):
        arm = members[(members["family"] == "residual") & (members["shortcut"] == shortcut)]
        networks = by_depth(arm)
        common = arm[arm["depth"].isin(plain.index)].sort_values("depth")
        if len(networks) < 2 or common.empty:
            continue
        last = common.iloc[-1]
        twins = contrast(values, str(last["short"]), str(plain.loc[last["depth"], "short"]))
        depths = contrast(values, networks[-1], networks[0])
        if twins is not None and depths is not None:
            return _finding(group, twins, depths)
    return None


def _finding(group: Group, twins: Contrast, depths: Contrast) -> Finding:
    outcome = judge(twins, depths)
    said = {
        "supported": "Residual responses are smaller than plain ones, smaller still when deeper",
        "refuted": "Residual responses are larger than plain ones, or grow with depth",
        "undecided": unsettled(min(twins.n, depths.n), "An interval does not exclude a ratio of 1"),
    }[outcome]
    reason = f"{said}; {_ratio_text(depths)}.{left_out(group)}"
    return factor_finding(outcome, twins, "ratio", _ratio_text(twins), reason)


def judge(twins: Contrast, depths: Contrast) -> Outcome:
    """Return the outcome of the log ratios deepest residual / plain twin and / shallowest."""
    if twins.high < 0 and depths.high < 0:
        return "supported"
    return "refuted" if twins.low > 0 or depths.low > 0 else "undecided"


def _ratio_text(found: Contrast) -> str:
    low, high = np.exp(found.low), np.exp(found.high)
    interval = interval_text(low, high, found.n, digits=3)
    return f"{found.first} over {found.second} response std {np.exp(found.mean):.3f}, {interval}"


RESPONSES = Claim(
    id="5-responses",
    title="smaller responses",
    source="R Figure 7",
    statement="Layer responses of residual networks have a smaller standard deviation than those "
    "of plain networks, and deeper residual networks smaller still.",
    needs="recordings of response_std of residual networks of two depths and of the plain twin of "
    "the deeper one, with equal seeds, trained alike",
    rule="A network's response is the geometric mean over its main-path convolutions at the last "
    "recorded step. Supported if the paired 95 % t intervals of the ratios deepest residual / "
    "plain twin and deepest / shallowest residual both lie below 1; refuted if either lies above "
    "1. At least two seeds.",
    test=smaller_responses,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any ratio below 1",
)
