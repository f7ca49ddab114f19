"""How long runs will take, from the measured time of runs of the same networks and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.files import is_left_behind
from resnet_lab.runs.directory import read_info
from resnet_lab.sweeps.cost import multiply_adds
from resnet_lab.yaml_json import DocumentError, load_yaml, read_text

Key = str
"""Text of all settings that affect an iteration's time: see `key_of`."""
FREE = (
    *("iterations", "lr", "drops", "drop_factor", "momentum", "nesterov", "weight_decay"),
    *("warmup_steps", "warmup_lr", "warmup_until_error", "warmup_window", "plateau_patience"),
    *("beta2", "eps", "trust_coefficient"),
)
"""Recipe settings that do not affect an iteration's time. Evaluations count towards that time, so
their frequency is not listed."""


@dataclass(frozen=True)
class Measured:
    """Mean seconds an iteration over `runs` runs, evaluations and recording included.

    Only runs on `device`, that of the newest run, are counted. `iterations` is the most that one
    run made; with few iterations, evaluations weigh more.
    """

    seconds: float
    runs: int
    device: str
    iterations: int

    def text(self, where: str) -> str:
        """Describe the measurement and the runs that it comes from."""
        runs = f"{self.runs} run{'s' * (self.runs > 1)} of {self.iterations:,} iterations"
        return f"{self.seconds:.3g} s an iteration on {self.device}, measured in {runs} {where}"


@dataclass
class Speeds:
    """Measured speeds of the study's own runs and of runs elsewhere.

    Attributes:
        here: key -> speed of the study's own runs.
        elsewhere: key -> speed of other runs below the same folder.
    """

    here: dict[Key, Measured] = field(default_factory=dict)
    elsewhere: dict[Key, Measured] = field(default_factory=dict)

    def of(self, config: Config) -> Measured | None:
        """The measured speed for a configuration, preferably from the study's own runs."""
        return self.at(key_of(config))

    def at(self, key: Key) -> Measured | None:
        """The same, by key."""
        return self.here.get(key) or self.elsewhere.get(key)


def key_of(config: Config) -> Key:
    """Return the settings that affect an iteration's time: networks, data, batch, precision, ..."""
    whole = config.as_dict()
    recipe = {name: value for name, value in whole["recipe"].items() if name not in FREE}
    data = {name: value for name, value in whole["data"].items() if name != "split_seed"}
    trainer = {name: getattr(config.trainer, name) for name in ("device", "devices", "nodes")}
    names = [spec.name for spec in config.specs()]
    parts = [names, data, recipe, trainer, whole["recording"]]
    return json.dumps(parts, sort_keys=True, default=str)


def measured_speeds(configs: Iterable[Config], folder: Path, runs_dir: Path) -> Speeds:
    """Return the measured speeds for these configurations, preferring the study's own runs.

    Args:
        configs: configurations whose keys are looked up.
        folder: of the study.
        runs_dir: the folder above other runs; they are read for keys that the study lacks.
    """
    wanted = {key_of(config): [spec.name for spec in config.specs()] for config in configs}
    here = _measured(folder.glob("*/run.json"), wanted)
    missing = {key: names for key, names in wanted.items() if key not in here}
    if not missing:
        return Speeds(here)
    others = (
        file
        for file in runs_dir.rglob("run.json")
        if folder not in file.parents
        and not any(map(is_left_behind, file.relative_to(runs_dir).parts))
    )
    return Speeds(here, _measured(others, missing))


def _measured(files: Iterable[Path], wanted: Mapping[Key, Sequence[str]]) -> dict[Key, Measured]:
    """The speed of the finished runs among these run.json files, for each wanted key."""
    found: dict[Key, list[tuple[str, str, float, int]]] = {}
    for file in files:
        try:
            info = read_info(file.parent)
            names = [one["network"] for one in info["networks"]]
        except (OSError, UserError, KeyError, TypeError):
            continue
        seconds = seconds_an_iteration(info)
        # Skip runs of other networks cheaply, without reading their configurations.
        useful = info.get("status") == "finished" and names in wanted.values()
        config = _config(file.parent) if useful and seconds is not None else None
        key = "" if config is None else key_of(config)
        if seconds is not None and key in wanted:
            origin = info["provenance"]
            when = str(origin.get("updated") or origin.get("created"))
            row = (when, str(origin.get("device")), seconds, int(info["step"]))
            found.setdefault(key, []).append(row)
    return {key: _mean(each) for key, each in found.items()}


