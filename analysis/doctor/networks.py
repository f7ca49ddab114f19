"""Checks for networks that cannot show degradation: depth, width, a missing twin."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.doctor.diagnosis import (
    EXPLAINS,
    MATTERS,
    Case,
    Diagnosis,
    again,
    depths_of,
    plain_of,
    sibling,
)
from analysis.doctor.settings import differences_text, nearest_other
from analysis.groups import Group
from analysis.text import listed


def depth(case: Case) -> Sequence[Diagnosis]:
    """Check for two plain depths, the deeper one deep enough for the data.

    Skipped for a pair of one depth, which does not ask about depth.
    """
    members = case.group.members
    if case.shown or case.of_one_depth:
        return []
    if plain_of(members).empty:
        return [_no_plain(members)]
    if len(depths_of(plain_of(members))) < 2:
        return [_settings_apart(case) or _one_depth(case)]
    return _too_shallow(case)


def _no_plain(members: pd.DataFrame) -> Diagnosis:
    network = str(members["network"].iloc[0])
    shortcut = str(members["shortcut"].iloc[0])
    plain = network.replace("resnet", "plain", 1).replace(f"-{shortcut}", "", 1)
    twins = ",".join(sibling(plain, depth) for depth in depths_of(members))
    return Diagnosis(
        id="no plain network",
        severity=EXPLAINS,
        found=f"only residual networks: {listed(list(members['short'].unique()))}",
        why="degradation is the deeper of two plain networks training worse; shortcuts reverse it, "
        "so residual networks alone do not show it",
        remedy=again(members, f"--network {twins}"),
    )


def _one_depth(case: Case) -> Diagnosis:
    plain = plain_of(case.group.members)
    (here,) = depths_of(plain)
    known, network = case.known, str(plain["network"].iloc[0])
    other = here + 36
    if known is not None:
        other = known.deep if here <= known.least else known.shallow
    if str(case.group.settings.get("layout")) == "imagenet":
        other = 34 if here == 18 else 18
    fact = f"; {known.fact}" if known is not None else ""
    return Diagnosis(
        id="one depth",
        severity=EXPLAINS,
        found=f"plain networks of one depth only, {here} layers",
        why=f"degradation is a comparison of two depths trained alike{fact}",
        remedy=again(plain, f"--network {sibling(network, other)}"),
    )


def _settings_apart(case: Case) -> Diagnosis | None:
    """Report another depth that was trained with other settings."""
    here = set(depths_of(plain_of(case.group.members)))
    holders = [one for one in case.others if set(depths_of(plain_of(one.members))) - here]
    if not holders:
        return None
    other = nearest_other(case.group, holders)
    (mine,), theirs = here, sorted(set(depths_of(plain_of(other.members))) - here)
    return Diagnosis(
        id="settings differ between depths",
        severity=EXPLAINS,
        found=f"{mine} layers and {listed(theirs)} layers were not trained alike: "
        f"{differences_text(case.group, other)}",
        why="a difference between networks that differ in more than depth has two explanations, so "
        "such runs are never compared",
        remedy="train the other depth as this one: "
        + again(
            plain_of(case.group.members),
            f"--network {plain_of(other.members)['network'].iloc[-1]}",
        ),
    )


def _too_shallow(case: Case) -> Sequence[Diagnosis]:
    known, plain = case.known, plain_of(case.group.members)
    deepest = depths_of(plain)[-1]
    if known is None or deepest >= known.deep:
        return []
    network = sibling(str(plain["network"].iloc[-1]), known.deep)
    return [
        Diagnosis(
            id="too shallow",
            severity=EXPLAINS if deepest <= known.least else MATTERS,
            found=f"the deepest plain network has {deepest} layers",
            why=known.fact,
            remedy=again(plain[plain["depth"] == deepest], f"--network {network}"),
        )
    ]


def width(case: Case) -> Sequence[Diagnosis]:
    """Check for more filters than degradation was measured with."""
    known, here = case.known, case.group.settings.get("width")
    if case.shown or known is None or not isinstance(here, float) or here <= known.width:
        return []
    plain = plain_of(case.group.members)
    members = case.group.members if plain.empty else plain
    name = str(members["network"].iloc[-1]).replace(f"-x{here:g}", "")
    narrow = name if known.width == 1 else f"{name}-x{known.width:g}"
    return [
        Diagnosis(
            id="too wide",
            severity=MATTERS,
            found=f"the networks have {here:g} times the paper's filters; degradation was measured "
            f"at {known.width:g} times",
            why=known.width_fact
            or f"wider networks were not measured by this project; {known.fact}",
            remedy=again(members, f"--network {narrow}"),
        )
    ]


def twins(case: Case) -> Sequence[Diagnosis]:
    """Check for the residual twin of the deepest plain network, which shows the reversal."""
    members = case.group.members
    plain = plain_of(members)
    if plain.empty:
        return []
    deepest = plain[plain["depth"] == plain["depth"].max()]
    residual = members[members["family"] == "residual"]
    if int(deepest["depth"].iloc[0]) in depths_of(residual):
        return []
    return [_no_twin(case, deepest)]


def _no_twin(case: Case, deepest: pd.DataFrame) -> Diagnosis:
    network, layers = str(deepest["network"].iloc[0]), int(deepest["depth"].iloc[0])
    twin = network.replace("plain", "resnet", 1)
    elsewhere = [one for one in case.others if layers in _residual_depths(one)]
    found = f"{deepest['short'].iloc[0]} has no residual twin"
    if elsewhere:
        other = nearest_other(case.group, elsewhere)
        found += (
            f" trained alike; the one that is there differs: {differences_text(case.group, other)}"
        )
    return Diagnosis(
        id="no twin",
        severity=MATTERS,
        found=found,
        why="the twin has the same parameters and initial values and saw the same batches: only it "
        "shows that depth itself is not what makes training fail",
        remedy=again(deepest, f"--network {network},{twin}"),
    )


def _residual_depths(group: Group) -> list[int]:
    return depths_of(group.members[group.members["family"] == "residual"])
