"""Sweep files in W&B's own format, whose parameters are flags of `resnet-lab train`.

The checks are written out here: W&B's client ships no schema (its server checks files), and
pydantic's messages suggest no fix.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resnet_lab.errors import UserError, suggest, suggest_path
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.parts.files import absolute, load_parts
from resnet_lab.sweeps.distributions import Distribution, odd_exponents, read_distribution
from resnet_lab.sweeps.sweep import METRICS, MOST_RUNS, Hyperband, Metric, Sweep
from resnet_lab.yaml_json import DocumentError, load_yaml, read_text

KEYS = (
    "program",
    "name",
    "description",
    "project",
    "entity",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "command",
    "run_cap",
    "scheduler",
)
_LAUNCH = "it is W&B Launch's, which starts containers"
NOT_HERE = {
    "controller": "it says which W&B process draws the points; W&B's own does without it",
    "settings": "they are those of W&B's own controller",
    "metrics": "a search goes by one metric: give metric: {name: validation_error}",
    **dict.fromkeys(("job", "image_uri", "launch"), _LAUNCH),
}
"""Keys of W&B that no engine here supports, and why."""
METHODS = ("grid", "random", "bayes")
MOST_EVALUATIONS = 10**9
SEEDS = ("seed", "data.split_seed")
"""Parameters that change only luck: the run's seed, and that of the validation split."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: no such file, no YAML, an unknown key, a range that holds nothing, or a search
            that could see test images.
    """
    content = _read_yaml(path)
    try:
        _check_keys(content)
        content = _with_parts(path, content)
        parameters, remarks = _parameters(content["parameters"])
        sweep = Sweep(
            name=str(content.get("name") or path.stem),
            method=content["method"],
            parameters=parameters,
            metric=_metric(content.get("metric")),
            early_terminate=_early_terminate(content.get("early_terminate")),
            run_cap=_run_cap(content.get("run_cap")),
            content=content,
            remarks=tuple(f"{path}: {remark}" for remark in remarks),
        )
        if sweep.searches:
            _check_seeds(path, sweep)
        else:
            _check_grid(sweep)
        _check_test(sweep)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return sweep


def _with_parts(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Make paths of files of parts absolute: they are relative to the sweep file.

    Files of parts that every run has are loaded, as the sweep may name their networks.
    """
    parameters = content["parameters"]
    entry = parameters.get("parts") if isinstance(parameters, dict) else None
    files = entry.get("value") if isinstance(entry, dict) else None
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        return content
    whole = absolute(files, path.parent)
    for file in whole:
        load_parts(file)
    return {**content, "parameters": {**parameters, "parts": {"value": list(whole)}}}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(read_text(path))
    except OSError as error:
        reason = f"{error.strerror}{_meant(path)}"
        raise UserError(f"cannot read the sweep file {path}: {reason}") from error
    except DocumentError as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict) or "parameters" not in content:
        of_a_run = {"network", "recipe", "data", "seed"}.intersection(
            content if isinstance(content, dict) else ()
        )
        way = f"; one run is trained by {_train_command(path)}" if of_a_run else ""
        raise UserError(f"{path} is no sweep file: it has no 'parameters'{way}")
    return content


def _meant(path: Path) -> str:
    """A suggestion for a path that cannot be read as a file."""
    if (path / "config.yaml").is_file():
        return f"; a run is trained, or continued, by {_train_command(path / 'config.yaml')}"
    if path.is_dir():
        files = [one for one in sorted(path.glob("*.yaml")) if one.is_file()]
        near = next(
            (one for one in files if "\nparameters:" in one.read_text("utf-8", errors="replace")),
            None,
        )
        return f": give one file{f', such as {near}' if near else ''}"
    places = (path.parent, Path("sweeps"))
    for one in (folder / name for folder in places for name in (path.name, f"{path.name}.yaml")):
        if one.is_file():
            return f", did you mean '{one}'?"
    return suggest_path(path)


def _train_command(config: Path) -> str:
    return f"`resnet-lab train --config {shlex.quote(str(config))}`"


def _check_keys(content: Mapping[str, Any]) -> None:
    for key in content:
        if key in NOT_HERE:
            raise UserError(f"'{key}' means nothing here ({NOT_HERE[key]}): leave it out")
        if key not in KEYS:
            raise UserError(
                f"unknown key '{key}'{suggest(str(key), KEYS)} (known: {', '.join(KEYS)})"
            )
    method, scheduler = content.get("method"), content.get("scheduler")
    if method not in METHODS:
        raise UserError(
            f"method is '{method}'{suggest(str(method), METHODS)}: give one of {', '.join(METHODS)}"
        )
    if not isinstance(scheduler, dict | None):
        raise UserError(
            f"scheduler is {scheduler!r}: give its keys, such as {{engine: wandb}}, or leave it out"
        )


def _parameters(content: Any) -> tuple[dict[str, Distribution], list[str]]:
    """Flag -> values, and remarks on them; refuses a flag given twice, in any spelling."""
    found: dict[str, Distribution] = {}
    spelled: dict[str, str] = {}
    remarks: list[str] = []
    for name, spelling, entry in _flatten(content):
        plain = name.replace("-", "_")
        if plain in spelled:
            raise UserError(
                f"the parameter '{name}' is there twice, as {spelled[plain]} and as {spelling}: "
                "leave one of them out"
            )
        where = f"parameter '{name}'"
        found[name], spelled[plain] = read_distribution(where, entry), spelling
        remark = odd_exponents(entry)
        remarks += [f"{where}: {remark}"] if remark else []
    return found, remarks


