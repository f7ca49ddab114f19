"""Claims 7 and 8: gradients of plain batch-norm networks do not vanish; they grow, as predicted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import Contrast, unsettled
from analysis.claims.findings import factor_finding
from analysis.claims.findings import judge as judge_sign
from analysis.claims.growth import STAGE, growth_text, plain_growth
from analysis.groups import Group
from analysis.layer_dynamics import FIT_NEEDS, FROZEN_BELOW, STEM, first_last_ratio, freezes
from analysis.paper import load_paper

EARLY = 100
"""The freeze is looked for up to this step, before convergence and lower learning rates."""

RATE_MARGIN = 0.03
"""How far, in natural logarithms, a growth may lie from the theory's and still be at its rate: 3 %
a layer, which over the 18 convolutions of a 56-layer network's first stage is a factor of 1.7."""


def healthy_gradients(group: Group) -> Finding | None:
    """Test the growth of the weight-gradient norm per layer at step 0 in the deepest plain net."""
    found = plain_growth(group) if group.settings["norm"] == "batch" else None
    if found is None:
        return None
    outcome = judge_sign(found)
    reason = _reason(outcome, found.n) + _details(group, found.first)
    return factor_finding(outcome, found, "growth per layer", growth_text(found), reason)


def theoretical_rate(group: Group) -> Finding | None:
    """Test whether that growth is the theory's, by an interval inside the margins around it."""
    found = plain_growth(group) if group.settings["norm"] == "batch" else None
    if found is None:
        return None
    theory = load_paper().gradient_growth
    outcome = judge_rate(found, float(np.log(theory)))
    low, high = (theory * np.exp(sign * RATE_MARGIN) for sign in (-1, 1))
    said = {
        "supported": "The whole interval lies within the margins",
        "refuted": "The whole interval lies outside the margins",
        "undecided": unsettled(found.n, "The interval crosses a margin"),
    }[outcome]
    reason = f"{said} [{low:.3f}, {high:.3f}] around the theory's {theory:.4f} (stage {STAGE})."
    return factor_finding(outcome, found, "growth per layer", growth_text(found), reason)


def judge_rate(found: Contrast, theory: float) -> Outcome:
    """Say whether a log growth is within `RATE_MARGIN` of `theory` (a log too), or outside."""
    lowest, highest = theory - RATE_MARGIN, theory + RATE_MARGIN
    if found.low > lowest and found.high < highest:
        return "supported"
    return "refuted" if found.high < lowest or found.low > highest else "undecided"


def _reason(outcome: Outcome, n: int) -> str:
    theory = load_paper().gradient_growth
    said = {
        "supported": "Gradients do not vanish at initialisation, they grow towards the input",
        "refuted": "Gradients shrink towards the input already at initialisation",
        "undecided": unsettled(n, "The interval does not exclude a growth of 1"),
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
    sweep="sweeps/cifar10_freeze.yaml, with more seeds",
    smallest="any growth above 1 a layer",
)

RATE = Claim(
    id="8-explosion-rate",
    title="gradients explode at the theoretical rate",
    source="Yang et al. 2019",
    statement="At initialisation the gradients of plain batch-norm networks explode towards the "
    "input at the rate of theory, sqrt(pi / (pi - 1)) = 1.2112 a layer.",
    needs=f"recordings of a plain batch-norm network with at least {FIT_NEEDS} convolutions in its "
    "first stage",
    rule="The growth of claim 7, of weight gradients, is set against the theory's, of activation "
    "gradients in wide networks. Equivalence: supported if its 95 % t interval over seeds (on the "
    f"logarithm) lies within {100 * RATE_MARGIN:g} % of 1.2112, refuted if it lies outside. At "
    "least two seeds.",
    test=theoretical_rate,
    sweep="sweeps/cifar10_freeze.yaml, with more seeds",
    smallest="a departure of 3 % a layer",
)
