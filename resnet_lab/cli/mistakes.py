"""Rewrite messages of argparse and jsonargparse to say what is wrong and how to fix it."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import takewhile, zip_longest
from typing import get_args, get_type_hints

from resnet_lab.cli import synonyms
from resnet_lab.cli.flags import Accepted, unknown, way_out
from resnet_lab.cli.synonyms import named
from resnet_lab.errors import UserError, suggest

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
"""Characters that look like a dash, which word processors insert."""
LISTS = ("recipe.drops", "wandb.tags", "parts")
_UNIT = {"k": 10**3, "m": 10**6}
_NUMBER = r"[-+]?\d+(?:\.\d+)?"


def check_dashes(arguments: Sequence[str], accepted: Accepted) -> None:
    """Raise UserError for a flag that begins with a character that only looks like a dash."""
    before = ""
    for argument in takewhile(lambda one: one != "--", arguments):
        name, equals, value = argument.partition("=")
        word = name.lstrip(DASHES + "-")
        known = accepted.key(word)
        is_value = before.startswith("--") and "=" not in before and not known
        if word and name.startswith(tuple(DASHES)) and not is_value:
            raise UserError(
                f"'{name}' begins with a dash of another kind, as word processors write it: type "
                f"{known or f'--{word}'}{equals}{value}"
            )
        before = argument


def stray(value: str, before: Sequence[str], accepted: Accepted) -> str:
    """Return the message on an argument that belongs to no flag.

    Args:
        value: the argument.
        before: the arguments before it.
        accepted: by the command.
    """
    flag, values = _open_flag(before)
    told = f"unknown argument '{value}'"
    if assigned := re.fullmatch(r"\+{0,2}([A-Za-z][\w.-]*)=(.*)", value, re.DOTALL):
        return told + way_out(f"--{assigned[1]}", assigned[2], accepted)
    if accepted.command != "train":
        return told
    if not flag or value.endswith((".yaml", ".yml")):
        return told + _stray_name(value)
    values = [*values, value]
    if flag == "--network":
        return f"{told}: names are joined by commas: --network {','.join(_parts(values))}"
    if flag == "--seed":
        return f"{told}: {synonyms.SEEDS}"
    if flag.removeprefix("--") in LISTS:
        return f"{told}: a list is one argument: {flag} '{_listed(values)}'"
    return f"{told}: {flag} has one value, and has it already, {shlex.quote(values[0])}"


def _open_flag(before: Sequence[str]) -> tuple[str, list[str]]:
    """The last flag, with the values after it; no flag if its value was joined to it by "="."""
    values: list[str] = []
    for one in reversed(before):
        if one.startswith("--"):
            return (one, values[::-1]) if values and "=" not in one else ("", [])
        values.append(one)
    return "", []


def _stray_name(value: str) -> str:
    if value.endswith((".yaml", ".yml")):
        return f", did you mean '--config {shlex.quote(value)}'?"
    if re.match(r"(plain|resnet)-?\d", value.lower()):
        return f", did you mean '--network {shlex.quote(value)}'?"
    return ""


def wrong_choice(where: str, value: str, choices: Sequence[str]) -> str:
    """Return the message on a value that is not among the choices."""
    word = value.split(":")[0]
    meant = [one for one in named(word, synonyms.VALUE_NAMES) if one in choices]
    near = f", did you mean '{meant[0]}'?" if meant else suggest(value, choices)
    return f"{where}: unknown '{value}'{near} (known: {', '.join(choices)})"


def wrong_value(
    key: str, kinds: Sequence[str], value: str, after: Sequence[str] = (), quote: str = ""
) -> str:
    """Return a suggestion for a value of the wrong type; "" if none is clear.

    Args:
        key: such as "recipe.lr".
        kinds: names of the types that it may have: "int", "float", "bool", "tuple", "str", ...
        value: the given value, as Python prints it.
        after: values that follow it on the command line, where only one is expected.
        quote: put around a list, for the shell.
    """
    several = _parts([value, *after])
    if key in LISTS and (key != "recipe.drops" or _are_whole(several)):
        return f"; write {quote}{_listed([value, *after])}{quote}"
    if key == "seed" and len(several) > 1 and not _number(value, whole=True):
        return f"; {synonyms.SEEDS}"
    if key == "trainer.devices":
        return (
            "; give the number of processes, or all; the variable CUDA_VISIBLE_DEVICES says on "
            "which GPUs"
        )
    if key == "network" and value.startswith(("[", "(")):
        return f"; write {','.join(several)}"
    if "bool" in kinds:
        quoted = ", without quotes" if value.lower() in ("true", "false") else ""
        return f"; write true or false{quoted}"
    number = _number(value, whole="float" not in kinds)
    if number and ("int" in kinds or "float" in kinds):
        return f"; write {number}"
    return "; write it in quotes" if "str" in kinds and re.fullmatch(_NUMBER, value) else ""


def _number(value: str, whole: bool) -> str:
    """The number probably meant by a text: 64k, 64,000, 1000.0 or, if not `whole`, 0,1."""
    if unit := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmM])", value):
        number = float(unit[1]) * _UNIT[unit[2].lower()]
    elif re.fullmatch(r"[1-9]\d{0,2}([, ]\d{3})+", value):
        number = float(re.sub("[, ]", "", value))
    elif re.fullmatch(r"\d+,\d+", value) and not whole:
        return value.replace(",", ".")
    elif share := re.fullmatch(rf"({_NUMBER})\s*%", value):
        return share[1]
    elif re.fullmatch(rf"({_NUMBER})(e[-+]?\d+)?", value, re.IGNORECASE):
        number = float(value)
    else:
        return ""
    return str(int(number)) if abs(number) < 1e15 and number.is_integer() else ""


def _parts(values: Sequence[str]) -> list[str]:
    """The entries of a list, in any notation."""
    return [one for one in re.split(r"[\s,;()\[\]'\"]+", " ".join(values)) if one]


def _are_whole(texts: Sequence[str]) -> bool:
    return bool(texts) and all(_number(text, whole=True) for text in texts)


def _listed(values: Sequence[str]) -> str:
    parts = [_number(part, whole=True) or part for part in _parts(values)]
    return f"[{', '.join(parts)}]"


def check_given(
    arguments: Sequence[str], options: Mapping[str, argparse.Action], accepted: Accepted
) -> None:
    """Raise UserError for an empty value (perhaps of an unset variable) or a wrong dash."""
    check_dashes(arguments, accepted)
    for flag, value in flags_with_values(arguments):
        if value == "" and flag in options:
            raise UserError(f"{flag} is empty: give a value, or leave it out")
    if "" in arguments:
        raise UserError("an argument is empty: give a value, or leave it out")


def flags_with_values(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each flag with its value, up to a lone --."""
    for argument, following in zip_longest(arguments, arguments[1:]):
        if argument == "--":
            return
        name, equals, value = argument.partition("=")
        if name.startswith("-") and " " not in name and not _is_number(name):
            apart = following if following and not following.startswith("-") else None
            yield name, value if equals else "" if following == "" else apart


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-\d+|-\d*\.\d+", text))


