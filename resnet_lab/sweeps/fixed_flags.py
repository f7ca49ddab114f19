"""The command of a sweep file: flags of `resnet-lab train` beside those of each point.

W&B's agents run the command as written. The local engine only takes its flags, in the same order,
for every run, and refuses a command that it could not follow exactly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_lab.errors import UserError

PROGRAMS = ("resnet-lab", "resnet_lab")
POINT = "${args}"
CONFIG = "--config="
_VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_PYTHON = re.compile(r"python[0-9.]*")


@dataclass(frozen=True)
class FixedFlags:
    """Flags that every run of a sweep gets, before and after those of its point.

    Later flags win: one before is a default, one after overrides the point's.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def around(self, point: Sequence[str]) -> list[str]:
        """The flags of one run, in the order in which a W&B agent's run reads them."""
        return files_first([*self.before, *point, *self.after])

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


def files_first(arguments: Sequence[str]) -> list[str]:
    """Move each --config=FILE before the first other --flag=value; their order stays."""
    files = [argument for argument in arguments if argument.startswith(CONFIG)]
    others = [argument for argument in arguments if not argument.startswith(CONFIG)]
    flags = [
        i for i, argument in enumerate(others) if argument.startswith("--") and "=" in argument
    ]
    place = min(flags, default=len(others))
    return [*others[:place], *files, *others[place:]]


def read_command(content: Mapping[str, Any]) -> FixedFlags:
    """Read the fixed flags of a sweep file's command, without those meant for W&B's agents only.

    Those are --tracking, and --study with the sweep's own name: runs go there by default unless
    the command line names another study.

    Args:
        content: of the sweep file.

    Raises:
        UserError: the command is not `resnet-lab train` with flags and ${args}, or it needs
            something that only a W&B agent can do.
    """
    if not content.get("command"):
        _check_program(content)
        return FixedFlags()
    words = _without_start(_words(content["command"]), content)
    _check_macros(words)
    place = words.index(POINT)
    name = f"--study={content.get('name')}"
    parts = (words[:place], words[place + 1 :])
    before, after = (_untracked([word for word in part if word != name]) for part in parts)
    return FixedFlags(before, after)


def _words(command: Any) -> list[str]:
    if not isinstance(command, list):
        raise UserError(
            f"command is {command!r}: give a list of words, such as [resnet-lab, train, '{POINT}']"
        )
    for word in command:
        if not isinstance(word, str | int | float):
            raise UserError(f"command holds {word!r}: write each of its words as a text")
    return [_VARIABLE.sub(_variable, str(word)) for word in command]


def _variable(found: re.Match[str]) -> str:
    if found[1] not in os.environ:
        raise UserError(
            f"command uses {found[0]}, but the environment has no {found[1]}: set it, or write "
            "the value into the command"
        )
    return os.environ[found[1]]


def _without_start(words: list[str], content: Mapping[str, Any]) -> list[str]:
    """The words after `resnet-lab train` in a command, whichever interpreter it names."""
    rest = words[1:] if words[0] in ("${env}", "/usr/bin/env", "env") else words
    if rest and (rest[0] == "${interpreter}" or _PYTHON.fullmatch(Path(rest[0]).name)):
        rest = [word for i, word in enumerate(rest[1:]) if i > 1 or word not in ("-m", "-u")]
    program = rest[0] if rest else ""
    if program == "${program}":
        _check_program(content)
        program = PROGRAMS[0]
    if Path(program).name not in PROGRAMS or rest[1:2] != ["train"]:
        raise UserError(
            f"command is {' '.join(words)}: the local engine runs no command but resnet-lab train; "
            f"write [resnet-lab, train, '{POINT}'], or use --engine wandb"
        )
    return rest[2:]


def _check_program(content: Mapping[str, Any]) -> None:
    """Raise UserError where W&B's agents would run another program than this one."""
    program = content.get("program", PROGRAMS[0])
    if Path(str(program)).name not in PROGRAMS:
        raise UserError(
            f"program is '{program}': the local engine trains by resnet-lab train alone; write "
            "program: resnet-lab"
        )


def _check_macros(words: Sequence[str]) -> None:
    for word in words:
        if word.startswith("${") and word != POINT:
            raise UserError(
                f"command has {word}: the local engine gives parameters as {POINT} does; write "
                "that, or use --engine wandb"
            )
        if word in ("-h", "--help") or word.startswith("--print_config"):
            raise UserError(f"command has {word}, with which nothing is trained: leave it out")
    if words.count(POINT) != 1:
        times = "without" if POINT not in words else "with more than one"
        raise UserError(
            f"command is {times} {POINT}: it stands once, in the place of the parameters' flags"
        )


def _untracked(words: Sequence[str]) -> tuple[str, ...]:
    """Remove --tracking: in a command it is meant for W&B's agents."""
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if "--tracking" not in (before, word) and not word.startswith("--tracking="):
            kept.append(word)
    return tuple(kept)


def value_given(arguments: Sequence[str], name: str) -> str | None:
    """The last value that a flag has among arguments, as --name=value or --name value."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") == name:
            found = value if equals else following
    return found
