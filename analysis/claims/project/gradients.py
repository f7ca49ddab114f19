"""Claims 7 and 8: gradients of plain batch-norm networks do not vanish; they grow, as predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import Contrast, unsettled
from analysis.claims.findings import factor_finding
from analysis.claims.growth import Growth, growth_text, plain_growth, stages_text
from analysis.claims.thresholds import RATE_MARGIN
from analysis.groups import Group
from analysis.layer_dynamics import FIT_NEEDS, FROZEN_BELOW, STEM, first_last_ratio, freezes
from analysis.padding import kept, side_of, sides
from analysis.theory import bounded, gradient_growth
from resnet_lab.networks.spec import NetworkSpec

EARLY = 100
"""Last step at which to look for a collapse: before convergence and lower learning rates."""


def healthy_gradients(group: Group) -> Finding | None:
    """Test the growth of the weight-gradient norm per layer at step 0 in the deepest plain net."""
    found = plain_growth(group) if group.settings["norm"] == "batch" else None
    if found is None:
        return None
    outcome = judge_growth(found.alone, found.joint)
    said = {
        "supported": "Gradients do not vanish at initialisation, they grow towards the input in "
        "every stage",
        "refuted": "In a stage gradients shrink towards the input already at initialisation",
        "undecided": unsettled(
            found.overall.n, "A stage's interval does not exclude a growth of 1"
        ),
    }[outcome]
    predicted = gradient_growth(group)
    theory = f" (theory for activation gradients: {predicted:.4f})" if predicted else ""
    details = _details(group, found.overall.first)
    reason = f"{said}{theory}.{stages_text(found)}{details}"
    return factor_finding(
        outcome, found.overall, "growth per layer", growth_text(found.overall), reason
    )


def judge_growth(alone: Sequence[Contrast], joint: Sequence[Contrast]) -> Outcome:
    """Say whether log growths are above 0 in every stage; `joint` are those that hold together."""
    if all(one.above(0) for one in alone):
        return "supported"
    return "refuted" if any(one.below(0) for one in joint) else "undecided"


def theoretical_rate(group: Group) -> Finding | None:
    """Test whether the growth equals the theory's, by intervals within margins around it."""
    found = plain_growth(group) if group.settings["norm"] == "batch" else None
    theory = gradient_growth(group)
    if found is None or theory is None:
        return None
    outcome = judge_rate(found.alone, found.joint, float(np.log(theory)))
    low, high = (theory * np.exp(sign * RATE_MARGIN) for sign in (-1, 1))
    said = {
        "equivalent": "Every stage lies within the margins",
        "refuted": "A stage lies outside the margins",
        "undecided": unsettled(found.overall.n, "A stage's interval crosses a margin"),
    }[outcome]
    reason = (
        f"{said} [{low:.3f}, {high:.3f}] around the theory's {theory:.4f}."
        f"{stages_text(found, _maps(group, found))}{_padding_text(group)}"
    )
    finding = factor_finding(
        outcome, found.overall, "growth per layer", growth_text(found.overall), reason
    )
    return replace(finding, comparison=_comparison(found, theory))


def judge_rate(alone: Sequence[Contrast], joint: Sequence[Contrast], theory: float) -> Outcome:
    """Say whether log growths are within `RATE_MARGIN` of `theory` (a log too) in every stage."""
    lowest, highest = theory - RATE_MARGIN, theory + RATE_MARGIN
    if all(one.above(lowest) and one.below(highest) for one in alone):
        return "equivalent"
    outside = any(one.below(lowest) or one.above(highest) for one in joint)
    return "refuted" if outside else "undecided"


def _comparison(found: Growth, theory: float) -> str:
    """Return the growth's distance from the theory's, and whether its interval excludes it."""
    overall = found.overall
    away = 100 * (float(np.exp(overall.mean)) / theory - 1)
    furthest = max(abs(float(np.exp(one.mean)) / theory - 1) for one in found.alone)
    excluded = overall.high < np.log(theory) or overall.low > np.log(theory)
    texts = [
        f"{abs(away):.1f} % {'above' if away > 0 else 'below'} theory's {theory:.4f}",
        f"furthest stage {100 * furthest:.1f} % from it",
        *(["the interval excludes theory itself"] if excluded else []),
    ]
    return "; ".join(texts)


