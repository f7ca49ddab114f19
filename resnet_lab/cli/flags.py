"""The flags that a command accepts, and suggestions for unknown ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_lab.cli import synonyms
from resnet_lab.cli.synonyms import explanation, named, plain
from resnet_lab.errors import nearest

SECTIONS = ("data", "recipe", "recording", "trainer", "wandb")
_NEVER = ("help", "print_shtab")
_GENERIC = ("name", "type", "kind")


@dataclass(frozen=True)
class Accepted:
    """Flags and arguments of one command.

    Attributes:
        command: its name, such as "train".
        flags: such as "--recipe.lr"; of two spellings, the one with dashes.
        positionals: names of the arguments without a flag, such as "RUNS_DIR".
        in_file: whether these are keys of a file, which have no dashes before them.
        of_runs: returns the flags of `train`, for a command that passes flags to its runs.
    """

    command: str
    flags: tuple[str, ...]
    positionals: tuple[str, ...] = ()
    in_file: bool = False
    of_runs: Callable[[], Accepted] | None = None

    @classmethod
    def among(cls, command: str, options: Sequence[str], *positionals: str) -> Accepted:
        """Select the option strings of a parser that may be suggested."""
        flags = [one for one in options if one.startswith("--") and plain(one) not in _NEVER]
        dashed = {plain(one) for one in flags if "-" in one[2:]}
        kept = [one for one in flags if "_" not in one or plain(one) not in dashed]
        return cls(command, tuple(kept), positionals)

    def key(self, name: str) -> str | None:
        """The flag or file key equal to `name` up to case, dashes and dots."""
        wanted = plain(name).replace(".", "_")
        found = next((one for one in self.flags if plain(one).replace(".", "_") == wanted), None)
        return self.written(found) if found else None

    def written(self, flag: str) -> str:
        """A flag as written here: in files, without leading dashes and with underscores."""
        return plain(flag) if self.in_file else flag


def unknown(name: str, value: str | None, accepted: Accepted) -> str:
    """Return the message on an unknown flag, or an unknown key of a file.

    Args:
        name: as given, without a value.
        value: given with it.
        accepted: by the command.
    """
    kind = "key" if accepted.in_file else "argument"
    return f"unknown {kind} '{name}'{way_out(name, value, accepted)}"


def way_out(name: str, value: str | None, accepted: Accepted) -> str:
    """Return a suggestion for an unknown name; "" if nothing is close in meaning."""
    if same := accepted.key(name):
        return f", did you mean '{same}'?"
    for word in _readings(name, accepted):
        if found := _meaning(word, value, accepted):
            return found
    near = nearest(name, accepted.flags)
    if near:
        return f", did you mean '{accepted.written(near)}'?"
    return _of_runs(name, value, accepted)


def _readings(name: str, accepted: Accepted) -> list[str]:
    """The words in a dotted name, most telling first: model.lr is an lr, optimizer.name no name."""
    first, _, last = name.lstrip("-").rpartition(".")
    if not first:
        return [last]
    if plain(first) == "recording":
        return []
    first = first.rpartition(".")[2]
    whole, own = f"{first}_{last}", plain(first) in SECTIONS
    if plain(last) in _GENERIC:
        return [whole, last, first] if own else [whole, first]
    return [whole, last] if own else [whole, last, first]


def _meaning(word: str, value: str | None, accepted: Accepted) -> str:
    if text := explanation(word, accepted.command):
        return f": {text.replace('--', '') if accepted.in_file else text}"
    if same := accepted.key(word):
        return f", did you mean '{same}'?"
    for here in named(word, synonyms.NAMES):
        if here.isupper() and here not in accepted.positionals:
            continue
        if here in accepted.positionals:
            return f": {here} is given without a flag: {_positional(here, value, accepted)}"
        if key := accepted.key(here):
            return f", did you mean '{key}{_with_value(here, value, accepted)}'?"
    ending = f".{plain(word)}"
    tails = [flag for flag in accepted.flags if plain(flag).endswith(ending)]
    return f", did you mean '{accepted.written(tails[0])}'?" if tails else ""


def _positional(name: str, value: str | None, accepted: Accepted) -> str:
    given = shlex.quote(value) if value else name
    command = "data prepare" if accepted.command == "data" else accepted.command
    return f"resnet-lab {command} {given}"


def _with_value(here: str, value: str | None, accepted: Accepted) -> str:
    """Add the value to the name of a dataset: --data cifar10 is --data.name cifar10."""
    told = here == "data.name" and value and not accepted.in_file
    return f" {shlex.quote(value)}" if told and value else ""


def _of_runs(name: str, value: str | None, accepted: Accepted) -> str:
    """A suggestion among the flags that a sweep passes to its runs."""
    if accepted.of_runs is None:
        return ""
    train = accepted.of_runs()
    found = f", did you mean '{same}'?" if (same := train.key(name)) else ""
    found = found or way_out(name, value, train)
    if not (flag := re.fullmatch(r", did you mean '(--[^ ']+)(.*)'\?", found)):
        return f"{found} (flags for every run stand after a lone --)" if found else ""
    given = flag[2] or (f" {shlex.quote(value)}" if value else "")
    return f": what is for every run stands after a lone --, as in  -- {flag[1]}{given}"
