"""Claim 9: the early layers of a deep plain batch-norm network freeze after the first steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome, without_numbers
from analysis.claims.contrast import (
    Contrast,
    contrast,
    estimate,
    interval_of,
    left_out,
    unsettled,
)
from analysis.claims.findings import factor_finding
from analysis.claims.thresholds import DEEP, FIRST, SLOWER, STILL
from analysis.groups import Group, arms
from analysis.layer_dynamics import STEM, travelled

RESOLUTION = 1e-7
"""Resolution of float32 weights, radians. Smaller angles, and 0, count as this one."""


def stem_angles(group: Group) -> pd.DataFrame:
    """Return network, seed, value (log of the stem's remaining angle), start and end (steps).

    Only members that trained to the end, as others have had less time to travel.
    """
    layers = group.runs.layers
    paths = travelled(layers[layers["name"] == STEM], FIRST)
    paths = group.of(paths.merge(group.finished[["run", "network"]], on=["run", "network"]))
    paths = paths.assign(value=np.log(paths["angle"].astype(float).clip(lower=RESOLUTION)))
    paths["network"] = paths["short"]
    return paths[["network", "seed", "value", "start", "end"]].dropna(subset="value")


def freeze(group: Group) -> Finding | None:
    """Test whether the stem of the deepest plain network stands still, and its twin's does not."""
    pairs = _pairs(group) if group.settings["norm"] == "batch" else []
    values = stem_angles(group) if pairs else pd.DataFrame()
    for plain, twin in pairs:
        against = contrast(values, plain, twin)
        if against is not None:
            own = values[values["network"] == plain]
            return _finding(group, estimate(values, plain), against, own)
    return _not_recorded(*pairs[0]) if pairs and values.empty else None


def _pairs(group: Group) -> list[tuple[str, str]]:
    """Return the deepest recorded plain network with each of its recorded twins."""
    layers = group.runs.layers
    later = layers[(layers["name"] == STEM) & (layers["step"] > FIRST)]
    members = group.finished[group.finished["network"].isin(later["network"])]
    plain = members[(members["family"] == "plain") & (members["depth"] > DEEP)]
    if plain.empty:
        return []
    deepest = plain.sort_values("depth").iloc[-1]
    twins = members[members["depth"] == deepest["depth"]].drop_duplicates("short")
    return [
        (str(deepest["short"]), str(twins.loc[twins["shortcut"] == shortcut, "short"].iloc[0]))
        for shortcut in arms(twins)
    ]


def judge(level: Contrast, against: Contrast) -> Outcome:
    """Return the outcome of the plain stem's log angle and its distance to the twin's."""
    if level.below(np.log(STILL)) and against.below(np.log(SLOWER)):
        return "supported"
    return "refuted" if against.above(np.log(SLOWER)) else "undecided"


def _finding(group: Group, level: Contrast, against: Contrast, own: pd.DataFrame) -> Finding:
    outcome = judge(level, against)
    said = {
        "supported": "The plain stem hardly turns any more, and its twin's does",
        "refuted": f"The plain stem turns by more than {SLOWER:g} of its twin's angle",
        "undecided": unsettled(min(level.n, against.n), _undecided(level, against)),
    }[outcome]
    reason = f"{said}; {_ratio_text(against)}.{left_out(group)}"
    evidence = (
        f"{level.first} stem turns by {np.exp(level.mean):.2g} radians from step "
        f"{int(own['start'].min())} to the last, {int(own['end'].max()):,}, {_interval(level)}"
    )
    finding = factor_finding(outcome, level, "radians", evidence, reason)
    return replace(finding, comparison=_comparison(level, against))


def _undecided(level: Contrast, against: Contrast) -> str:
    if level.above(np.log(STILL)) and against.below(np.log(SLOWER)):
        return (
            f"Slowed down, not frozen: far slower than its twin's, the stem still turns by more "
            f"than {STILL:g} radians"
        )
    return "The intervals do not settle both comparisons"


def _ratio_text(found: Contrast) -> str:
    return f"{found.first} over {found.second} angle {np.exp(found.mean):.2g}, {_interval(found)}"


def _interval(found: Contrast) -> str:
    """Return an interval in two significant digits, as angles span many decades."""
    return interval_of(found, ".2g", np.exp)


def _comparison(level: Contrast, against: Contrast) -> str:
    angle, ratio = np.exp(level.mean), np.exp(against.mean)
    of_twin = f"1/{1 / ratio:.0f}" if ratio < 0.5 else f"{ratio:.2g}"
    return (
        f"{'below' if angle < STILL else 'above'} {STILL:g} radians ({np.degrees(STILL):.0f} "
        f"degrees); {of_twin} of {against.second}'s {angle / ratio:.2g} radians"
    )


def _not_recorded(plain: str, twin: str) -> Finding:
    """Return the finding for recordings without angles, as from before angles were recorded."""
    missing = (
        f"needs update_angle of the stems of {plain} and {twin} from step {FIRST} to the end: "
        "these runs were recorded without it, record them again"
    )
    reason = (
        "lr |g| / |w|, which they have, knows no momentum: it does not say whether a layer moves."
    )
    return without_numbers("not tested", missing, reason)


FREEZE = Claim(
    id="9-freeze",
    title="early layers freeze",
    source="measured by this project",
    statement="In a deep plain batch-norm network the early layers freeze after the first steps; "
    "those of its residual twin do not.",
    needs=f"recordings of update_angle from step {FIRST} to the end of a plain batch-norm network "
    f"of more than {DEEP} layers and of its residual twin, with equal seeds, trained alike",
    rule="A stem's remaining angle is the sum over steps of the angles by which the optimizer "
    f"turned its weights (update_angle), from step {FIRST} to the last, by the trapezoid rule over "
    "recorded steps. Supported if, in the deepest plain network, its 95 % t interval over seeds "
    f"(on the logarithm) lies below {STILL:g} radians and the paired interval of plain over "
    f"residual twin lies below {SLOWER:g}; refuted if the second lies above. At least two seeds.",
    test=freeze,
    sweep="sweeps/cifar10_freeze.yaml, with more seeds",
    smallest=f"a remaining angle of {STILL:g} radians, {SLOWER:g} of the twin's",
    overturned={
        "supported": "Trained longer, the stem turns on, or its twin's stands still too, so that "
        "it is the recipe's doing.",
        "refuted": "With another initialisation, depth or rate the stem stays behind its twin's.",
    },
)
