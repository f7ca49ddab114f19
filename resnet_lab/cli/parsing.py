"""Parsers whose mistakes become one clear message."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_type_hints

import yaml

from resnet_lab.cli.terminal import check_arguments
from resnet_lab.documents import DocumentError, check_values, check_yaml, load_yaml, read_text
from resnet_lab.errors import UserError, suggest
from resnet_lab.files import with_home

if TYPE_CHECKING:
    import jsonargparse

    from resnet_lab.training.config import Config


MODE = "yaml within limits"


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


@cache
def config_parser(command: str = "train") -> jsonargparse.ArgumentParser:
    """The parser of a run's configuration: YAML files, then flags, later ones winning."""
    import jsonargparse

    from resnet_lab.training.config import Config

    jsonargparse.set_loader(MODE, _load, exceptions=(DocumentError, yaml.YAMLError))
    parser = jsonargparse.ArgumentParser(
        prog=f"resnet-lab {command}",
        description="Train a cohort of networks on the same batches, or continue an interrupted "
        "run. Give files with --config, then flags; later ones win.",
        exit_on_error=False,
        default_env=False,
        allow_abbrev=False,
        parser_mode=MODE,
    )
    parser.add_argument(
        "--config", action="config", help="YAML file, such as those in experiments/"
    )
    parser.add_class_arguments(Config, skip=set(_sections()))
    # Not as parameters of Config, nor as groups: either may be given as a class_path, which
    # jsonargparse imports, code and all, before it refuses it.
    for name, section in _sections().items():
        parser.add_class_arguments(section, name, as_group=False)
    # Names of the command line are written with dashes, those of YAML with underscores.
    for name in ("data_dir", "runs_dir"):
        action = next(a for a in parser._actions if a.dest == name)
        flag = f"--{name.replace('_', '-')}"
        action.option_strings = [flag, *action.option_strings]
        parser._option_string_actions[flag] = action
    return parser


def _load(text: str) -> Any:
    """Read a file or a flag's value, within limits, as jsonargparse reads YAML: 1e-4 is one.

    A flag's value has no comments: `--study="#1"` is a name.
    """
    import jsonargparse

    check_yaml(text)
    if text.startswith("#") and len(text.splitlines()) == 1:
        return text
    value = jsonargparse.get_loader("yaml")(text)
    check_values(value)
    return value


@cache
def _sections() -> dict[str, Any]:
    """The parts of a configuration that have keys of their own, by name."""
    from resnet_lab.training.config import Config

    hints = get_type_hints(Config)
    return {one.name: hints[one.name] for one in fields(Config) if is_dataclass(hints[one.name])}


def parse_config(arguments: Sequence[str], command: str = "train") -> Config:
    """Parse flags and files into a run's configuration.

    Raises:
        UserError: an unknown key, a value of the wrong type or out of range.
    """
    check_arguments(arguments)
    arguments = _with_whole_paths(arguments)
    parser = config_parser(command)
    for file in _config_files(arguments):
        _check_file(file)
    try:
        values = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        message = explain(str(error), parser._option_string_actions)
        if message.startswith("Problems parsing config"):
            message += f" (reading {' then '.join(_config_files(arguments))})"
        raise UserError(message) from error
    except OverflowError as error:
        raise UserError(f"a number is out of range: {error}") from error
    return build_config(values)


def _config_files(arguments: Sequence[str]) -> list[str]:
    apart = [value for flag, value in pairwise(arguments) if flag == "--config"]
    return apart + [one.removeprefix("--config=") for one in arguments if "--config=" in one]


def _with_whole_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments with the home directory in the place of a ~ that begins a --config."""
    whole, before = [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "--config" and equals:
            whole.append(f"{name}={with_home(value)}")
        else:
            whole.append(with_home(argument) if before == "--config" else argument)
        before = argument
    return whole


def _check_file(name: str) -> None:
    """Raise UserError for what the parser would take amiss, or show the whole content of."""
    path = Path(name)
    try:
        if not path.is_file():
            return
        values = load_yaml(read_text(path))
    except (OSError, DocumentError) as error:
        raise UserError(f"Problems parsing config: {error} (reading {name})") from error
    if not isinstance(values, dict):
        raise UserError(
            f"{name} is no configuration: give keys with values, such as network: plain-20"
        )
    if "config" in values:
        raise UserError(f"{name} has the key 'config': name each file by a --config of its own")


def build_config(values: jsonargparse.Namespace) -> Config:
    """Turn parsed values into the typed configuration.

    Raises:
        UserError: a value is missing or out of range.
    """
    from resnet_lab.training.config import Config

    given = values.as_dict()
    given.pop("config", None)
    try:
        check_values(given)
    except DocumentError as error:
        raise UserError(str(error)) from error
    for name, section in _sections().items():
        if not isinstance(given[name], dict):
            first = fields(section)[0].name
            raise UserError(f"{name} is {given[name]!r}: give its keys, such as {name}.{first}")
        _check_nothing(section, given[name], f"{name}.")
        given[name] = section(**given[name])
    _check_nothing(Config, given)
    return Config(**given)


def _check_nothing(kind: Any, values: Mapping[str, Any], prefix: str = "") -> None:
    """Raise UserError for a null where there must be a value: the parser lets it pass."""
    for name, hint in get_type_hints(kind).items():
        if values.get(name, ...) is None and type(None) not in get_args(hint):
            raise UserError(f"{prefix}{name} is null: give a value, or leave it out")
