"""All checks of the doctor, run on every group of alike runs."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.claims.pair import Pair, titled
from analysis.doctor import best_epochs, networks, seeds, settings, training
from analysis.doctor.diagnosis import EXPLAINS, Case, Check, Diagnosis
from analysis.groups import Group, split_groups
from analysis.search import apart_from_searches
from resnet_lab.runs.frames import Runs

CHECKS: dict[str, Check] = {
    "finished": training.unfinished,
    "depth": networks.depth,
    "seeds": seeds.seeds,
    "learning": training.chance,
    "difficulty": training.too_easy,
    "length": training.too_few_steps,
    "width": networks.width,
    "recipe": settings.recipe,
    "twin": networks.twins,
    "best epochs": best_epochs.best_epochs,
    "test images": best_epochs.test_unread,
}
"""Name of a check -> its function."""


@dataclass(frozen=True)
class Examination:
    """The diagnoses of one group of alike runs.

    `outcome` is the verdict on degradation ("not tested" where the group cannot test it), with
    its numbers in `evidence`. `diagnoses` begin with the one that explains most; `fine` names the
    checks that found nothing. `pairs` has the verdict on each plain network and its residual twin,
    one a line. `one_depth` is true where the runs compare such a pair alone, and not depths.
    """

    protocol: str
    members: int
    finished: int
    outcome: str
    evidence: str
    diagnoses: tuple[Diagnosis, ...]
    fine: tuple[str, ...]
    pairs: tuple[str, ...] = ()
    one_depth: bool = False


def examine(runs: Runs) -> list[Examination]:
    """Run every check on every group of alike runs, the largest group first.

    Trials of searches are not alike: see `analysis.doctor.searches`.
    """
    groups = split_groups(apart_from_searches(runs))
    return [_examined(Case(group, _same_data(group, groups))) for group in groups]


def _same_data(group: Group, groups: list[Group]) -> tuple[Group, ...]:
    data = group.settings["data"]
    return tuple(one for one in groups if one is not group and one.settings["data"] == data)


def _examined(case: Case) -> Examination:
    found = {name: tuple(check(case)) for name, check in CHECKS.items()}
    diagnoses = [one for several in found.values() for one in several]
    finding = case.finding
    return Examination(
        protocol=case.group.label,
        members=len(case.group.members),
        finished=len(case.group.finished),
        outcome="not tested" if finding is None else finding.outcome,
        evidence="" if finding is None else finding.evidence,
        diagnoses=tuple(sorted(diagnoses, key=lambda one: one.severity != EXPLAINS)),
        fine=tuple(name for name, several in found.items() if not several and _asked(case, name)),
        pairs=tuple(_pair_line(one) for one in case.pairs),
        one_depth=case.of_one_depth,
    )


def _asked(case: Case, name: str) -> bool:
    """Whether a check applies: a pair of one depth has no depths to compare."""
    return not (case.of_one_depth and name in ("depth", "best epochs"))


def _pair_line(pair: Pair) -> str:
    found = pair.finding
    return f"{titled(pair).title}: {found.outcome} ({found.evidence})"