def _flatten(
    parameters: Any, prefix: str = "", levels: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (flag, its spelling in the file, its entry); nested parameters are joined by dots."""
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(f"parameters{prefix and ' of ' + prefix[:-1]}: give names with values")
    for name, entry in parameters.items():
        flag = f"{prefix}{name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(f"parameter {name!r}: give the name of a flag, such as seed")
        if not isinstance(entry, dict):
            raise UserError(f"parameter '{flag}' is {entry!r}: write {_as_entry(entry)}")
        if set(entry) == {"parameters"}:
            yield from _flatten(entry["parameters"], f"{flag}.", (*levels, name))
        else:
            spelling = f"'{name}'" + "".join(f" in '{level}'" for level in reversed(levels))
            yield flag, spelling, entry


def _as_entry(value: Any) -> str:
    """How to write a bare value as an entry; a list may be many values, or one."""
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"{{values: {text}}}, or {{value: {text}}} where the list is one value"
    return f"{{value: {text}}}"


def _metric(entry: Any) -> Metric:
    if entry is None:
        return Metric()
    if not isinstance(entry, dict) or not {"name"} <= set(entry) <= {"name", "goal", "target"}:
        raise UserError(f"metric is {entry!r}: give name, goal and, if you want, target")
    name, target = entry["name"], entry.get("target")
    network, _, metric = str(name).rpartition("/")
    if metric not in METRICS:
        raise UserError(
            f"metric is '{name}': runs are chosen by what the validation images say, one of "
            f"{', '.join(METRICS)}"
        )
    if network and (canonical := NetworkSpec.parse(network).name) != network:
        raise UserError(f"metric is '{name}': write {canonical}/{metric}")
    if entry.get("goal", "minimize") != "minimize":
        raise UserError(f"goal is '{entry['goal']}': {name} is to be minimized")
    if target is not None and not (type(target) in (int, float) and math.isfinite(target)):
        raise UserError(f"target is {target!r}: give a number, or leave it out")
    return Metric(name, target)


def _early_terminate(entry: Any) -> Hyperband | None:
    if entry is None:
        return None
    if not isinstance(entry, dict) or entry.get("type") != "hyperband":
        raise UserError(f"early_terminate is {entry!r}: give type: hyperband and its numbers")
    numbers = ("min_iter", "max_iter", "s", "eta")
    known = ("type", *numbers, "strict")
    for key, value in entry.items():
        if key not in known:
            raise UserError(f"early_terminate: unknown key '{key}'{suggest(str(key), known)}")
        least = 2 if key == "eta" else 1
        whole = type(value) is int and least <= value <= MOST_EVALUATIONS
        if key in numbers and not whole:
            raise UserError(
                f"early_terminate: {key} is {value!r}: give a whole number, {least} or more, up to "
                f"{MOST_EVALUATIONS:,}"
            )
    first, last, halvings = (entry.get(key) for key in numbers[:3])
    eta = entry.get("eta", 3)
    if first is not None and last is None and halvings is None:
        return Hyperband(first, eta)
    if first is not None or last is None or halvings is None:
        raise UserError("early_terminate: give either min_iter, or max_iter and s")
    first = last // eta ** min(halvings, 64)
    if not first:
        raise UserError(
            f"early_terminate: max_iter {last} cannot be divided {halvings} times by {eta}"
        )
    return Hyperband(first, eta)


def _run_cap(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MOST_RUNS):
        raise UserError(
            f"run_cap is {value!r}: give a whole number, 1 or more, up to {MOST_RUNS:,}"
        )
    return value


def _check_grid(sweep: Sweep) -> None:
    """Raise UserError for a grid that cannot be counted or is too large."""
    points = 1
    for name, values in sweep.parameters.items():
        count = values.count()
        if count is None:
            raise UserError(
                f"parameter '{name}' has endlessly many values: a grid needs value, values or "
                "whole numbers between min and max"
            )
        points *= count
    if min(points, sweep.run_cap or points) > MOST_RUNS:
        raise UserError(f"it is a grid of {points:,} runs: {MOST_RUNS:,} are the most")


def _check_seeds(path: Path, sweep: Sweep) -> None:
    """Raise UserError for a search over seeds, which would choose a lucky one."""
    for name in SEEDS:
        drawn = sweep.parameters.get(name)
        if drawn is not None and len(drawn.extremes()) > 1:
            raise UserError(
                f"a search must not draw {name}, or it would choose a lucky one: give one as  "
                f"{name}: {{value: 0}}  and train the best with other seeds afterwards: "
                f"resnet-lab sweep {shlex.quote(str(path))} --confirm 3 --seeds 1,2,3"
            )


def _check_test(sweep: Sweep) -> None:
    """Raise UserError where test images could choose between runs."""
    test = sweep.parameters.get("data.test")
    if sweep.chooses and (test is None or test.extremes() != ("false",)):
        raise UserError(
            "a search must not read test images, or they would choose: add to its parameters  "
            "data.test: {value: false}"
        )
