"""Examinations as text for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from analysis.claims import Verdict, format_verdicts
from analysis.doctor.diagnosis import EXPLAINS, Diagnosis
from analysis.doctor.examine import Examination
from analysis.doctor.searches import SearchExamination
from analysis.text import wrapped, wrapped_words

WIDTH = 96
LEFT_OUT = 10
"""Largest number of skipped entries that are listed one by one."""


def examination_text(
    examinations: Sequence[Examination],
    skipped: Sequence[tuple[str, str]],
    foreign: Sequence[str],
    searches: Sequence[SearchExamination] = (),
    own: Sequence[Verdict] = (),
) -> str:
    """Return every group with its verdict and diagnoses, and the entries that were skipped.

    Args:
        examinations: result of `examine`.
        skipped: (path, reason) of run directories that could not be read.
        foreign: folders that contain no run.
        searches: result of `examine_searches`.
        own: verdicts on the user's own claims.
    """
    blocks = ["\n".join(_search_lines(one)) for one in searches]
    blocks += ["\n".join(_examination_lines(one)) for one in examinations]
    blocks += [f"your own claims, {format_verdicts(own, why=True)}"] if own else []
    entries = [f"{path}: {reason}" for path, reason in skipped]
    entries += [f"{path}: no run.json at or below it" for path in foreign]
    if entries:
        more = [f"... and {len(entries) - LEFT_OUT} more"] if entries[LEFT_OUT:] else []
        shown = [line for one in entries[:LEFT_OUT] for line in _wrapped(one, 2, 4)]
        blocks.append("\n".join(["left out:", *shown, *(f"  {one}" for one in more)]))
    return "\n\n".join(blocks)


def _search_lines(search: SearchExamination) -> list[str]:
    lines = [line for one in search.summary for line in _kept(one)]
    if not search.findings:
        return [*lines, "  nothing found"]
    return [*lines, *(line for one in search.findings for line in _wrapped(one, 2, 4))]


def _kept(line: str) -> list[str]:
    """Wrap a line of a summary; tables and commands to paste are left unchanged."""
    is_text = line.startswith("  drawn") or not line.startswith("  ")
    return _wrapped(line.strip(), len(line) - len(line.lstrip()), 4) if is_text else [line]


def _examination_lines(examined: Examination) -> list[str]:
    networks = "network" if examined.members == 1 else "networks"
    count = f"{examined.finished} of {examined.members} {networks} finished"
    lines = _wrapped(f"{examined.protocol}: {count}", 0, 2)
    for pair in examined.pairs:
        lines += _wrapped(pair, 2, 4)
    evidence = f" ({examined.evidence})" if examined.evidence else ""
    lines += _wrapped(f"degradation: {examined.outcome}{evidence or _not_asked(examined)}", 2, 4)
    lines += [f"  {_headline(examined)}"]
    for diagnosis in examined.diagnoses:
        lines += _diagnosis_lines(diagnosis)
    if examined.fine:
        lines += _wrapped(f"fine: {', '.join(examined.fine)}", 2, 4)
    return lines


def _not_asked(examined: Examination) -> str:
    if not examined.one_depth:
        return ""
    return " (the depth question was not asked: plain and residual networks of one depth)"


def _headline(examined: Examination) -> str:
    count = sum(one.severity == EXPLAINS for one in examined.diagnoses)
    if examined.one_depth:
        return _pair_headline(examined, count)
    if examined.outcome == "supported":
        seen = "the deeper plain network trains worse"
        return (
            f"{seen}; what may matter:"
            if examined.diagnoses
            else f"nothing stands in the way: {seen}"
        )
    if count:
        return f"{count} {'thing explains' if count == 1 else 'things explain'} it:"
    if examined.diagnoses:
        return "nothing explains it for certain; what may matter:"
    return "nothing stands in the way: these networks show no degradation"


def _pair_headline(examined: Examination, count: int) -> str:
    if count:
        return f"{count} {'thing stands' if count == 1 else 'things stand'} in the pair's way:"
    return "what may matter to the pair:" if examined.diagnoses else "nothing stands in its way"


def _diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    head = f"{diagnosis.severity}: {diagnosis.id}: {diagnosis.found}."
    return [
        *_wrapped(head, 2, 6),
        *_wrapped(f"why: {diagnosis.why}.", 6, 11),
        *wrapped(diagnosis.remedy, WIDTH, "      do:  ", " " * 11),
    ]


def _wrapped(text: str, first: int, later: int) -> list[str]:
    return wrapped_words(text, WIDTH, " " * first, " " * later)


def examination_json(
    examinations: Sequence[Examination],
    skipped: Sequence[tuple[str, str]],
    foreign: Sequence[str],
    searches: Sequence[SearchExamination] = (),
    own: Sequence[Verdict] = (),
) -> str:
    """Return the same as `examination_text` as a JSON object."""
    content = {
        "groups": [asdict(one) for one in examinations],
        "searches": [asdict(one) for one in searches],
        "own_claims": [asdict(one) for one in own],
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "foreign": list(foreign),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
