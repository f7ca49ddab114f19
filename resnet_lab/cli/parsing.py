"""Parsers whose mistakes become one clear message."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from resnet_lab.errors import UserError, suggest

if TYPE_CHECKING:
    import jsonargparse

    from resnet_lab.training.config import Config


class Parser(argparse.ArgumentParser):
    """argparse that raises UserError, naming the nearest known flag."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"resnet-lab {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Turn a usage error into one message."""
        raise UserError(
            explain(message, self._option_string_actions) + f" (see {self.prog} --help)"
        )


def explain(message: str, known: Sequence[str] | dict[str, argparse.Action]) -> str:
    """Shorten a parser's message and add the known key that is nearest to an unknown one.

    Args:
        message: of argparse or jsonargparse.
        known: flags such as "--recipe.lr".
    """
    flags = [flag for flag in known if flag.startswith("--")]
    keys = [flag.removeprefix("--") for flag in flags]
    if found := re.search(r"unrecognized arguments: (\S+)", message):
        flag = found[1].split("=")[0]
        return f"unknown argument '{flag}'{suggest(flag, flags)}"
    if found := re.search(r"Group '(\S+)' does not accept option '([^']+)'", message):
        return _unknown_key(f"{found[1]}.{found[2]}", keys)
    if found := re.search(r"Option '([^']+)' is not accepted", message):
        return _unknown_key(found[1], keys)
    if found := re.search(
        r'key "(\S+)":\s*Expected a typing.Literal\[(.+)\]. Got value: (.*)', message
    ):
        choices = re.findall(r"'([^']+)'", found[2])
        near, all_of_them = suggest(found[3], choices), ", ".join(choices)
        return f"{found[1]}: unknown '{found[3]}'{near} (known: {all_of_them})"
    message = re.sub(r"Parser key \"([^\"]+)\":\s*", r"\1: ", message)
    message = re.sub(r"<class '(\w+)'>", r"\1", message)
    return re.sub(r"\s+", " ", message)


def _unknown_key(key: str, known: list[str]) -> str:
    return f"unknown key '{key}'{suggest(key, known)}"


def config_parser(command: str = "train") -> jsonargparse.ArgumentParser:
    """The parser of a run's configuration: YAML files, then flags, later ones winning."""
    import jsonargparse

    from resnet_lab.training.config import Config

    parser = jsonargparse.ArgumentParser(
        prog=f"resnet-lab {command}",
        description="Train a cohort of networks on the same batches, or continue an interrupted "
        "run. Give files with --config, then flags; later ones win.",
        exit_on_error=False,
        default_env=False,
    )
    parser.add_argument(
        "--config", action="config", help="YAML file, such as those in experiments/"
    )
    parser.add_class_arguments(Config)
    # Names of the command line are written with dashes, those of YAML with underscores.
    for name in ("data_dir", "runs_dir"):
        action = next(a for a in parser._actions if a.dest == name)
        flag = f"--{name.replace('_', '-')}"
        action.option_strings = [flag, *action.option_strings]
        parser._option_string_actions[flag] = action
    return parser


def parse_config(arguments: Sequence[str], command: str = "train") -> Config:
    """Parse flags and files into a run's configuration.

    Raises:
        UserError: an unknown key, a value of the wrong type or out of range.
    """
    parser = config_parser(command)
    try:
        values = parser.parse_args(list(arguments))
        config: Config = build_config(parser, values)
    except argparse.ArgumentError as error:
        message = explain(str(error), parser._option_string_actions)
        if message.startswith("Problems parsing config"):
            message += f" (reading {' then '.join(_config_files(arguments))})"
        raise UserError(message) from error
    return config


def _config_files(arguments: Sequence[str]) -> list[str]:
    apart = [value for flag, value in pairwise(arguments) if flag == "--config"]
    return apart + [one.removeprefix("--config=") for one in arguments if "--config=" in one]


def build_config(parser: jsonargparse.ArgumentParser, values: jsonargparse.Namespace) -> Config:
    """Turn parsed values into the typed configuration."""
    from resnet_lab.training.config import Config

    objects = vars(parser.instantiate(values))
    objects.pop("config", None)
    return Config(**objects)
