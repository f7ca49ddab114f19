"""Claims 5 and 12: residual networks have smaller layer responses, and branches near zero.

A response is measured with the batch's own statistics, so behind a batch norm its standard
deviation is sqrt(mean gamma^2 + var beta) over the layer's channels, whatever the convolution
computes: 1.000 in every layer at step 0. No such identity holds for the variance of a branch over
that of its shortcut, as the shortcut is not normalised.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    Contrast,
    by_depth,
    contrast,
    estimate,
    interval_text,
    left_out,
    unsettled,
)
from analysis.claims.findings import factor_finding
from analysis.groups import Group, arms
from analysis.layer_dynamics import FIT_NEEDS, at_step


def mean_log_response(group: Group) -> pd.DataFrame:
    """Return network, seed and value: the mean over layers of log response std at the last step.

    A response is a main-path convolution's output after its norm, before ReLU and addition
    (R Figure 7). Members with a response that is not positive are absent.
    """
    return _mean_log(group, "response_std")


def mean_log_ratio(group: Group) -> pd.DataFrame:
    """Return network, seed and value: the mean over blocks of log(Var branch / Var shortcut).

    At the last step, of residual networks. Members with a ratio that is not positive are absent.
    """
    return _mean_log(group, "variance_ratio")


def _mean_log(group: Group, quantity: str) -> pd.DataFrame:
    """Return network, seed and value: the mean over layers of a quantity's log at the last step.

    Recordings that end at step 0 are left out, as they show the initialisation only.
    """
    rows = group.of(at_step(group.runs.layers, quantity))
    rows = rows[(rows["step"] > 0) & np.isfinite(rows["value"])]
    rows = rows.assign(value=np.log(rows["value"].where(rows["value"] > 0)))
    means = rows.groupby(["run", "short", "seed"])["value"].agg(
        lambda values: values.mean(skipna=False)
    )
    values = means.dropna().reset_index()
    finished = group.finished[["run", "short"]]
    values = values.merge(finished, on=["run", "short"]).rename(columns={"short": "network"})
    return pd.DataFrame(values[["network", "seed", "value"]])


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
    reason = f"{said}; {_ratio_text(depths)}.{_gains_text(group)}{left_out(group)}"
    return factor_finding(outcome, twins, "ratio", _ratio_text(twins), reason)


def _gains_text(group: Group) -> str:
    """Return text on what responses behind a batch norm can and cannot show."""
    if group.settings["norm"] != "batch":
        return ""
    return (
        " Behind a batch norm a response's std is that of its gamma and beta alone (1.000 at step "
        "0): this compares learned gains. For residual functions near zero see claim 12."
    )


def small_branches(group: Group) -> Finding | None:
    """Test whether branches are small beside their shortcuts, and smaller in deeper networks."""
    values = mean_log_ratio(group)
    members = group.finished[group.finished["short"].isin(values["network"])]
    for shortcut in arms(members):
        networks = by_depth(members[members["shortcut"] == shortcut])
        depths = contrast(values, networks[-1], networks[0]) if len(networks) > 1 else None
        if depths is not None:
            return _branch_finding(group, estimate(values, networks[-1]), depths)
    return None


def _branch_finding(group: Group, level: Contrast, depths: Contrast) -> Finding:
    outcome = judge(level, depths)
    said = {
        "supported": "Branches vary less than their shortcuts, less still in deeper networks",
        "refuted": "Branches vary more than their shortcuts, or more in deeper networks",
        "undecided": unsettled(min(level.n, depths.n), "An interval does not exclude a ratio of 1"),
    }[outcome]
    reason = (
        f"{said}; {_ratio_text(depths, 'variance ratio')}.{_trend_text(group, level.first)}"
        f"{left_out(group)}"
    )
    low, high = np.exp(level.low), np.exp(level.high)
    evidence = (
        f"{level.first} variance of branch over shortcut {np.exp(level.mean):.3f}, "
        f"{interval_text(low, high, level.n, digits=3)}"
    )
    return factor_finding(outcome, level, "ratio", evidence, reason)


def _trend_text(group: Group, network: str) -> str:
    """Return text on how the ratio scales with the block's number: the exponent."""
    rows = group.of(at_step(group.runs.layers, "variance_ratio"))
    rows = rows[(rows["short"] == network) & (rows["value"] > 0)].sort_values("layer")
    slopes = [_power(one["value"]) for _, one in rows.groupby("run") if len(one) >= FIT_NEEDS]
    if not slopes:
        return ""
    return (
        f" Within {network} it goes with block number l as l^{np.mean(slopes):.2f} (De and Smith "
        "2020 for pre-activation networks at initialisation: about l^-1)."
    )


def _power(ratios: pd.Series[float]) -> float:
    """Return the slope of log ratio over the log of the block's number, from 1."""
    logs = np.log(ratios.to_numpy(dtype=float))
    return float(np.polyfit(np.log(np.arange(1, len(logs) + 1)), logs, 1)[0])


def judge(twins: Contrast, depths: Contrast) -> Outcome:
    """Return the outcome of two log ratios: below 1 both, or one of them above.

    Of responses: deepest residual / plain twin, and / shallowest. Of branches: branch / shortcut in
    the deepest, and that ratio / the shallowest's.
    """
    if twins.below(0) and depths.below(0):
        return "supported"
    return "refuted" if twins.above(0) or depths.above(0) else "undecided"


def _ratio_text(found: Contrast, what: str = "response std") -> str:
    low, high = np.exp(found.low), np.exp(found.high)
    interval = interval_text(low, high, found.n, digits=3)
    return f"{found.first} over {found.second} {what} {np.exp(found.mean):.3f}, {interval}"


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
    "1. Behind a batch norm the standard deviation is that of the layer's gamma and beta alone. "
    "Recordings at step 0 alone, where it is 1.000 everywhere, test nothing. At least two seeds.",
    test=smaller_responses,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any ratio below 1",
    overturned={
        "supported": "After training, a deeper residual network's gains, or a residual network's "
        "beside its twin's, are seen as large.",
        "refuted": "Under R's recipe the gains are seen smaller. No measure of the branch itself "
        "changes it: that is claim 12's.",
    },
)

BRANCHES = Claim(
    id="12-branches-near-zero",
    title="residual functions near zero",
    source="R 4.1, on Figure 7; variance ratio: De and Smith 2020",
    statement="Residual functions are small beside what their shortcuts carry, and smaller in "
    "deeper networks.",
    needs="recordings of variance_ratio of residual networks of two depths, with equal seeds, "
    "trained alike",
    rule="A network's ratio is the geometric mean over its blocks of the branch's variance over "
    "the shortcut's, at the last recorded step. Supported if, in the deepest residual network, its "
    "95 % t interval over seeds (on the logarithm) lies below 1 and so does the paired interval of "
    "deepest / shallowest; refuted if either lies above 1. At least two seeds.",
    test=small_branches,
    sweep="sweeps/paper_fig6.yaml",
    smallest="any ratio below 1",
    overturned={
        "supported": "With another initialisation, ordering or width the branches carry as much as "
        "their shortcuts, or no less in deeper networks.",
        "refuted": "Trained to the end, branches become small beside their shortcuts.",
    },
)
