"""What a claim and a verdict are.

Adding a claim takes one `Claim` object: a `test` that gets one group of alike runs and returns a
`Finding`, or None where the group lacks the runs that the claim needs; then its name in
`registry.CLAIMS`. docs/claims.md has a complete example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from analysis.groups import Group

ALPHA = 0.05
"""Two-sided significance level of every claim: intervals hold at 1 - ALPHA."""

Outcome = Literal[
    "supported",
    "refuted",
    "equivalent",
    "not under this recipe",
    "undecided",
    "not tested",
]
"""Equivalent: alike within the stated margin. Not under this recipe: nothing was learnt, or nearly
every seed diverged, so that the runs say nothing of the claim."""


@dataclass(frozen=True)
class Finding:
    """What one group of runs says about one claim.

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


@dataclass(frozen=True)
class Claim:
    """A statement of the paper with its test on runs.

    `needs` says in words which runs the test asks for; `rule` states its threshold and level;
    `sweep` is a file in sweeps/, or a command, that makes such runs; `smallest` is the smallest
    effect of interest; `overturned` says of an outcome what would have to be seen to
    change it. `across` names a trait of networks in which the runs may differ besides
    depth, shortcut and seed: the test then gets groups that hold several of its values.
    """

    id: str
    title: str
    source: str
    statement: str
    needs: str
    rule: str
    test: Callable[[Group], Finding | None]
    sweep: str = ""
    smallest: str = ""
    across: str = ""
    overturned: Mapping[Outcome, str] = field(default_factory=dict)


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
