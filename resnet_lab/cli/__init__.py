"""The command line: `resnet-lab COMMAND`, one module a command.

A command module has SUMMARY, a line for the overview, and run(arguments) -> exit code. It is
imported only when called, so that help and error messages are immediate.

Exit codes: 0 done, 1 a run failed or was interrupted, 2 bad usage or bad input.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from resnet_lab.cli.parts import take_parts
from resnet_lab.cli.terminal import check_arguments, message, print_anything
from resnet_lab.errors import RunFailed, UserError, suggest
from resnet_lab.files import NO_ROOM, NO_TEMPORARY_FOLDER

COMMANDS = {
    "train": "train a cohort of networks, or continue it",
    "sweep": "train all the runs of a study",
    "report": "write figures, tables and verdicts of runs as a page",
    "claims": "say which of the paper's claims the runs support",
    "doctor": "say why runs may show no degradation, or what this machine can do",
    "evaluate": "test error of own or third-party weights",
    "networks": "parameters, multiply-adds, layers and matched twins",
    "data": "prepare or verify a data set",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    print_anything()
    try:
        code = _dispatch(given)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk can still be reported here
        return code
    except UserError as error:
        return _say(error, 2)
    except RunFailed as error:
        return _say(error, 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in NO_ROOM:
            return _say(RunFailed(f"{error.strerror}: make room, and give the command again"), 1)
        if "usable temporary directory" in str(error):
            return _say(UserError(NO_TEMPORARY_FOLDER), 2)
        if error.filename is None:
            raise
        return _say(UserError(f"cannot use {error.filename!s}: {error.strerror}"), 2)
    except KeyboardInterrupt:
        print("resnet-lab: interrupted", file=sys.stderr)
        return 1


def _say(error: Exception, code: int) -> int:
    print(f"resnet-lab: {message(error)}", file=sys.stderr)
    return code


def _dispatch(given: list[str]) -> int:
    check_arguments(given)
    _check_current_folder()
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        from importlib.metadata import version

        print(f"resnet-lab {version('resnet-lab')}")
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        raise UserError(_no_command(name, rest))
    command = importlib.import_module(f"resnet_lab.cli.{name}")
    return int(command.run(take_parts(rest)))


def _no_command(name: str, rest: Sequence[str]) -> str:
    from resnet_lab.cli.synonyms import COMMAND_NAMES, named

    meant = named(name, COMMAND_NAMES)
    if name.startswith("-") and not meant:
        first = next((one for one in rest if one in COMMANDS), "train")
        return f"'{name}' is no command, which comes first: resnet-lab {first} {name} ..."
    near = f", did you mean '{meant[0]}'?" if meant else suggest(name, COMMANDS)
    return f"no command '{name}'{near} (known: {', '.join(COMMANDS)})"


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            f"the current folder is gone or may not be entered ({error.strerror}): change to "
            "another"
        ) from error


def _overview() -> str:
    lines = [
        "usage: resnet-lab COMMAND [...]",
        "",
        "A laboratory for one question: why does a deeper network train worse,",
        "and what does a shortcut change?",
        "",
        *(f"  {name:<10} {summary}" for name, summary in COMMANDS.items()),
        "",
        "resnet-lab COMMAND --help says more. --parts FILE.py: your own networks and data.",
    ]
    return "\n".join(lines)
