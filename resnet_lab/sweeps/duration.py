"""How long runs will take, from the measured time of runs of the same networks and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.files import is_left_behind
from resnet_lab.runs.directory import read_info
from resnet_lab.sweeps.cost import multiply_adds
from resnet_lab.yaml_json import DocumentError, load_yaml, read_text

Key = str
"""What decides the seconds of an iteration, as text: see `key_of`."""
FREE = (
    *("iterations", "lr", "drops", "drop_factor", "momentum", "nesterov", "weight_decay"),
    *("warmup_steps", "warmup_lr", "warmup_until_error", "warmup_window", "plateau_patience"),
)
"""Settings of a recipe that change no iteration's time. Evaluations are part of it, so that how
often they come is not among them."""


@dataclass(frozen=True)
class Measured:
    """Seconds an iteration, evaluations and recording included: the mean over `runs` runs.

    `device` is the one that the newest of them ran on, and all of them: others are left out.
    `iterations` is the most that one of them made; where there are few, evaluations weigh more.
    """

    seconds: float
    runs: int
    device: str
    iterations: int

    def text(self, where: str) -> str:
        """Say what was measured, and in which runs."""
        runs = f"{self.runs} run{'s' * (self.runs > 1)} of {self.iterations:,} iterations"
        return f"{self.seconds:.3g} s an iteration on {self.device}, measured in {runs} {where}"


@dataclass
class Speeds:
    """What is measured: of runs of the study itself, and of runs elsewhere.

    Attributes:
        here: key -> of the study's own runs.
        elsewhere: key -> of others below the same folder.
    """

    here: dict[Key, Measured] = field(default_factory=dict)
    elsewhere: dict[Key, Measured] = field(default_factory=dict)

    def of(self, config: Config) -> Measured | None:
        """What is known of a configuration's runs; the study's own runs come first."""
        return self.at(key_of(config))

    def at(self, key: Key) -> Measured | None:
        """The same, by what decides an iteration's time."""
        return self.here.get(key) or self.elsewhere.get(key)


def key_of(config: Config) -> Key:
    """Return what decides an iteration's time: networks, data, batch, arithmetic, evaluations."""
    whole = config.as_dict()
    recipe = {name: value for name, value in whole["recipe"].items() if name not in FREE}
    data = {name: value for name, value in whole["data"].items() if name != "split_seed"}
    trainer = {name: getattr(config.trainer, name) for name in ("device", "devices", "nodes")}
    names = [spec.name for spec in config.specs()]
    parts = [names, data, recipe, trainer, whole["recording"]]
    return json.dumps(parts, sort_keys=True, default=str)


def measured_speeds(configs: Iterable[Config], folder: Path, runs_dir: Path) -> Speeds:
    """Return the measured speeds of these configurations' kinds, the study's own runs first.

    Args:
        configs: whose kinds are looked for.
        folder: of the study.
        runs_dir: the folder below which other runs lie; they are read where the study lacks a kind.
    """
    wanted = {key_of(config): [spec.name for spec in config.specs()] for config in configs}
    here = _measured(_runs(folder.glob("*/run.json"), wanted), wanted)
    missing = {key: names for key, names in wanted.items() if key not in here}
    if not missing:
        return Speeds(here)
    others = (file for file in _files(runs_dir) if folder not in file.parents)
    return Speeds(here, _measured(_runs(others, missing), missing))


def _files(runs_dir: Path) -> Iterator[Path]:
    for file in runs_dir.rglob("run.json"):
        if not any(map(is_left_behind, file.relative_to(runs_dir).parts)):
            yield file


