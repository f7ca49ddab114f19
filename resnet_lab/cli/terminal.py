"""Safe printing: escapes for control codes in names, and streams that may be closed."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence

from resnet_lab.errors import UserError

LONGEST_MESSAGE = 2000
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control codes, characters that change the writing direction, and lone surrogates."""


def printable(text: str) -> str:
    r"""Return `text` with control codes replaced by escapes such as \x1b."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def message(error: Exception) -> str:
    """An error's message on one line, with its middle left out if it is very long."""
    text = printable(" ".join(str(error).split()))
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} [...] {text[-half:]}"


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UserError for arguments that only a file of parameters could contain, not a shell."""
    if any("\0" in argument for argument in arguments):
        raise UserError("an argument holds a NUL character, which no name or value has")


def print_anything() -> None:
    """Print characters that the terminal's encoding lacks as escapes instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def own_streams() -> None:
    """Replace the standard streams by ones whose closing cannot end a command.

    A closed stream is sent to the null device: else the next opened file would take its number.
    Output without a reader, as after `| head` or on a closed terminal, is dropped, as the run
    itself is unaffected.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number))
    for name, lost in (("stdout", BrokenPipeError), ("stderr", OSError)):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            setattr(sys, name, _Unbroken(stream, OSError if stream.isatty() else lost))


def _nowhere(number: int) -> io.TextIOWrapper:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
    return open(os.devnull, "w" if number else "r", encoding="utf-8")


class _Unbroken(io.TextIOWrapper):
    """A text stream that drops its output once the reader is gone."""

    def __init__(self, stream: io.TextIOWrapper, lost: type[OSError]) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
        )
        self._stream = stream  # kept, as its deletion would close the buffer
        self._lost = lost

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except self._lost:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except self._lost:
            self._give_up()

    def _give_up(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
