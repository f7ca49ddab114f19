"""Sweep files: W&B's own format, whose parameters are flags of `resnet-lab train`."""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resnet_lab.errors import UserError, suggest, suggest_path
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.parts.files import absolute, load_parts
from resnet_lab.sweeps.distributions import Distribution, odd_exponents, read_distribution
from resnet_lab.yaml_json import DocumentError, load_yaml, read_text

if TYPE_CHECKING:
    from optuna import Trial

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
NOT_HERE = {
    "controller": "it says which W&B process draws the points; W&B's own does without it",
    "settings": "they are those of W&B's own controller",
    "metrics": "a search goes by one metric: give metric: {name: validation_error}",
    "job": "it is W&B Launch's, which starts containers",
    "image_uri": "it is W&B Launch's, which starts containers",
    "launch": "it is W&B Launch's, which starts containers",
}
"""Keys that W&B takes and no engine here can follow, and why."""
MOST_RUNS = 10_000
"""Runs of a study: each is parsed before the first is trained."""
METHODS = ("grid", "random", "bayes")
MOST_EVALUATIONS = 10**9
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
SEEDS = ("seed", "data.split_seed")
"""Parameters that are luck: of the run, and of which images are held out."""
METRICS = ("validation_error", "validation_loss", "validation_top5_error")
"""What may choose between runs. Test numbers never do."""


@dataclass(frozen=True)
class Metric:
    """What a search minimises: a number of the last step, of one network.

    Attributes:
        name: one of METRICS; of a cohort's member with its name before, as W&B has it:
            "plain-56/validation_error".
        target: no further run begins once one has reached this; None: none.
    """

    name: str = METRICS[0]
    target: float | None = None


@dataclass(frozen=True)
class Hyperband:
    """Early termination as W&B has it: one bracket of successive halving.

    A run goes on past the evaluations `first`, `first` * eta, `first` * eta^2, ... (counted from 1)
    only if it is among the best 1/eta of those that have come as far.
    """

    first: int
    eta: int = 3


@dataclass(frozen=True)
class Sweep:
    """The runs that make a study.

    Attributes:
        name: of the study: the file's `name`, or the file name without its ending.
        method: "grid", or a search: "random" or "bayes".
        parameters: flag of `resnet-lab train` -> its values.
        metric: what a search minimises.
        early_terminate: how runs are stopped early; None: they are not.
        run_cap: the number of runs of a search; at most so many of a grid.
        content: the file as it was read, for W&B.
        remarks: what the user should know of the file's values before anything runs.
    """

    name: str
    method: Literal["grid", "random", "bayes"]
    parameters: Mapping[str, Distribution]
    metric: Metric = Metric()
    early_terminate: Hyperband | None = None
    run_cap: int | None = None
    content: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def searches(self) -> bool:
        """Whether values are drawn rather than gone through."""
        return self.method != "grid"

    @property
    def chooses(self) -> bool:
        """Whether results decide which runs there are, or how long they go on."""
        return self.searches or self.early_terminate is not None

    @property
    def compares(self) -> bool:
        """Whether runs are compared by one number, so that the metric must be one network's."""
        return self.chooses or self.metric.target is not None

    def points(self) -> Iterator[list[str]]:
        """The flags of each run of a grid; the last parameter varies fastest."""
        # No further value of any parameter is in the first MOST_RUNS points.
        columns = [
            itertools.islice(values.grid(), MOST_RUNS) for values in self.parameters.values()
        ]
        points = (
            flags(dict(zip(self.parameters, values, strict=True)))
            for values in itertools.product(*columns)
        )
        return itertools.islice(points, self.run_cap)

    def corners(self) -> Iterator[list[str]]:
        """Flags that between them hold every extreme value of every parameter."""
        extremes = {name: values.extremes() for name, values in self.parameters.items()}
        for number in range(max(map(len, extremes.values()))):
            yield flags({name: each[number % len(each)] for name, each in extremes.items()})

    def draw(self, trial: Trial) -> list[str]:
        """The flags of one run of a search."""
        return flags({name: values.draw(trial, name) for name, values in self.parameters.items()})

    def varied(self, drawn: list[str]) -> list[str]:
        """Those of a run's flags that are not the same in every run."""
        constant = {name for name, values in self.parameters.items() if len(values.extremes()) == 1}
        return [flag for flag in drawn if flag[2:].split("=")[0] not in constant]

    def fingerprint(self) -> str:
        """What must not change while a search goes on, as text, but for the command's flags."""
        kept = {name: repr(values) for name, values in self.parameters.items()}
        return json.dumps([self.method, self.metric.name, repr(self.early_terminate), kept])