def _maps(group: Group, found: Growth) -> list[str]:
    """Return the share of a gradient that padding alone would keep, by stage; empty if unknown."""
    side = side_of(str(group.settings["data"]))
    if side is None or not bounded(group):
        return []
    members = group.members
    name = members.loc[members["short"] == found.overall.first, "network"].iloc[0]
    maps = sides(NetworkSpec.parse(str(name)), side)
    return [f" ({maps[one]}x{maps[one]}, padding {kept(maps[one]):.3f})" for one in found.stages]


def _padding_text(group: Group) -> str:
    """Return an explanation of the padding numbers of `_maps`."""
    if side_of(str(group.settings["data"])) is None or not bounded(group):
        return ""
    return (
        " The theory has no border. Zero padding lowers the growth, most where maps are small: "
        "without norm it alone keeps the share named of a gradient's norm a layer; batch norm "
        "gives a part of that back."
    )


def _details(group: Group, network: str) -> str:
    """Return text on the stem's gradient at step 0, beside its twins', and on its collapse."""
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
    return ratio_text + _collapse_text(layers)


def _collapse_text(layers: pd.DataFrame) -> str:
    stems = freezes(layers, until=EARLY)
    stems = stems[stems["name"] == STEM]
    texts = []
    for network, rows in stems.groupby("network"):
        tiny = rows["freeze_step"].dropna()
        when = f" (from step {int(tiny.median())})" if len(tiny) else ""
        texts.append(f"{network} in {len(tiny)} of {len(rows)} runs{when}")
    if not texts:
        return ""
    return (
        f" Stem's gradient step lr |g| / |w| below {FROZEN_BELOW:g} within {EARLY} steps: "
        f"{', '.join(texts)}; what momentum still moves, claim 9 counts."
    )


GRADIENTS = Claim(
    id="7-gradients",
    title="gradients do not vanish",
    source="R 4.1; growth: Yang et al. 2019",
    statement="Vanishing gradients are an unlikely cause: with batch norm a plain network's "
    "gradients do not vanish at initialisation. Measured, they grow towards the input.",
    needs="recordings of gradient_norm at step 0 of a plain batch-norm network with a stage of at "
    f"least {FIT_NEEDS} convolutions",
    rule="Growth per layer is a log-linear fit of the weight-gradient norm over the convolutions "
    "of each stage at step 0. Supported if its 95 % t interval over seeds (on the logarithm) lies "
    "above 1 in every stage, refuted if below in any (intervals that hold together, Bonferroni). "
    "The effect is the mean over stages. At least two seeds. The collapse of the stem's gradient "
    "step that may follow is reported beside it and decides nothing.",
    test=healthy_gradients,
    sweep="sweeps/cifar10_freeze.yaml, with more seeds",
    smallest="any growth above 1 a layer",
    overturned={
        "supported": "At another initialisation or image size a stage's gradients shrink towards "
        "the input.",
        "refuted": "With more seeds or larger maps every stage's grow.",
    },
)

RATE = Claim(
    id="8-explosion-rate",
    title="gradients explode at the theoretical rate",
    source="Yang et al. 2019",
    statement="At initialisation the gradients of plain batch-norm networks explode towards the "
    "input at the rate of theory, sqrt(pi / (pi - 1)) = 1.2112 a layer with ReLU.",
    needs=f"recordings of a plain batch-norm network with a stage of at least {FIT_NEEDS} "
    "convolutions",
    rule="The growth of claim 7, of weight gradients, is set against the theory's, of activation "
    "gradients in wide networks without a border. Equivalent if its 95 % t interval over seeds (on "
    f"the logarithm) lies within {100 * RATE_MARGIN:g} % of theory in every stage, refuted if it "
    "lies outside in any (intervals that hold together, Bonferroni). The effect is the mean over "
    "stages. At least two seeds.",
    test=theoretical_rate,
    sweep="sweeps/cifar10_freeze.yaml, with more seeds",
    smallest="a departure of 3 % a layer",
    overturned={
        "equivalent": "At greater depth or with more seeds a stage is seen more than 3 % from "
        "theory.",
        "refuted": "Wider networks on larger maps, where theory's conditions hold better, come "
        "within 3 % in every stage.",
    },
)
