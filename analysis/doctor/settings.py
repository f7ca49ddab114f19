"""Settings in which runs differ from each other, or from a reference recipe."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.doctor.diagnosis import MATTERS, Case, Diagnosis
from analysis.doctor.facts import EFFECTS, HARMLESS, NETWORK, RECIPES
from analysis.groups import Group
from analysis.labels import settings_in


def settings_of(group: Group) -> dict[str, str]:
    """Return every setting of a group as text; a schedule is split into its settings."""
    found: dict[str, str] = {}
    for name, value in group.settings.items():
        if isinstance(value, str) and "=" in value:
            found.update({key: value_text(text) for key, text in settings_in(value).items()})
        else:
            found[name] = value_text(value)
    return found


def value_text(value: object) -> str:
    """Return a setting as text; a missing value is "none"."""
    if isinstance(value, float):
        return "none" if pd.isna(value) else f"{value:g}"
    return "none" if value is None or value == "None" else str(value)


def differing(one: Group, other: Group) -> list[str]:
    """Return the names of the settings in which two groups differ."""
    mine, theirs = settings_of(one), settings_of(other)
    return [name for name in mine if mine[name] != theirs.get(name, "none")]


def differences_text(one: Group, other: Group) -> str:
    """Return ``lr 0.1 here and 0.05 there, ...``."""
    mine, theirs = settings_of(one), settings_of(other)
    return ", ".join(
        f"{name} {mine[name]} here and {theirs.get(name, 'none')} there"
        for name in differing(one, other)
    )


def nearest_other(group: Group, others: Sequence[Group]) -> Group:
    """Return the one of `others` that differs from `group` in fewest settings."""
    return min(others, key=lambda other: len(differing(group, other)))


def recipe(case: Case) -> Sequence[Diagnosis]:
    """Report how the recipe differs from the one with which degradation is known to show."""
    known = case.known
    if case.shown or known is None:
        return []
    here = settings_of(case.group)
    there = {
        name: value_text(value) for name, value in {**RECIPES[known.recipe], **NETWORK}.items()
    }
    other = {name: value for name, value in there.items() if here.get(name, value) != value}
    if not other:
        return []
    texts = [f"{name} {here[name]} (there {value})" for name, value in other.items()]
    return [
        Diagnosis(
            id="another recipe",
            severity=MATTERS,
            found=f"differs from {known.recipe}: {', '.join(texts)}",
            why=_known_effects(list(other)),
            remedy=f"resnet-lab train --config {known.recipe} --network "
            + ",".join(case.group.members["network"].unique()),
        )
    ]


def _known_effects(names: Sequence[str]) -> str:
    told = [f"{name}: {EFFECTS[name]}" for name in names if name in EFFECTS]
    told += [
        f"{name} is not known to matter: {HARMLESS[name]}" for name in names if name in HARMLESS
    ]
    return "; ".join(told) or "none of these is known to matter, and none is known not to"
