"""Findings made from contrasts: the numbers, their interval, and the power that n seeds give."""

from __future__ import annotations

import numpy as np

from analysis.claims.claim import ALPHA, Finding, Outcome
from analysis.claims.evidence import Contrast, bound, left_out, points_text
from analysis.groups import Group
from analysis.statistics import detectable

POINTS = "percentage points"


def judge(found: Contrast, threshold: float = 0.0) -> Outcome:
    """Say whether a contrast's interval lies above `threshold`, below it, or holds it."""
    if found.low > threshold:
        return "supported"
    return "refuted" if found.high < threshold else "undecided"


def points_finding(
    outcome: Outcome, found: Contrast, what: str, reason: str, group: Group
) -> Finding:
    """Return the finding that a contrast of errors shows; `what` names the error."""
    least = smallest_found(found)
    return Finding(
        outcome=outcome,
        effect=found.mean,
        unit=POINTS,
        low=bound(found.low),
        high=bound(found.high),
        n=found.n,
        evidence=points_text(found, what),
        reason=reason + left_out(group),
        power="" if least is None else _power_text(found.n, f"{least:.2g} points"),
        detectable=least,
    )


def factor_finding(
    outcome: Outcome, found: Contrast, unit: str, evidence: str, reason: str
) -> Finding:
    """Return the finding that a contrast of natural logarithms shows: ratios, growth, speed."""
    least = smallest_found(found)
    factor = None if least is None else float(np.exp(least))
    return Finding(
        outcome=outcome,
        effect=float(np.exp(found.mean)),
        unit=unit,
        low=bound(np.exp(found.low)),
        high=bound(np.exp(found.high)),
        n=found.n,
        evidence=evidence,
        reason=reason,
        power="" if factor is None else _power_text(found.n, _factor_text(factor)),
        detectable=factor,
    )


def smallest_found(found: Contrast) -> float | None:
    """Return the distance from the threshold found with 80 % power; None where n = 1."""
    return bound(detectable(found.sd, found.n, 1 - ALPHA / found.comparisons))


def _factor_text(factor: float) -> str:
    return f"a factor of {factor:.4g}" if factor >= 1.0005 else "a factor below 1.001"


def _power_text(n: int, distance: str) -> str:
    return (
        f"Power: {n} seeds with this spread find a true distance of {distance} from the threshold "
        "in 80 % of studies."
    )
