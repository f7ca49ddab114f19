"""Types of a finding and a verdict; `resnet_lab.parts.claims` defines a claim.

A claim of the project is a `Claim` in a file of its own in `analysis/claims/project`; its `test`
gets a `Group` of alike runs and returns a `Finding`, or None where the group lacks the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lab.parts.claims import Claim, Outcome

__all__ = ["ALPHA", "Claim", "Finding", "Outcome", "Verdict", "without_numbers"]

ALPHA = 0.05
"""Two-sided significance level of every claim: intervals hold at 1 - ALPHA."""


@dataclass(frozen=True)
class Finding:
    """The result of one claim on one group of runs.

    `effect` with bounds `low`, `high` (None where n = 1) is in `unit`; `evidence` names what was
    compared with these numbers, in one line; `comparison` sets the effect beside the theory or the
    threshold in words ("2 % below theory"); `reason` says why the outcome is what it is.
    `detectable` is the smallest true distance from the test's threshold, in `unit` (a factor where
    the unit is a ratio or a growth), that n seeds of this spread find with 80 % power; `power`
    says so in words.
    """

    outcome: Outcome
    effect: float | None
    unit: str
    low: float | None
    high: float | None
    n: int
    evidence: str
    reason: str
    power: str = ""
    detectable: float | None = None
    comparison: str = ""


def without_numbers(outcome: Outcome, evidence: str, reason: str, n: int = 0) -> Finding:
    """Return a finding without a comparison; `evidence` says what there is instead."""
    return Finding(outcome, None, "", None, None, n, evidence, reason)


@dataclass(frozen=True)
class Verdict:
    """The outcome of one claim on one group of alike runs, described by `protocol`."""

    id: str
    title: str
    source: str
    statement: str
    verdict: Outcome
    effect: float | None
    unit: str
    low: float | None
    high: float | None
    n: int
    protocol: str
    evidence: str
    reason: str
    rule: str
    needs: str = ""
    sweep: str = ""
    smallest: str = ""
    overturned: str = ""
    power: str = ""
    detectable: float | None = None
    comparison: str = ""
