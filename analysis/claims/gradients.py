"""Claim 7: gradients of plain batch-norm networks do not vanish; they grow."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import ALPHA, Claim, Finding, Outcome
from analysis.claims.evidence import bound, interval_text
from analysis.groups import Group
from analysis.layer_dynamics import (
    FIT_NEEDS,
    FROZEN_BELOW,
    STEM,
    first_last_ratio,
    freezes,
    growth,
)
from analysis.paper import load_paper
from analysis.statistics import summarise

STAGE = 1
"""The stage whose growth is tested: the one with full-size maps, furthest from the loss."""

EARLY = 100
"""The freeze is looked for up to this step, before convergence and lower learning rates."""


def healthy_gradients(group: Group) -> Finding | None:
    """Test the growth of the weight-gradient norm per layer at step 0 in the deepest plain net."""
    if group.settings["norm"] != "batch":
        return None
    fits = group.of(growth(group.runs.layers, step=0))
    fits = fits[(fits["stage"] == STAGE) & (fits["family"] == "plain")]
    if fits.empty:
        return None
    fits = fits[fits["depth"] == fits["depth"].max()]
    deepest = str(fits["short"].iloc[0])
    fits = fits.assign(log=np.log(fits["growth"]))
    row = summarise(fits, ["short"], "log", 1 - ALPHA).iloc[0]
    mean, low, high = (float(np.exp(row[name])) for name in ("mean", "low", "high"))
    n = int(row["n"])
    outcome = _judge(low, high)
    return Finding(
        outcome=outcome,
        effect=mean,
        unit="growth per layer",
        low=bound(low),
        high=bound(high),
        n=n,
        evidence=f"{deepest} gradient norm grows x{mean:.3f} per layer towards the input at step "
        f"0, {interval_text(low, high, n, 3)}",
        reason=_reason(outcome, n) + _details(group, deepest),
    )


def _judge(low: float, high: float) -> Outcome:
    if low > 1:
        return "supported"
    return "refuted" if high < 1 else "undecided"


def _reason(outcome: Outcome, n: int) -> str:
    theory = load_paper().gradient_growth
    said = {
        "supported": "Gradients do not vanish at initialisation, they grow towards the input",
        "refuted": "Gradients shrink towards the input already at initialisation",
        "undecided": "One seed gives no interval: train more seeds"
        if n < 2
        else "The interval does not exclude a growth of 1",
    }[outcome]
    return f"{said} (stage {STAGE}; theory for activation gradients: {theory:.4f})."


def _details(group: Group, network: str) -> str:
    """Say how large the stem's gradient is at step 0 and whether the stem froze, with its twins."""
    members = group.members
    depth = members.loc[members["short"] == network, "depth"].iloc[0]
    twins = members.loc[members["depth"] == depth, "network"]
    layers = group.of(group.runs.layers[group.runs.layers["network"].isin(twins)])
    layers = layers.assign(network=layers["short"])
    ratios = first_last_ratio(layers)
    ratios = ratios[(ratios["step"] == 0) & (ratios["ratio"] > 0)]
    means = np.exp(np.log(ratios.set_index("network")["ratio"]).groupby("network").mean())
    texts = [f"{name} {ratio:.3g}" for name, ratio in means.items()]
    ratio_text = f" Stem over last convolution at step 0: {', '.join(texts)}." if texts else ""
    return ratio_text + _freeze_text(layers)


def _freeze_text(layers: pd.DataFrame) -> str:
    stems = freezes(layers, until=EARLY)
    stems = stems[stems["name"] == STEM]
    texts = []
    for network, rows in stems.groupby("network"):
        frozen = rows["freeze_step"].dropna()
        when = f" (from step {int(frozen.median())})" if len(frozen) else ""
        texts.append(f"{network} in {len(frozen)} of {len(rows)} runs{when}")
    if not texts:
        return ""
    return (
        f" Stem frozen (relative update below {FROZEN_BELOW:g}) within {EARLY} steps: "
        f"{', '.join(texts)}."
    )


GRADIENTS = Claim(
    id="7-gradients",
    title="gradients do not vanish",
    source="R 4.1; growth: Yang et al. 2019",
    statement="Vanishing gradients are an unlikely cause: with batch norm a plain network's "
    "gradients do not vanish at initialisation. Measured, they grow towards the input.",
    needs="recordings of gradient_norm at step 0 of a plain batch-norm network with at least "
    f"{FIT_NEEDS} convolutions in stage {STAGE}",
    rule="Growth per layer is a log-linear fit of the weight-gradient norm over the convolutions "
    f"of stage {STAGE} at step 0. Supported if its 95 % t interval over seeds (on the logarithm) "
    "lies above 1, refuted if below. At least two seeds. The freeze that may follow is reported "
    "beside it and decides nothing.",
    test=healthy_gradients,
)