def flags(point: Mapping[str, str]) -> list[str]:
    """Write a run's values as flags; a configuration file comes first, as later flags win."""
    names = sorted(point, key=lambda name: name != "config")
    return [f"--{name}={point[name]}" for name in names]


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: no such file, no YAML, an unknown key, a range that holds nothing, or a search
            that could see test images.
    """
    content = _read_yaml(path)
    _check_keys(path, content)
    method = content.get("method")
    if method not in METHODS:
        raise UserError(
            f"{path}: method is '{method}'{suggest(str(method), METHODS)}: give one of "
            f"{', '.join(METHODS)}"
        )
    content = _with_parts(path, content)
    parameters, remarks = _parameters(path, content["parameters"])
    sweep = Sweep(
        name=str(content.get("name") or path.stem),
        method=method,
        parameters=parameters,
        metric=_metric(path, content.get("metric")),
        early_terminate=_early_terminate(path, content.get("early_terminate")),
        run_cap=_run_cap(path, content.get("run_cap")),
        content=content,
        remarks=remarks,
    )
    _check(path, sweep)
    return sweep


def _with_parts(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A sweep's content with absolute paths of the files of parts, which lie beside its file.

    Those that every run has are loaded, as networks may be named in the sweep itself.
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
        raise UserError(
            f"{path} is no sweep file: it has no 'parameters'{_way_to_train(content, path)}"
        )
    return content


def _meant(path: Path) -> str:
    """What was meant by a path that cannot be read as a file."""
    if (path / "config.yaml").is_file():
        return f"; a run is trained, or continued, by {train_command(path / 'config.yaml')}"
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


def _way_to_train(content: Any, path: Path) -> str:
    """A file of one run's configuration is for `resnet-lab train`."""
    of_a_run = isinstance(content, dict) and content.keys() & {"network", "recipe", "data", "seed"}
    return f"; one run is trained by {train_command(path)}" if of_a_run else ""


def train_command(config: Path) -> str:
    """The command that trains one run of a configuration file."""
    return f"`resnet-lab train --config {shlex.quote(str(config))}`"


def _check_keys(path: Path, content: Mapping[str, Any]) -> None:
    for key in content:
        if key in NOT_HERE:
            raise UserError(f"{path}: '{key}' means nothing here ({NOT_HERE[key]}): leave it out")
        if key not in KEYS:
            raise UserError(
                f"{path}: unknown key '{key}'{suggest(str(key), KEYS)} (known: {', '.join(KEYS)})"
            )
    scheduler = content.get("scheduler")
    if not isinstance(scheduler, dict | None):
        raise UserError(
            f"{path}: scheduler is {scheduler!r}: give its keys, such as {{engine: wandb}}, or "
            "leave it out"
        )


def _parameters(path: Path, content: Any) -> tuple[dict[str, Distribution], tuple[str, ...]]:
    """Flag -> values, and remarks on them; no flag is there twice, however it is written."""
    found: dict[str, Distribution] = {}
    spelled: dict[str, str] = {}
    remarks: list[str] = []
    for name, spelling, entry in _flatten(path, content):
        plain = name.replace("-", "_")
        if plain in spelled:
            raise UserError(
                f"{path}: the parameter '{name}' is there twice, as {spelled[plain]} and as "
                f"{spelling}: leave one of them out"
            )
        where = f"{path}: parameter '{name}'"
        found[name], spelled[plain] = read_distribution(where, entry), spelling
        remark = odd_exponents(entry)
        remarks += [f"{where}: {remark}"] if remark else []
    return found, tuple(remarks)


