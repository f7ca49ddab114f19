"""Types of a diagnosis, and of the case that every check examines."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.claims.claim import Finding
from analysis.claims.pair import Pair, pairs_of
from analysis.claims.project.degradation import degradation
from analysis.doctor.facts import KNOWN, Known
from analysis.groups import Group
from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec

EXPLAINS, MATTERS = "explains it", "may matter"


@dataclass(frozen=True)
class Diagnosis:
    """One possible reason why runs show no degradation.

    `severity` is "explains it" (with this, degradation cannot show) or "may matter". `found` has
    the numbers, `why` the measured fact behind it, `remedy` a command or flag.
    """

    id: str
    severity: str
    found: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Case:
    """A group of alike runs, and the other groups of the same data set."""

    group: Group
    others: tuple[Group, ...] = ()

    @cached_property
    def finding(self) -> Finding | None:
        """The group's finding on degradation; None where the group cannot test it."""
        return degradation(self.group)

    @property
    def shown(self) -> bool:
        """Whether degradation shows, so that no diagnosis is needed.

        For a pair of one depth: whether its difference shows.
        """
        if self.of_one_depth:
            return any(pair.finding.outcome == "supported" for pair in self.pairs)
        return self.finding is not None and self.finding.outcome == "supported"

    @cached_property
    def plain(self) -> pd.DataFrame:
        """Finished plain members, the shallowest first."""
        return plain_of(self.group.finished)

    @property
    def depths(self) -> list[int]:
        """Depths of the finished plain networks, rising."""
        return depths_of(self.plain)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Plain networks with a residual twin that was trained alike, finished or not."""
        return pairs_of(self.group)

    @cached_property
    def of_one_depth(self) -> bool:
        """Whether the runs ask about a pair at one depth, and not about depth.

        True if their plain networks have one depth and a twin at it, and no run of the same study
        has a plain network of another depth.
        """
        depths = depths_of(plain_of(self.group.members))
        studies = set(self.group.members["study"])
        others = [plain_of(one.members) for one in self.others]
        elsewhere = {
            depth for plain in others for depth in plain.loc[plain["study"].isin(studies), "depth"]
        }
        return bool(self.pairs) and len(depths) == 1 and elsewhere <= set(depths)

    @property
    def known(self) -> Known | None:
        """Known facts on degradation on this data; None where it has not been measured."""
        return KNOWN.get(str(self.group.settings["data"]))

    def at(self, depth: int) -> pd.DataFrame:
        """Finished plain members of one depth."""
        return self.plain[self.plain["depth"] == depth]

    def curve(self, depth: int, split: str) -> pd.DataFrame:
        """Logged errors (percent) of the finished plain members of one depth, by step."""
        metrics = self.group.runs.metrics
        rows = metrics[(metrics["metric"] == "error") & (metrics["split"] == split)]
        return rows.merge(self.at(depth)[["run", "network"]], on=["run", "network"], how="inner")


Check = Callable[[Case], Sequence[Diagnosis]]


def plain_of(members: pd.DataFrame) -> pd.DataFrame:
    """Return the plain ones of `members`, the shallowest first."""
    plain = members[members["family"] == "plain"]
    return plain.sort_values(["depth", "seed"], kind="stable")


def depths_of(members: pd.DataFrame) -> list[int]:
    """Return the depths among `members`, rising."""
    return sorted(int(depth) for depth in members["depth"].unique())


def sibling(network: str, depth: int) -> str:
    """Return the name of the same network at another depth, or plain-DEPTH if none exists."""
    try:
        return replace(NetworkSpec.parse(network), depth=depth).name
    except UserError:
        return f"plain-{depth}"


def again(members: pd.DataFrame, flags: str) -> str:
    """Return the command that repeats the first member's run with changed `flags`."""
    path = str(members["path"].iloc[0])
    return f"resnet-lab train --config {shlex.quote(path + '/config.yaml')} {flags}"


def continued(members: pd.DataFrame) -> str:
    """Return the command that resumes the first member's run in its directory."""
    path, study = Path(str(members["path"].iloc[0])), members["study"].iloc[0]
    runs_dir = path.parent.parent if path.parent.name == study else path.parent
    return again(members, f"--runs-dir {shlex.quote(str(runs_dir))}")


def counted(members: pd.DataFrame, part: pd.DataFrame) -> str:
    """Return ``2 of 3 networks``."""
    return f"{len(part)} of {len(members)} network{'' if len(members) == 1 else 's'}"
