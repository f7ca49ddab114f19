"""Claim 10: without batch norm a plain network's gradients vanish.

Activation gradients are looked at, not those of weights: a ReLU network without norm is homogeneous
in every layer's weights, so the inner product of weights and their gradient is the same in all
layers, and weight gradients stay level while the signal dies on its way forth and the gradient on
its way back.
"""

from __future__ import annotations

import numpy as np

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.evidence import Contrast, unsettled
from analysis.claims.findings import factor_finding
from analysis.claims.growth import activation_growth, growth_text
from analysis.groups import Group

VANISHING = 0.98
"""Growth per layer below which gradients vanish: a factor of 3 over 56 layers. Above it they are
flat, or explode."""


def vanishing_gradients(group: Group) -> Finding | None:
    """Test whether gradients shrink towards the input in the deepest plain net without norm."""
    found = activation_growth(group) if group.settings["norm"] == "none" else None
    if found is None:
        return None
    outcome = judge(found)
    said = {
        "supported": "Gradients vanish towards the input",
        "refuted": f"Gradients do not vanish: a layer keeps more than {VANISHING} of their norm",
        "undecided": unsettled(found.n, f"The interval does not exclude {VANISHING}"),
    }[outcome]
    reason = f"{said} (from the last block to the stem, at initialisation)."
    evidence = growth_text(found, "activation gradient norm")
    return factor_finding(outcome, found, "growth per layer", evidence, reason)


def judge(found: Contrast) -> Outcome:
    """Say whether a log growth lies below that of `VANISHING`, or above."""
    if found.high < np.log(VANISHING):
        return "supported"
    return "refuted" if found.low > np.log(VANISHING) else "undecided"


NO_NORM = Claim(
    id="10-vanishing-without-norm",
    title="gradients vanish without batch norm",
    source="R 1, 4.1; the classical account",
    statement="Without batch norm the gradients of a plain network vanish towards the input at "
    "initialisation.",
    needs="recordings of activation_gradient_norm at step 0 of a plain network without norm",
    rule="The growth a layer of the norm of the loss's gradient with respect to activations, from "
    "the output of the last block back to the stem's, in the deepest plain network without norm. "
    f"Supported if its 95 % t interval over seeds (on the logarithm) lies below {VANISHING}, "
    "refuted if above. At least two seeds.",
    test=vanishing_gradients,
    sweep="resnet-lab train --config experiments/digits.yaml --network plain-56-nonorm --seed 0 "
    " # then seeds 1 and 2",
    smallest=f"a growth of {VANISHING} a layer, a factor of 3 over 56 layers",
)
