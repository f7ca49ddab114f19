"""`--parts FILE`, which every command accepts: files of the user's own parts."""

from __future__ import annotations

import os
from collections.abc import Sequence

from resnet_lab.errors import UserError

FLAG = "--parts"


def take_parts(arguments: Sequence[str]) -> list[str]:
    """Load the files that ``--parts FILE`` names, and return the other arguments.

    Processes that this one starts load them too.

    Raises:
        UserError: a file is missing or can't be used.
    """
    files, others = split_parts(arguments)
    if files:
        from resnet_lab.parts.files import VARIABLE, absolute, load_parts, named_files

        for file in files:
            load_parts(file)
        os.environ[VARIABLE] = os.pathsep.join(absolute([*named_files(), *files]))
    return others


def split_parts(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files that ``--parts`` names, and the other arguments.

    Raises:
        UserError: the flag has no file.
    """
    files: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == FLAG:
            file = next(rest, "")
            if not file or file.startswith("-"):
                raise UserError(f"{FLAG} needs a file of Python, such as {FLAG} mine.py")
            files += _files(file)
        elif argument.startswith(f"{FLAG}=") and argument != f"{FLAG}=":
            files += _files(argument.removeprefix(f"{FLAG}="))
        else:
            others.append(argument)
    return files, others


def _files(value: str) -> list[str]:
    """One file, or a list of files as sweeps write it."""
    if value in ("null", "None"):
        return []
    if not value.startswith("["):
        return [value]
    from resnet_lab.yaml_json import DocumentError, load_yaml

    try:
        found = load_yaml(value)
    except DocumentError as error:
        raise UserError(f"{FLAG} is {value}: {error}") from error
    if not all(isinstance(one, str) for one in found):
        raise UserError(f"{FLAG} is {value}: give a list of files, such as [mine.py]")
    return list(found)
