"""All claims, the project's and the user's own, and their evaluation on runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

from analysis.claims import project
from analysis.claims.claim import Claim, Finding, Verdict, without_numbers
from analysis.claims.grouping import groups_across
from analysis.claims.own import own_claims
from analysis.claims.pair import PAIR, all_pairs, titled
from analysis.groups import split_groups
from analysis.search import apart_from_searches
from analysis.text import listed
from resnet_lab.errors import UserError
from resnet_lab.runs.frames import Runs


def _of_the_project() -> tuple[Claim, ...]:
    """Return every claim defined in a module of `analysis.claims.project`, by number."""
    modules = [
        import_module(f"{project.__name__}.{one.name}") for one in iter_modules(project.__path__)
    ]
    found = [one for module in modules for one in vars(module).values() if isinstance(one, Claim)]
    return tuple(sorted(found, key=lambda claim: int(claim.id.split("-")[0])))


OF_CLAIM = ("id", "title", "source", "statement", "rule", "needs", "sweep", "smallest")
"""Fields of a claim that its verdict repeats."""

CLAIMS = _of_the_project()
"""The project's claims."""


def all_claims() -> tuple[Claim, ...]:
    """Return the project's claims, then those of the user's files of parts."""
    return (*CLAIMS, *own_claims())


def evaluate_claims(runs: Runs, claims: Sequence[Claim] | None = None) -> list[Verdict]:
    """Test every claim on every group of alike runs that has the runs it needs.

    One verdict a claim and group, in the order of `claims` (default: all). A claim that no group
    can test has one verdict "not tested" that says what is needed and which sweep would test it; a
    claim whose function fails has one that says where. Trials of a search are not alike;
    `analysis.search` handles them.
    """
    runs = apart_from_searches(runs)
    groups = split_groups(runs)
    verdicts: list[Verdict] = []
    for claim in all_claims() if claims is None else claims:
        try:
            compared = groups_across(runs, groups, claim.across) if claim.across else groups
            findings = [(group, claim.test(group)) for group in compared]
        except UserError as error:
            verdicts.append(replace(_not_tested(claim), evidence=str(error), reason=f"{error}."))
            continue
        tested = [
            _verdict(claim, group.label, found) for group, found in findings if found is not None
        ]
        verdicts += tested or [_not_tested(claim)]
    return verdicts


def evaluate_pairs(runs: Runs) -> list[Verdict]:
    """Judge every plain network against its residual twin among alike runs.

    One verdict a pair; without pairs, one verdict "not tested" that says what is needed.
    """
    found = [_verdict(titled(one), one.group.label, one.finding) for one in all_pairs(runs)]
    return found or [
        replace(
            _not_tested(PAIR),
            reason=f"No plain network has a residual twin of "
            f"its depth that was trained alike.{_try(PAIR)}",
        )
    ]


def evaluate(runs: Runs) -> list[Verdict]:
    """Return the verdicts on every pair, then those on every claim."""
    return [*evaluate_pairs(runs), *evaluate_claims(runs)]


def _verdict(claim: Claim, protocol: str, found: Finding) -> Verdict:
    said = {name: getattr(claim, name) for name in OF_CLAIM}
    return Verdict(
        **said,
        **{name: value for name, value in vars(found).items() if name != "outcome"},
        verdict=found.outcome,
        protocol=protocol,
        overturned=claim.overturned.get(found.outcome, ""),
    )


def _not_tested(claim: Claim) -> Verdict:
    free = ["depth", "shortcut", *([claim.across] if claim.across else [])]
    alike = f"No group of runs alike in everything but {listed(free)} has them."
    return _verdict(
        claim, "", without_numbers("not tested", f"needs {claim.needs}", alike + _try(claim))
    )


def _try(claim: Claim) -> str:
    return f" To test it: {claim.sweep}." if claim.sweep else ""