def explain(message: str, accepted: Accepted, arguments: Sequence[str] = ()) -> str:
    """Shorten a parser's message and add how to fix the mistake.

    Args:
        message: of argparse or jsonargparse.
        accepted: by the command.
        arguments: of the command line.
    """
    if found := re.search(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return _unrecognized(found[1], accepted, arguments)
    if found := re.search(r"Group '(\S+)' does not accept option '([^']+)'", message):
        return unknown(f"{found[1]}.{found[2]}", None, dataclasses.replace(accepted, in_file=True))
    if found := re.search(r"Option '([^']+)' is not accepted", message):
        return unknown(found[1], None, dataclasses.replace(accepted, in_file=True))
    if found := re.search(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message):
        return wrong_choice(found[1], found[2], re.findall(r"[^', ]+", found[3]))
    if found := re.search(r"argument (\S+): invalid (int|float) value: '(.*)'", message):
        way = wrong_value(found[1], [found[2]], found[3])
        return f"{found[1]} is '{found[3]}', which is no {_NUMBERS[found[2]]}{way}"
    if found := re.search(
        r'key "(\S+)":\s*Expected a typing.Literal\[(.+)\]. Got value: (.*)', message
    ):
        return wrong_choice(found[1], found[3], re.findall(r"'([^']+)'", found[2]))
    message = re.sub(r"Parser key \"([^\"]+)\":\s*", r"\1: ", message)
    message = re.sub(r"<class '(\w+)'>", r"\1", message)
    return _wrong_type(re.sub(r"\s+", " ", message).strip(), arguments)


_NUMBERS = {"int": "whole number", "float": "number"}


def _unrecognized(rest: str, accepted: Accepted, arguments: Sequence[str]) -> str:
    """The message on a flag or argument that the parser did not recognise."""
    first = rest.split()[0] if rest.split() else rest
    if first.startswith("-"):
        flag = first.split("=")[0]
        value = next((v for name, v in flags_with_values(arguments) if name == flag), None)
        return unknown(flag, value, accepted)
    place = next((i for i, one in enumerate(arguments) if rest.startswith(one)), None)
    value = first if place is None else arguments[place]
    return stray(value, arguments[:place] if place else (), accepted)


def _wrong_type(message: str, arguments: Sequence[str]) -> str:
    """The message on a value of the wrong type, with a suggestion if one is clear."""
    if found := re.match(r"argument (\S+): expected one argument$", message):
        return f"{message}, true or false" if found[1] in _truths() else message
    if found := re.match(r"(\S+): Does not validate .*Subtypes: \[(.*?)\] Errors.*", message):
        kinds = re.findall(r"int|float|bool|str|NoneType|(?<=')[^']+(?=')", found[2])
        value = message.rpartition("Given value: ")[2]
        named = " or ".join("null" if one == "NoneType" else one for one in kinds)
        message = f"{found[1]}: Expected {named}. Got value: {value}"
    elif found := re.match(r"(\S+): Expected a (\w+)\. Got value: .*", message):
        kinds = [found[2]]
    else:
        return message
    value = message.partition("Got value: ")[2]
    key, flag = found[1], f"--{found[1]}"
    quote = "'" if any(one.split("=")[0] == flag for one in arguments) else ""
    return message + wrong_value(key, kinds, value, _values_after(key, arguments), quote)


@cache
def _truths() -> frozenset[str]:
    """Boolean flags of a run's configuration."""
    from resnet_lab.configuration.config import sections

    hints = {
        f"--{section}.{name}": hint
        for section, kind in sections().items()
        for name, hint in get_type_hints(kind).items()
    }
    return frozenset(flag for flag, hint in hints.items() if bool in (hint, *get_args(hint)))


def _values_after(key: str, arguments: Sequence[str]) -> list[str]:
    """The arguments after a flag's value, up to the next flag."""
    if f"--{key}" not in arguments:
        return []
    rest = arguments[arguments.index(f"--{key}") + 2 :]
    return list(takewhile(lambda one: not one.startswith("--"), rest))
