"""Text helpers: lists of words, line wrapping that keeps commands valid, Markdown tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

_WORDS = re.compile(r"(?:(?<!\w)'[^']*'|\S)+")
"""Pattern of words; a quote after a letter opens nothing, so "theory's" is one word."""


def wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    """Wrap `text` at spaces outside quotes; lines of its command end with a backslash.

    Args:
        text: words, and from "resnet-lab" on a command.
        width: largest number of columns; a longer word has a line of its own.
        first: what the first line begins with.
        later: what every other line begins with.
    """
    lines, end, begin = [first], "", ""
    for word in _WORDS.findall(text):
        space = "" if lines[-1] in (first, later) else " "
        if space and len(f"{lines[-1]} {word} \\") > width:
            lines[-1] += end
            lines, space = [*lines, later], begin
        lines[-1] += f"{space}{word}"
        if word in ("resnet-lab", "#"):  # a comment ends with its line
            end, begin = (" \\", "") if word == "resnet-lab" else ("", "# ")
    return lines


def wrapped_words(text: str, width: int, first: str, later: str) -> list[str]:
    """Wrap `text` at spaces only, so that names and paths stay whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def listed(values: Sequence[object]) -> str:
    """Return ``a, b and c``."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[bool] = ()
) -> str:
    """Return texts as a GitHub Markdown table; columns are right-aligned unless in `left`."""
    sides = left or [True] * len(head)
    rule = ["---" if to_left else "---:" for to_left in sides]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
