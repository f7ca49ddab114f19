"""Findings made from contrasts: the numbers, their interval, and the power of n seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from analysis.claims.claim import ALPHA, Finding, Outcome
from analysis.claims.contrast import Contrast, bound, interval_of, left_out, points_text
from analysis.claims.published import Published
from analysis.groups import Group
from analysis.statistics import deciding_level, detectable, spread_interval

POINTS = "percentage points"


def judge(found: Contrast, threshold: float = 0.0) -> Outcome:
    """Return the outcome: the contrast's interval is above `threshold`, below it, or holds it."""
    if found.above(threshold):
        return "supported"
    return "refuted" if found.below(threshold) else "undecided"


def points_finding(
    outcome: Outcome,
    found: Contrast,
    what: str,
    reason: str,
    group: Group,
    comparison: str = "",
    published: Published | None = None,
) -> Finding:
    """Return the finding of a contrast of errors; `what` names the error.

    `published` is the effect that the power of an undecided verdict is measured against.
    """
    evidence, reason = points_text(found, what), reason + left_out(group)
    made = _finding(outcome, found, POINTS, evidence, reason, _points, published)
    return replace(made, comparison=comparison)


def value_finding(outcome: Outcome, found: Contrast, name: str, unit: str, reason: str) -> Finding:
    """Return the finding of a contrast of values in `unit`; `name` names the value."""
    ending = f" {unit}" if unit else ""
    evidence = f"{found.name} {name} {found.mean:.4g}{ending}, {interval_of(found)}"
    return _finding(outcome, found, unit, evidence, reason, lambda least: f"{least:.2g}{ending}")


def factor_finding(
    outcome: Outcome, found: Contrast, unit: str, evidence: str, reason: str
) -> Finding:
    """Return the finding of a contrast of natural logarithms: ratios, growth, speed."""
    made = _finding(outcome, found, unit, evidence, reason, _factor_text)
    effect, low, high, least = (
        None if one is None else float(np.exp(one))
        for one in (made.effect, made.low, made.high, made.detectable)
    )
    return replace(made, effect=effect, low=low, high=high, detectable=least)


def ratio_finding(outcome: Outcome, found: Contrast, name: str, reason: str) -> Finding:
    """Return the finding of a contrast of logarithms; `name` names the value."""
    ratio = f"{found.first} over {found.second} {name} x{np.exp(found.mean):.4g}"
    evidence = f"{ratio}, {interval_of(found, scale=np.exp)}"
    return factor_finding(outcome, found, "ratio", evidence, reason)


def _finding(
    outcome: Outcome,
    found: Contrast,
    unit: str,
    evidence: str,
    reason: str,
    told: Callable[[float], str],
    published: Published | None = None,
) -> Finding:
    return Finding(
        outcome=outcome,
        effect=found.mean,
        unit=unit,
        low=bound(found.low),
        high=bound(found.high),
        n=found.n,
        evidence=evidence,
        reason=reason,
        power=_power_text(outcome, found, told, published),
        detectable=smallest_found(found),
    )


def smallest_found(found: Contrast) -> float | None:
    """Return the distance from the threshold found with 80 % power; None where n = 1."""
    return bound(_detectable(found, found.sd))


def _detectable(found: Contrast, sd: float) -> float:
    level = deciding_level(found.n, 1 - ALPHA / found.comparisons)
    return detectable(sd, found.n, level) if found.n > 1 else float("nan")


def _points(distance: float) -> str:
    """Return a distance between errors as text; none is more than 100 points."""
    return f"{distance:.2g} points" if distance < 100 else "more than 100 points"


def _factor_text(distance: float) -> str:
    factor = float(np.exp(min(distance, 300.0)))  # few seeds that differ in kind know no limit
    return f"a factor of {factor:.4g}" if factor >= 1.0005 else "a factor below 1.001"


def _power_text(
    outcome: Outcome,
    found: Contrast,
    told: Callable[[float], str],
    published: Published | None = None,
) -> str:
    """Return what n seeds can detect, in words, where the verdict is undecided; else "".

    The spread is the published one where there is one, else the seeds' own with its uncertainty.
    """
    if outcome != "undecided" or found.n < 2:
        return ""
    if published is not None and published.sd is not None:
        least = told(_detectable(found, published.sd))
        return f"Detectable difference: {least} (80 % power, published spread); {published.text}."
    low, high = (_detectable(found, sd) for sd in spread_interval(found.sd, found.n))
    least = told(_detectable(found, found.sd))
    against = f"; {published.text}" if published else ""
    return (
        f"Detectable difference: {least} (80 % power; {told(low)} to {told(high)}, as {found.n} "
        f"seeds know their spread){against}."
    )
