"""Text from and to a terminal: names in files come from anywhere and may hold control codes."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence

from resnet_lab.errors import UserError

LONGEST_MESSAGE = 2000
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control codes, what turns the direction of writing round, and halves of characters."""


def printable(text: str) -> str:
    r"""Return `text` with an escape such as \x1b in the place of what a terminal would obey."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def message(error: Exception) -> str:
    """What is printed of an error: on one line, and its middle left out if it is very long."""
    text = printable(" ".join(str(error).split()))
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} [...] {text[-half:]}"


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UserError for what no terminal can pass on, but a file of parameters can."""
    if any("\0" in argument for argument in arguments):
        raise UserError("an argument holds a NUL character, which no name or value has")


def print_anything() -> None:
    """Let characters that the terminal's encoding lacks be printed as escapes, not as an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
