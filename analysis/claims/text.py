"""Verdicts as text for a terminal, as a frame and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from analysis.claims.claim import Claim, Verdict
from analysis.text import markdown_table, wrapped

WIDTH = 100
"""Columns of a terminal into which explanations are wrapped."""

INDENT = " " * 4
NUMBERS = ("effect", "low", "high", "detectable")


def format_verdicts(verdicts: Sequence[Verdict], why: bool = False) -> str:
    """Return a line a verdict: ``degradation: supported (plain-56 minus plain-8 ..., n = 3)``.

    Verdicts of one group of alike runs are listed under its protocol. `why` adds the reasoning
    below each, and what would test an untested claim.
    """
    protocols = list(dict.fromkeys(verdict.protocol for verdict in verdicts))
    blocks = []
    for protocol in sorted(protocols, key=lambda label: label == ""):
        lines = [f"{protocol}:" if protocol else "not tested:"]
        for verdict in verdicts:
            if verdict.protocol == protocol:
                lines += [verdict_line(verdict), *(_reasoning(verdict) if why else ())]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def verdict_line(verdict: Verdict) -> str:
    """Return a verdict as one line: claim, outcome, effect, interval, n and comparison."""
    beside = f"; {verdict.comparison}" if verdict.comparison else ""
    return f"{verdict.title}: {verdict.verdict} ({verdict.evidence}){beside}"


def _reasoning(verdict: Verdict) -> list[str]:
    said = f"{verdict.reason} {verdict.power}".strip()
    if verdict.verdict == "not tested":
        said = f"to test it: {verdict.sweep}" if verdict.sweep else ""
    elif verdict.overturned:
        said += f" What would change it: {verdict.overturned[0].lower()}{verdict.overturned[1:]}"
    return wrapped(said, WIDTH, INDENT, INDENT) if said else []


def overturned_table(claims: Sequence[Claim]) -> str:
    """Return a Markdown table of the observations that would overturn each claim's verdicts."""
    rows = [
        (f"`{claim.id}`", outcome, seen)
        for claim in claims
        for outcome, seen in claim.overturned.items()
    ]
    return markdown_table(["id", "verdict", "what would have to be seen to change it"], rows)


def verdicts_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return one row a verdict; `NUMBERS` are NaN where there is none."""
    columns = [field.name for field in fields(Verdict)]
    frame = pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=columns)
    return frame.astype(dict.fromkeys(NUMBERS, float))


def verdicts_json(verdicts: Sequence[Verdict]) -> str:
    """Return a JSON list with one object a verdict; null where there is no number."""
    return json.dumps([asdict(verdict) for verdict in verdicts], indent=2, ensure_ascii=False)
