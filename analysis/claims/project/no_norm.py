"""Claim 10: without batch norm a plain network's gradients vanish by more than its padding takes.

Activation gradients are tested, not those of weights: a ReLU network without norm is homogeneous
in every layer's weights, so the inner product of weights and their gradient is the same in all
layers. Weight gradients stay level while the signal dies on its way forward and the gradient on
its way back.

Zero padding alone makes gradients shrink, fast where maps are small. So a growth is compared with
the one that padding predicts for the same network and image size (`analysis.padding`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import Contrast, interval_text, unsettled
from analysis.claims.findings import factor_finding
from analysis.claims.growth import activation_growth, growth_text
from analysis.claims.thresholds import VANISHING
from analysis.groups import Group
from analysis.padding import padding_growth, side_of
from resnet_lab.networks.spec import NetworkSpec

MARGIN = float(-np.log(VANISHING))


def vanishing_gradients(group: Group) -> Finding | None:
    """Test whether gradients vanish beyond padding in the deepest plain net without norm."""
    side = side_of(str(group.settings["data"]))
    found = activation_growth(group) if group.settings["norm"] == "none" and side else None
    if found is None or side is None:
        return None
    predicted = padding_growth(_spec(group, found.first), side)
    beyond = _shifted(found, float(np.log(predicted)))
    outcome = judge(beyond)
    said = {
        "supported": "Gradients vanish by more than zero padding takes",
        "equivalent": "What gradients lose, zero padding takes: nothing is left for the missing "
        "norm to explain",
        "refuted": "Gradients do not vanish beyond what zero padding takes",
        "undecided": unsettled(
            found.n, f"The interval crosses a margin ({VANISHING} or {1 / VANISHING:.3f})"
        ),
    }[outcome]
    reason = f"{said}; {growth_text(found, 'activation gradient norm')} (last block to stem)."
    evidence = _evidence(beyond, predicted, side)
    finding = factor_finding(outcome, beyond, "growth over padding's", evidence, reason)
    return replace(finding, comparison=_comparison(found, predicted))


def judge(found: Contrast) -> Outcome:
    """Return the outcome: log growth over padding's below the margins, within, or above."""
    if found.below(-MARGIN):
        return "supported"
    if found.above(-MARGIN):
        return "equivalent" if found.below(MARGIN) else "refuted"
    return "undecided"


def _spec(group: Group, short: str) -> NetworkSpec:
    members = group.members
    return NetworkSpec.parse(str(members.loc[members["short"] == short, "network"].iloc[0]))


def _shifted(found: Contrast, by: float) -> Contrast:
    return replace(found, mean=found.mean - by, low=found.low - by, high=found.high - by)


def _evidence(beyond: Contrast, predicted: float, side: int) -> str:
    low, high = float(np.exp(beyond.low)), float(np.exp(beyond.high))
    return (
        f"{beyond.first} activation gradient norm grows x{np.exp(beyond.mean):.3f} per layer over "
        f"the x{predicted:.3f} that zero padding alone predicts on {side}x{side} images, "
        f"{interval_text(low, high, beyond.n, 3)}"
    )


def _comparison(found: Contrast, predicted: float) -> str:
    away = 100 * (np.exp(found.mean) / predicted - 1)
    return (
        f"measured x{np.exp(found.mean):.3f} a layer, {abs(away):.1f} % "
        f"{'above' if away > 0 else 'below'} the x{predicted:.3f} of zero padding alone"
    )


NO_NORM = Claim(
    id="10-vanishing-without-norm",
    title="gradients vanish without batch norm",
    source="the classical account, for networks with a border; no claim of R, which holds that "
    "normalised initialisation and batch norm have addressed vanishing",
    statement="Without batch norm, at He's initialisation, the gradients of a plain network vanish "
    "towards the input by more than zero padding alone takes.",
    needs="recordings of activation_gradient_norm at step 0 of a plain network without norm, on "
    "images of a known size",
    rule="The growth a layer of the norm of the loss's gradient with respect to activations, from "
    "the output of the last block back to the stem's, in the deepest plain network without norm, "
    "over the growth that zero padding alone predicts for that network and image size. A settled "
    "profile keeps (1 + 2 cos(pi / (n + 1))) / 3 of the norm a layer on n x n maps. Supported if "
    f"its 95 % t interval over seeds (on the logarithm) lies below {VANISHING}, equivalent to "
    f"padding if it lies between {VANISHING} and {1 / VANISHING:.3f}, refuted if it lies above "
    f"{VANISHING} otherwise. At least two seeds.",
    test=vanishing_gradients,
    sweep="resnet-lab train --config experiments/digits.yaml --network plain-56-nonorm --seed 0 "
    " # then seeds 1 and 2",
    smallest=f"a growth of {VANISHING} a layer beyond padding's, a factor of 3 over 56 layers",
    overturned={
        "equivalent": "With circular padding, which has no border, gradients still shrink by a "
        "factor of 0.98 a layer or less.",
        "supported": "With circular padding, or on larger maps, gradients keep their norm.",
        "refuted": "At another depth or initialisation they shrink by more than padding predicts.",
    },
)