def _mean(found: Sequence[tuple[str, str, float, int]]) -> Measured:
    device = max(found)[1]
    seconds, steps = zip(*((one, n) for _, where, one, n in found if where == device), strict=True)
    return Measured(fmean(seconds), len(seconds), device, max(steps))


def _config(folder: Path) -> Config | None:
    """The configuration of a run; None where it cannot be read."""
    try:
        return Config.from_stored(load_yaml(read_text(folder / "config.yaml")))
    except (OSError, DocumentError, TypeError, UserError):
        return None


def seconds_an_iteration(info: Mapping[str, Any]) -> float | None:
    """Return the seconds an iteration in run.json; None where it has none."""
    seconds, step = info.get("provenance", {}).get("wall_seconds"), info.get("step")
    if not isinstance(seconds, int | float) or not isinstance(step, int):
        return None
    return float(seconds) / step if step > 0 and seconds > 0 else None


def shared(seconds: Sequence[float], workers: int) -> float:
    """Return how long workers take for runs of these seconds; each run has one worker."""
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def duration_in_words(seconds: float) -> str:
    """Write a duration: "2.4 hours", "12 minutes", "40 seconds"."""
    if seconds >= 3 * 86_400:
        return f"{seconds / 86_400:.1f} days"
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    if seconds >= 90:
        return f"{seconds / 60:.0f} minutes"
    return f"{max(1, round(seconds))} second{'s' * (round(seconds) > 1)}"


def estimate(seconds: float, workers: int) -> str:
    """Write how long workers will take: "about 12 minutes with 2 workers"."""
    return f"about {duration_in_words(seconds)} with {workers} worker{'s' * (workers > 1)}"


@dataclass
class Clock:
    """Estimate of the seconds left in a running sweep, from the time its runs have taken.

    Attributes:
        folder: of the study.
        workers: how many runs train at the same time.
        configs: of a grid: slot -> configuration; empty for a search, whose runs are assumed to
            take as long as the mean of those that have ended.
        speeds: measured before the command began.
    """

    folder: Path
    workers: int
    configs: Mapping[str, Config] = field(default_factory=dict)
    speeds: Speeds = field(default_factory=Speeds)
    _took: list[float] = field(default_factory=list)
    _own: dict[Key, list[float]] = field(default_factory=dict)
    _work: list[float] = field(default_factory=list)

    def note(self, run: str) -> None:
        """Record how long an ended run took."""
        try:
            info = read_info(self.folder / run)
        except UserError:
            return
        config, seconds = _config(self.folder / run), seconds_an_iteration(info)
        if config is None or seconds is None:
            return
        self._took.append(seconds * int(info["step"]))
        self._own.setdefault(key_of(config), []).append(seconds)
        work = multiply_adds(config)
        if work:
            self._work.append(seconds * config.recipe.iterations / work)

    def seconds_left(self, left: Mapping[str, float]) -> float | None:
        """Return the seconds that the runs still take; None unless known for every run.

        Networks without an ended run are assumed to take the others' time per multiply-add.

        Args:
            left: slot -> share of the run that is still to be trained, 0 to 1.
        """
        whole = {slot: self._whole(slot) for slot in left}
        seconds = [left[slot] * one for slot, one in whole.items() if one is not None]
        return shared(seconds, self.workers) if len(seconds) == len(left) else None

    def _whole(self, slot: str) -> float | None:
        """Seconds of a whole run."""
        if slot not in self.configs:
            return fmean(self._took) if self._took else None
        key, work = self._kinds[slot]
        own, measured = self._own.get(key), self.speeds.at(key)
        if own or measured:
            seconds = fmean(own) if own else measured.seconds if measured else 0.0
            return seconds * self.configs[slot].recipe.iterations
        return work * fmean(self._work) if work and self._work else None

    @cached_property
    def _kinds(self) -> dict[str, tuple[Key, int]]:
        """Slot -> key of its run's speed, and its multiply-adds (0: not known)."""
        return {slot: (key_of(one), multiply_adds(one) or 0) for slot, one in self.configs.items()}
