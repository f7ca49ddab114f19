"""`--parts FILE`, which every command knows: the user's own parts of networks and data sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from resnet_lab.errors import UserError

FLAG = "--parts"


def take_parts(arguments: Sequence[str]) -> list[str]:
    """Load the files that ``--parts FILE`` names, and return the other arguments.

    Processes that this one starts load them too.

    Raises:
        UserError: a file is missing or can't be used.
    """
    files, others = _split(arguments)
    if files:
        from resnet_lab.parts.files import VARIABLE, load_parts

        for file in files:
            load_parts(file)
        whole = [str(Path(file).expanduser().resolve()) for file in files]
        before = list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*before, *whole]))
    return others


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    files: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == FLAG:
            file = next(rest, "")
            if not file or file.startswith("-"):
                raise UserError(f"{FLAG} needs a file of Python, such as {FLAG} mine.py")
            files.append(file)
        elif argument.startswith(f"{FLAG}="):
            files.append(argument.removeprefix(f"{FLAG}="))
        else:
            others.append(argument)
    return files, others