def _flatten(
    path: Path, parameters: Any, prefix: str = "", levels: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (flag, how the file writes it, its entry); nested parameters are joined by dots."""
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(
            f"{path}: parameters{prefix and ' of ' + prefix[:-1]}: give names with values"
        )
    for name, entry in parameters.items():
        flag = f"{prefix}{name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(f"{path}: parameter {name!r}: give the name of a flag, such as seed")
        if not isinstance(entry, dict):
            raise UserError(f"{path}: parameter '{flag}' is {entry!r}: write {_as_entry(entry)}")
        if set(entry) == {"parameters"}:
            yield from _flatten(path, entry["parameters"], f"{flag}.", (*levels, name))
        else:
            spelling = f"'{name}'" + "".join(f" in '{level}'" for level in reversed(levels))
            yield flag, spelling, entry


def _as_entry(value: Any) -> str:
    """How a value that stands alone is to be written; a list may be many values, or one."""
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"{{values: {text}}}, or {{value: {text}}} where the list is one value"
    return f"{{value: {text}}}"


def _metric(path: Path, entry: Any) -> Metric:
    if entry is None:
        return Metric()
    if not isinstance(entry, dict) or not {"name"} <= set(entry) <= {"name", "goal", "target"}:
        raise UserError(f"{path}: metric is {entry!r}: give name, goal and, if you want, target")
    _check_metric_name(path, entry["name"])
    if entry.get("goal", "minimize") != "minimize":
        raise UserError(f"{path}: goal is '{entry['goal']}': {entry['name']} is to be minimized")
    target = entry.get("target")
    if target is not None and not _is_number(target):
        raise UserError(f"{path}: target is {target!r}: give a number, or leave it out")
    return Metric(entry["name"], target)


def _check_metric_name(path: Path, name: Any) -> None:
    network, _, metric = str(name).rpartition("/")
    if metric not in METRICS:
        raise UserError(
            f"{path}: metric is '{name}': runs are chosen by what the validation images say, one "
            f"of {', '.join(METRICS)}"
        )
    if network and (canonical := NetworkSpec.parse(network).name) != network:
        raise UserError(f"{path}: metric is '{name}': write {canonical}/{metric}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _early_terminate(path: Path, entry: Any) -> Hyperband | None:
    if entry is None:
        return None
    where = f"{path}: early_terminate"
    if not isinstance(entry, dict) or entry.get("type") != "hyperband":
        raise UserError(f"{where} is {entry!r}: give type: hyperband and its numbers")
    known = ("type", "min_iter", "max_iter", "s", "eta", "strict")
    for key in entry:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'{suggest(str(key), known)}")
    numbers = {key: entry[key] for key in ("min_iter", "max_iter", "s", "eta") if key in entry}
    for key, value in numbers.items():
        least = 2 if key == "eta" else 1
        if type(value) is not int or not least <= value <= MOST_EVALUATIONS:
            raise UserError(
                f"{where}: {key} is {value!r}: give a whole number, {least} or more, up to "
                f"{MOST_EVALUATIONS:,}"
            )
    return _bracket(where, **numbers)


def _bracket(
    where: str,
    min_iter: int | None = None,
    max_iter: int | None = None,
    s: int | None = None,
    eta: int = 3,
) -> Hyperband:
    if min_iter is not None and max_iter is None and s is None:
        return Hyperband(min_iter, eta)
    if min_iter is None and max_iter is not None and s is not None:
        first = max_iter // eta ** min(s, 64)
        if first:
            return Hyperband(first, eta)
        raise UserError(f"{where}: max_iter {max_iter} cannot be divided {s} times by {eta}")
    raise UserError(f"{where}: give either min_iter, or max_iter and s")


def _run_cap(path: Path, value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MOST_RUNS):
        raise UserError(
            f"{path}: run_cap is {value!r}: give a whole number, 1 or more, up to {MOST_RUNS:,}"
        )
    return value


def _check(path: Path, sweep: Sweep) -> None:
    """Raise UserError where the parts of a file do not fit each other."""
    if not sweep.searches:
        for name, values in sweep.parameters.items():
            if values.count() is None:
                raise UserError(
                    f"{path}: parameter '{name}' has endlessly many values: a grid needs value, "
                    "values or whole numbers between min and max"
                )
        points = math.prod(values.count() or 1 for values in sweep.parameters.values())
        if min(points, sweep.run_cap or points) > MOST_RUNS:
            raise UserError(f"{path} is a grid of {points:,} runs: {MOST_RUNS:,} are the most")
    for name in SEEDS if sweep.searches else ():
        drawn = sweep.parameters.get(name)
        if drawn is not None and len(drawn.extremes()) > 1:
            raise UserError(
                f"{path}: a search must not draw {name}, or it would choose a lucky one: give one "
                f"as  {name}: {{value: 0}}  and train the best with other seeds afterwards: "
                f"resnet-lab sweep {shlex.quote(str(path))} --confirm 3 --seeds 1,2,3"
            )
    test = sweep.parameters.get("data.test")
    if sweep.chooses and (test is None or test.extremes() != ("false",)):
        raise UserError(
            f"{path}: a search must not read test images, or they would choose: add to its "
            "parameters  data.test: {value: false}"
        )
