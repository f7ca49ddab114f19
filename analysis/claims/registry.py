"""All claims, and their evaluation on runs."""

from __future__ import annotations

from analysis.claims.claim import Claim, Finding, Verdict
from analysis.claims.degradation import DEGRADATION
from analysis.claims.gradients import GRADIENTS
from analysis.claims.responses import RESPONSES
from analysis.claims.reversal import REVERSAL
from analysis.groups import Group, split_groups
from resnet_lab.runs.frames import Runs

CLAIMS: tuple[Claim, ...] = (DEGRADATION, REVERSAL, RESPONSES, GRADIENTS)


def evaluate_claims(runs: Runs) -> list[Verdict]:
    """Test every claim on every group of alike runs that has what it needs.

    One verdict a claim and group, in the order of `CLAIMS`; a claim that no group can test has one
    verdict "not tested" that says what is needed.
    """
    groups = split_groups(runs)
    verdicts: list[Verdict] = []
    for claim in CLAIMS:
        findings = [(group, claim.test(group)) for group in groups]
        tested = [_verdict(claim, group, found) for group, found in findings if found is not None]
        verdicts += tested or [_not_tested(claim)]
    return verdicts


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
        reason="No group of runs alike in everything but depth and shortcut has them.",
        rule=claim.rule,
    )
