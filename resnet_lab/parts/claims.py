"""Claims: statements with a test on groups of alike runs, built-in or user-defined.

    @rl.claim("shortcut-helps", statement="...", needs="plain-20 and resnet-20, trained alike")
    def shortcut_helps(group):
        return group.compare("plain-20", "resnet-20")

`analysis.claims.own` calls the function and turns its result into a verdict; this module judges no
runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from resnet_lab.errors import UserError, suggest
from resnet_lab.parts.registry import Registry

Outcome = Literal[
    "supported",
    "refuted",
    "equivalent",
    "not under this recipe",
    "undecided",
    "not tested",
]
"""Equivalent: alike within the stated margin. Not under this recipe: nothing was learnt, or nearly
every seed diverged, so the runs cannot decide the claim."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Test = TypeVar("Test", bound=Callable[..., Any])
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement with its test on runs.

    `test` takes a group of alike runs and returns a finding, or None if the group lacks the needed
    runs. `needs` says in words which runs those are; `rule` states threshold and level; `sweep` is
    a file in sweeps/, or a command, that makes such runs; `smallest` is the smallest effect of
    interest; `overturned` maps an outcome to the observation that would change it. `across` names
    a trait of networks in which the runs may differ besides depth, shortcut and seed: groups then
    hold several of its values.
    """

    id: str
    title: str
    source: str
    statement: str
    needs: str
    rule: str
    test: Callable[..., Any]
    sweep: str = ""
    smallest: str = ""
    across: str = ""
    overturned: Mapping[Outcome, str] = field(default_factory=dict)


OWN: Registry[Claim] = Registry("claim", "resnet_lab.parts")
"""The user's claims. Built-in claims, which need pandas, are in `analysis.claims.project`; their
ids begin with a number, so the two never collide."""


def claim(
    id: str,
    *,
    statement: str,
    needs: str,
    title: str = "",
    source: str = "",
    rule: str = "",
    sweep: str = "",
    smallest: str = "",
    across: str = "",
    overturned: Mapping[Outcome, str] | None = None,
) -> Callable[[Test], Test]:
    """Decorator that registers a function as a claim.

    The function is called with each group of alike runs and returns `group.compare(...)`,
    `group.finding(...)`, or None if the group lacks the runs.

    Args:
        id: its name: small letters, digits and hyphens.
        statement: one sentence that runs can support or refute.
        needs: the runs that it needs, in words.
        title: its name in verdicts; by default the id with spaces.
        source: origin of the statement; by default the file.
        rule: when it is supported or refuted; by default the function's docstring.
        sweep: a sweep file or a command that makes such runs.
        smallest: the smallest effect of interest, in words.
        across: a trait in which the compared networks differ: "branch", "activation", "width" ...
        overturned: outcome -> observation that would change it.

    Raises:
        UserError: the id is taken or invalid, a text is missing, or an outcome is unknown.
    """
    if not _ID.fullmatch(id) or id == "pair":
        raise UserError(f"claim '{id}': give small letters, digits and hyphens, a letter first")
    for name, text in (("statement", statement), ("needs", needs)):
        if not text.strip():
            raise UserError(f"claim '{id}': its {name} is empty")
    for outcome in overturned or {}:
        if outcome not in OUTCOMES:
            hint = suggest(outcome, OUTCOMES) or "."
            raise UserError(f"claim '{id}': unknown outcome '{outcome}'{hint}")

    def decorate(test: Test) -> Test:
        if not inspect.isfunction(test):
            raise UserError(f"claim '{id}': {test!r} is no function of a group of runs")
        made = Claim(
            id=id,
            title=title or id.replace("-", " "),
            source=source or Path(test.__code__.co_filename).name,
            statement=statement,
            needs=needs,
            rule=rule or " ".join((test.__doc__ or "").split()),
            test=test,
            sweep=sweep,
            smallest=smallest,
            across=across,
            overturned=dict(overturned or {}),
        )
        OWN.add(id, made, test)
        return test

    return decorate
