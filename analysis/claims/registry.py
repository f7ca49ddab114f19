"""All claims, and their evaluation on runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.claims.claim import Claim, Finding, Verdict
from analysis.claims.degradation import DEGRADATION
from analysis.claims.freeze import FREEZE
from analysis.claims.gradients import GRADIENTS, RATE
from analysis.claims.grouping import groups_across
from analysis.claims.no_norm import NO_NORM
from analysis.claims.overfitting import OVERFITTING
from analysis.claims.pair import PAIR, all_pairs, titled
from analysis.claims.preactivation import PREACTIVATION
from analysis.claims.responses import BRANCHES, RESPONSES
from analysis.claims.reversal import REVERSAL
from analysis.claims.shortcuts import SHORTCUTS
from analysis.claims.tie import TIE
from analysis.groups import Group, split_groups
from analysis.search import apart_from_searches
from resnet_lab.runs.frames import Runs

CLAIMS: tuple[Claim, ...] = (
    DEGRADATION,
    REVERSAL,
    TIE,
    SHORTCUTS,
    RESPONSES,
    OVERFITTING,
    GRADIENTS,
    RATE,
    FREEZE,
    NO_NORM,
    PREACTIVATION,
    BRANCHES,
)


def evaluate_claims(runs: Runs, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """Test every claim on every group of alike runs that has what it needs.

    One verdict a claim and group, in the order of `claims`; a claim that no group can test has one
    verdict "not tested" that says what is needed and which sweep would test it. Trials of a search
    are no alike runs, and are left to `analysis.search`.
    """
    runs = apart_from_searches(runs)
    groups = split_groups(runs)
    verdicts: list[Verdict] = []
    for claim in claims:
        compared = groups_across(runs, groups, claim.across) if claim.across else groups
        findings = [(group, claim.test(group)) for group in compared]
        tested = [_verdict(claim, group, found) for group, found in findings if found is not None]
        verdicts += tested or [_not_tested(claim)]
    return verdicts


def evaluate_pairs(runs: Runs) -> list[Verdict]:
    """Judge every plain network against its residual twin, pair after pair of alike runs.

    One verdict a pair; where there is none, one that is "not tested" and says what is needed.
    """
    found = [_verdict(titled(one), one.group, one.finding) for one in all_pairs(runs)]
    return found or [
        replace(
            _not_tested(PAIR),
            reason=f"No plain network has a residual twin of "
            f"its depth that was trained alike.{_try(PAIR)}",
        )
    ]


def evaluate(runs: Runs) -> list[Verdict]:
    """Return what runs say of every pair, and then of every claim."""
    return [*evaluate_pairs(runs), *evaluate_claims(runs)]


def _verdict(claim: Claim, group: Group, found: Finding) -> Verdict:
    return Verdict(
        id=claim.id,
        title=claim.title,
        source=claim.source,
        statement=claim.statement,
        verdict=found.outcome,
        effect=found.effect,
        unit=found.unit,
        low=found.low,
        high=found.high,
        n=found.n,
        protocol=group.label,
        evidence=found.evidence,
        reason=found.reason,
        rule=claim.rule,
        needs=claim.needs,
        sweep=claim.sweep,
        smallest=claim.smallest,
        overturned=claim.overturned.get(found.outcome, ""),
        power=found.power,
        detectable=found.detectable,
        comparison=found.comparison,
    )


def _not_tested(claim: Claim) -> Verdict:
    return Verdict(
        id=claim.id,
        title=claim.title,
        source=claim.source,
        statement=claim.statement,
        verdict="not tested",
        effect=None,
        unit="",
        low=None,
        high=None,
        n=0,
        protocol="",
        evidence=f"needs {claim.needs}",
        reason=f"No group of runs alike in everything but {_free(claim)} has them.{_try(claim)}",
        rule=claim.rule,
        needs=claim.needs,
        sweep=claim.sweep,
        smallest=claim.smallest,
    )


def _free(claim: Claim) -> str:
    names = ["depth", "shortcut", *([claim.across] if claim.across else [])]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _try(claim: Claim) -> str:
    return f" To test it: {claim.sweep}." if claim.sweep else ""
