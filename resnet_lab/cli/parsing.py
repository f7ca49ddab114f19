"""The parsers of flags and configuration files; each mistake is one clear `UserError`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from resnet_lab.cli.flags import Accepted, unknown
from resnet_lab.cli.mistakes import check_given, explain, flags_with_values
from resnet_lab.cli.parts import split_parts
from resnet_lab.cli.terminal import check_arguments
from resnet_lab.data.dataset import datasets
from resnet_lab.errors import UserError, suggest_path
from resnet_lab.files import with_home
from resnet_lab.parts.files import absolute, named_files
from resnet_lab.yaml_json import DocumentError, check_values, check_yaml, load_yaml, read_text

if TYPE_CHECKING:
    import jsonargparse

    from resnet_lab.configuration.config import Config


MODE = "yaml within limits"


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises `UserError` and suggests the nearest flag of its command."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"resnet-lab {command}", description=description, allow_abbrev=False)
        self.command = command

    def parse_args(self, args: Sequence[str], namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse, and report unknown flags before missing ones.

        Raises:
            UserError: the arguments are not those of the command.
        """
        check_given(args, self._option_string_actions, self._accepted())
        for argument, value in flags_with_values(args):
            if argument not in self._option_string_actions:
                self._refuse(unknown(argument, value, self._accepted()))
        return super().parse_args(list(args))

    def refuse(self, flag: str) -> NoReturn:
        """Refuse a flag that has no effect here, as if it were unknown."""
        accepted = self._accepted()
        others = tuple(one for one in accepted.flags if one != flag)
        self._refuse(unknown(flag, None, replace(accepted, flags=others)))

    def error(self, message: str) -> NoReturn:
        """Turn a usage error into one message."""
        self._refuse(explain(message, self._accepted()))

    def _refuse(self, told: str) -> NoReturn:
        raise UserError(f"{told} (see {self.prog} --help)")

    def _accepted(self) -> Accepted:
        positionals = [str(a.metavar or a.dest) for a in self._actions if not a.option_strings]
        accepted = Accepted.among(self.command, list(self._option_string_actions), *positionals)
        return replace(accepted, of_runs=_of_train) if self.command == "sweep" else accepted


def _of_train() -> Accepted:
    return Accepted.among("train", list(config_parser()._option_string_actions))


@cache
def config_parser(command: str = "train") -> jsonargparse.ArgumentParser:
    """The parser of a run's configuration: YAML files, then flags; later ones win."""
    import jsonargparse

    from resnet_lab.configuration.config import Config

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
    # Not as parameters of Config, nor as groups: both accept a class_path, and jsonargparse
    # imports (and so executes) that before refusing it.
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


def _sections() -> dict[str, Any]:
    from resnet_lab.configuration.config import sections  # takes a moment

    return sections()


def parse_config(arguments: Sequence[str], command: str = "train") -> Config:
    """Parse flags and files into a run's configuration.

    Raises:
        UserError: an unknown key, a value of the wrong type or out of range.
    """
    check_arguments(arguments)
    flagged, arguments = split_parts(_with_whole_paths(arguments))
    parser = config_parser(command)
    accepted = replace(_of_train(), command="train")
    check_given(arguments, parser._option_string_actions, accepted)
    parts = list(absolute(named_files()))
    for file in config_files(arguments):
        parts += _check_file(file)
    try:
        values = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        message = explain(str(error), accepted, arguments)
        if message.startswith("Problems parsing config"):
            message += f" (reading {' then '.join(config_files(arguments))})"
        raise UserError(message) from error
    except OverflowError as error:
        raise UserError(f"a number is out of range: {error}") from error
    return build_config(values, absolute([*parts, *flagged]))


def config_files(arguments: Sequence[str]) -> list[str]:
    """Files that flags name by --config, in no particular order."""
    apart = [value for flag, value in pairwise(arguments) if flag == "--config"]
    return apart + [one.removeprefix("--config=") for one in arguments if "--config=" in one]


