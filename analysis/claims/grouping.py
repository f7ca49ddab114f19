"""Groups whose networks may also differ in one trait, for claims that compare its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analysis.groups import Group, restrict
from analysis.labels import TRAITS, group_labels
from resnet_lab.errors import UserError, suggest
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.runs.frames import Runs


def groups_across(runs: Runs, groups: Sequence[Group], trait: str) -> list[Group]:
    """Return groups with several values of `trait` that are alike in everything else.

    The members' short names include the value, unless it is the default.

    Raises:
        UserError: networks have no such trait.
    """
    if trait not in TRAITS:
        hint = suggest(trait, TRAITS) or f". Known: {', '.join(TRAITS)}"
        raise UserError(f"networks have no trait '{trait}'{hint}")
    if not groups:
        return []
    settings = pd.DataFrame([group.settings for group in groups])
    others = [name for name in settings if name != trait]
    numbers = settings.groupby(others, sort=False, dropna=False).ngroup().to_numpy()
    kinds = [
        [group for group, number in zip(groups, numbers, strict=True) if number == kind]
        for kind in dict.fromkeys(numbers)
    ]
    several = [kind for kind in kinds if len(kind) > 1]
    labels = group_labels([_settings(kind, trait) for kind in several])
    return [_merged(runs, kind, trait, one) for kind, one in zip(several, labels, strict=True)]


def _settings(kind: Sequence[Group], trait: str) -> dict[str, object]:
    """Return the shared settings, with the default value of `trait` if a group has it."""
    return sorted(kind, key=lambda group: not _is_usual(group, trait))[0].settings


def _is_usual(group: Group, trait: str) -> bool:
    depth = int(group.members["depth"].iloc[0])
    return bool(group.settings[trait] == getattr(NetworkSpec.parse(f"resnet-{depth}"), trait))


def _merged(runs: Runs, kind: Sequence[Group], trait: str, label: str) -> Group:
    members = pd.concat([_named(group, trait) for group in kind])
    return Group(label, "", _settings(kind, trait), members, restrict(runs, members))


def _named(group: Group, trait: str) -> pd.DataFrame:
    members = group.members
    endings = [_ending(str(name), trait) for name in members["network"]]
    return members.assign(short=members["short"] + pd.Series(endings, index=members.index))


def _ending(network: str, trait: str) -> str:
    """Return the part of a name for `trait`, e.g. ``-preact``; "" for the default value."""
    spec = NetworkSpec.parse(network)
    usual = getattr(NetworkSpec.parse(f"resnet-{spec.depth}"), trait)
    known = replace(spec, **{trait: usual}).name.split("-")
    return "".join(f"-{token}" for token in spec.name.split("-") if token not in known)