def _runs(
    files: Iterable[Path], wanted: Mapping[Key, Sequence[str]]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the folder and contents of finished runs of the wanted networks; others are no help."""
    cohorts = [list(names) for names in wanted.values()]
    for file in files:
        try:
            info = read_info(file.parent)
            names = [one["network"] for one in info["networks"]]
        except (OSError, UserError, KeyError, TypeError):
            continue
        if info.get("status") == "finished" and names in cohorts:
            yield file.parent, info


def _measured(
    runs: Iterable[tuple[Path, Mapping[str, Any]]], wanted: Mapping[Key, object]
) -> dict[Key, Measured]:
    found: dict[Key, list[tuple[str, str, float, int]]] = {}
    for folder, info in runs:
        seconds = seconds_an_iteration(info)
        key = _key(folder) if seconds is not None else None
        if seconds is not None and key is not None and key in wanted:
            origin = info["provenance"]
            when = str(origin.get("updated") or origin.get("created"))
            row = (when, str(origin.get("device")), seconds, int(info["step"]))
            found.setdefault(key, []).append(row)
    return {key: _mean(each) for key, each in found.items()}


def _mean(found: Sequence[tuple[str, str, float, int]]) -> Measured:
    device = max(found)[1]
    alike = [(seconds, steps) for _, where, seconds, steps in found if where == device]
    mean = sum(seconds for seconds, _ in alike) / len(alike)
    return Measured(mean, len(alike), device, max(steps for _, steps in alike))


def _key(folder: Path) -> Key | None:
    try:
        return key_of(Config.from_stored(load_yaml(read_text(folder / "config.yaml"))))
    except (OSError, DocumentError, TypeError, UserError):
        return None


def seconds_an_iteration(info: Mapping[str, Any]) -> float | None:
    """Return what run.json says an iteration took; None where it does not."""
    seconds, step = info.get("provenance", {}).get("wall_seconds"), info.get("step")
    if not isinstance(seconds, int | float) or not isinstance(step, int):
        return None
    return float(seconds) / step if step > 0 and seconds > 0 else None


def shared(seconds: Sequence[float], workers: int) -> float:
    """Return how long workers take for runs of these seconds: no run is shared between two."""
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def in_words(seconds: float) -> str:
    """Write a duration: "2.4 hours", "12 minutes", "40 seconds"."""
    if seconds >= 3 * 86_400:
        return f"{seconds / 86_400:.1f} days"
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    if seconds >= 90:
        return f"{seconds / 60:.0f} minutes"
    return f"{max(1, round(seconds))} second{'s' * (round(seconds) > 1)}"


def workers_in_words(workers: int) -> str:
    """Write a number of workers."""
    return f"{workers} worker{'s' * (workers > 1)}"


@dataclass
class Clock:
    """What is left of a sweep while it runs, in seconds, by what its runs have taken.

    Attributes:
        folder: of the study.
        workers: how many runs train at the same time.
        configs: of a grid: slot -> configuration; of a search none, whose runs are taken to last as
            long as those that have ended did on average.
        speeds: measured before the command began.
    """

    folder: Path
    workers: int
    configs: Mapping[str, Config] = field(default_factory=dict)
    speeds: Speeds = field(default_factory=Speeds)
    _took: list[float] = field(default_factory=list)
    _own: dict[Key, list[float]] = field(default_factory=dict)
    _work: list[float] = field(default_factory=list)
    _kinds: dict[str, tuple[Key, int]] = field(default_factory=dict)

    def note(self, run: str) -> None:
        """Take in how long a run took that has ended."""
        try:
            info = read_info(self.folder / run)
            config = Config.from_stored(load_yaml(read_text(self.folder / run / "config.yaml")))
        except (OSError, DocumentError, TypeError, UserError):
            return
        seconds = seconds_an_iteration(info)
        if seconds is None:
            return
        self._took.append(seconds * int(info["step"]))
        self._own.setdefault(key_of(config), []).append(seconds)
        work = multiply_adds(config)
        if work:
            self._work.append(seconds * config.recipe.iterations / work)

    def seconds_left(self, left: Mapping[str, float]) -> float | None:
        """Return the seconds that runs still take; None where that is not known of every one.

        Networks of which no run has ended are taken to be as fast, a multiply-add, as the others.

        Args:
            left: slot -> share of the run that is still to be trained, 0 to 1.
        """
        known = [self._slot(slot, share) for slot, share in left.items()]
        if None in known:
            return None
        return shared([one for one in known if one is not None], self.workers)

    def _slot(self, slot: str, share: float) -> float | None:
        if slot not in self.configs:
            return share * sum(self._took) / len(self._took) if self._took else None
        key, work = self._kind(slot)
        own = self._own.get(key)
        measured = self.speeds.at(key)
        if own or measured:
            seconds = sum(own) / len(own) if own else measured.seconds if measured else 0.0
            return share * seconds * self.configs[slot].recipe.iterations
        return share * work * sum(self._work) / len(self._work) if work and self._work else None

    def _kind(self, slot: str) -> tuple[Key, int]:
        """What decides a run's time, and its multiply-adds (0: not known); worked out once."""
        if slot not in self._kinds:
            config = self.configs[slot]
            self._kinds[slot] = key_of(config), multiply_adds(config) or 0
        return self._kinds[slot]