def _with_whole_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments with a leading ~ of each --config expanded."""
    whole, before = [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "--config" and equals:
            whole.append(f"{name}={with_home(value)}")
        else:
            whole.append(with_home(argument) if before == "--config" else argument)
        before = argument
    return whole


def _check_file(name: str) -> Sequence[str]:
    """Check a configuration file for mistakes that jsonargparse ignores or reports badly.

    Returns:
        The files of parts that it names; relative paths are relative to it.
    """
    path = Path(name)
    try:
        if not path.is_file():
            _check_there(path)
            return ()
        values = load_yaml(read_text(path))
    except (OSError, DocumentError) as error:
        raise UserError(f"Problems parsing config: {error} (reading {name})") from error
    if not isinstance(values, dict):
        raise UserError(
            f"{name} is no configuration: give keys with values, such as network: plain-20"
        )
    _check_spelling(name, values)
    if "config" in values:
        raise UserError(f"{name} has the key 'config': name each file by a --config of its own")
    if "parameters" in values:
        raise UserError(
            f"{name} is a sweep file, which `resnet-lab sweep {shlex.quote(name)}` takes"
        )
    for section in values.keys() & _sections().keys():
        _check_section(section, values[section])
    parts = values.get("parts")
    if not isinstance(parts, list) or not all(isinstance(one, str) for one in parts):
        return ()  # no keys, or the parser will refuse them
    return absolute(parts, path.parent)


def _check_there(path: Path) -> None:
    """Raise UserError for a folder or a missing file, and suggest a file."""
    inside = path / "config.yaml"
    if inside.is_file():
        raise UserError(f"config: {path} is a folder, did you mean '{inside}'?")
    if path.is_dir():
        raise UserError(f"config: {path} is a folder: give one file, such as {_example(path)}")
    there = next((f", did you mean '{one}'?" for one in _elsewhere(path) if one.is_file()), "")
    if near := there or suggest_path(path):
        raise UserError(f"config: File does not exist: '{path}'{near}")


def _example(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("*.yaml"))), Path("experiments/digits.yaml"))


def _elsewhere(path: Path) -> Iterator[Path]:
    for folder in (path.parent, Path("experiments")):
        yield from (folder / path.name, folder / f"{path.name}.yaml")


def _check_section(name: str, values: Any) -> None:
    """Raise UserError if a section of a configuration has a value instead of keys."""
    if not isinstance(values, dict):
        first = fields(_sections()[name])[0].name
        known = name == "data" and isinstance(values, str) and values in datasets()
        given = f": {values}" if known else ""
        raise UserError(f"{name} is {values!r}: give its keys, such as {name}.{first}{given}")


def _check_spelling(file: str, values: Mapping[Any, Any]) -> None:
    """Raise UserError if a file gives a key twice, once nested and once with dots."""
    spelled: dict[str, str] = {}
    for key, spelling in _keys(values):
        if key in spelled:
            raise UserError(
                f"{file} has the key '{key}' twice, as {spelled[key]} and as {spelling}: leave "
                "one of them out"
            )
        spelled[key] = spelling


def _keys(values: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, its spelling in the file) of each value."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, (*above, str(name)))
        else:
            inside = "".join(f" in '{level}'" for level in reversed(above))
            yield ".".join([*above, str(name)]), f"'{name}'{inside}"


def build_config(values: jsonargparse.Namespace, parts: Sequence[str] = ()) -> Config:
    """Turn parsed values, and the paths of files of parts, into the typed configuration.

    Raises:
        UserError: a value is missing or out of range.
    """
    from resnet_lab.configuration.config import Config

    given = values.as_dict()
    given.pop("config", None)
    try:
        check_values(given)
    except DocumentError as error:
        raise UserError(str(error)) from error
    for name, section in _sections().items():
        _check_section(name, given[name])
        given[name] = section(**given[name])
    return Config(**{**given, "parts": parts})
