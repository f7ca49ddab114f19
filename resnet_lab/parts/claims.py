"""Claims: statements with a test on groups of alike runs, the project's and the user's own.

    @rl.claim("shortcut-helps", statement="...", needs="plain-20 and resnet-20, trained alike")
    def shortcut_helps(group):
        return group.compare("plain-20", "resnet-20")

What a function is given, and how what it returns becomes a verdict, is for `analysis.claims.own`:
runs are judged there and never here.
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
every seed diverged, so that the runs say nothing of the claim."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Test = TypeVar("Test", bound=Callable[..., Any])
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement with its test on runs.

    `test` gets a group of alike runs and returns what it found, None where the group lacks the
    runs that it needs. `needs` says in words which runs those are; `rule` states threshold and
    level; `sweep` is a file in sweeps/, or a command, that makes such runs; `smallest` is the
    smallest effect of interest; `overturned` says of an outcome what would have to be seen to
    change it. `across` names a trait of networks in which the runs may differ besides depth,
    shortcut and seed: the test then gets groups that hold several of its values.
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
"""The user's claims. The project's, which need pandas, stand in `analysis.claims.project`; their
ids begin with a number, so the two never meet."""


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
    """Make a function a claim: a decorator.

    The function is called with each group of alike runs and returns `group.compare(...)`,
    `group.finding(...)`, or None where the group lacks the runs.

    Args:
        id: its name: small letters, digits and hyphens.
        statement: what it says, in one sentence that runs can support or refute.
        needs: which runs it takes, in words.
        title: how verdicts call it; by default the id with spaces.
        source: who says so; by default the file.
        rule: when it is supported or refuted; by default the function's docstring.
        sweep: a sweep file or a command that makes such runs.
        smallest: the smallest effect of interest, in words.
        across: a trait in which the compared networks differ: "branch", "activation", "width" ...
        overturned: outcome -> what would have to be seen to change it.

    Raises:
        UserError: the id is taken or no name, a text is missing, or an outcome is none.
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
        OWN.add(id, made)
        return test

    return decorate
