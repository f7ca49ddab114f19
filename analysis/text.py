"""Texts: words listed, lines wrapped such that commands can still be given, Markdown tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

_WORDS = re.compile(r"(?:(?<!\w)'[^']*'|\S)+")
"""Words; a quote opens only where no letter is before it, so that "theory's" is a word."""


def wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    """Wrap `text` at spaces, outside of quotes; in its command a line ends by a backslash.

    Args:
        text: words, and from "resnet-lab" on a command.
        width: most columns; a longer word has a line of its own.
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
    """Return texts as a table of GitHub's Markdown; columns that are not `left` to the right."""
    sides = left or [True] * len(head)
    rule = ["---" if to_left else "---:" for to_left in sides]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
