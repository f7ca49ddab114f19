"""The study of `resnet-lab sweep`: its runs, their directories and their states."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.wandb_flags import as_typed
from resnet_lab.configuration.config import Config
from resnet_lab.configuration.identity import identify
from resnet_lab.configuration.replaced import foreign_parts, replaced_code
from resnet_lab.data.fingerprint import check_there, fingerprint
from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.sweeps.conflicts import (
    check_choice,
    check_early_termination,
    check_places,
    check_varied,
)
from resnet_lab.sweeps.cost import cost_choices
from resnet_lab.sweeps.duration import Clock, Speeds, measured_speeds
from resnet_lab.sweeps.fixed_flags import FixedFlags, read_command
from resnet_lab.sweeps.job import Job, Train, flags_as_read
from resnet_lab.sweeps.local import run_locally
from resnet_lab.sweeps.missing_runs import MissingRuns, check_runs_dir, missing_lines, missing_runs
from resnet_lab.sweeps.outcome import Outcome, print_outcome
from resnet_lab.sweeps.plan import plan_lines, search_lines
from resnet_lab.sweeps.queue import Slot
from resnet_lab.sweeps.storage import VARIABLE, without_secrets
from resnet_lab.sweeps.sweep import Sweep
from resnet_lab.sweeps.worker import target_reached

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SMOKE = (
    "--recipe.iterations=10",
    "--recipe.batch_size=16",
    "--recipe.drops=[]",
    "--recipe.plateau_patience=0",
    "--recipe.warmup_steps=0",
    "--recipe.ghost_batch=0",
    "--recipe.precise_bn=0",
    "--recipe.compile=false",
    "--recipe.evaluate_every=5",
    "--recipe.log_every=1",
    "--recording.probe_size=16",
    "--data.protocol=validation",
    "--data.validation_size=200",
    "--data.test=false",
    "--trainer.devices=1",
)
"""Recipe settings of --smoke: enough to check that everything works."""
STATES = {"COMPLETE": "finished", "PRUNED": "finished", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class Study:
    """A sweep's runs, their directories, and how to train them.

    Attributes:
        given: the command's own flags.
        sweep: the file.
        job: for the workers.
        configs: of a grid: slot -> configuration. Of a search: its extreme configurations.
        places: of a grid: slot -> run directory.
        extra: flags of `train` that the command line gives to every run.
    """

    given: argparse.Namespace
    sweep: Sweep
    job: Job
    configs: dict[str, Config]
    places: dict[str, RunDirectory]
    extra: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, given: argparse.Namespace, sweep: Sweep, extra: Sequence[str], train: Train
    ) -> Study:
        """Parse every run before the first is trained, so that mistakes show at once.

        Args:
            given: the command's own flags.
            sweep: the file.
            extra: flags of `train` for every run.
            train: trains one run in a worker.

        Raises:
            UserError: a run's configuration is wrong, does not fit the sweep's metric, could see
                test images in a search, or could never be stopped early by a sweep that says so.
        """
        _check_end(given, sweep)
        name = str(given.study or sweep.name) + ("-smoke" if given.smoke else "")
        added = _added_flags(given, name, extra)
        fixed = _fixed_flags(given, sweep)
        check_places(given, sweep, [*fixed.before, *fixed.after], extra)
        smoke = SMOKE if given.smoke else ()
        points, configs, places = _parse_points(sweep, fixed, added, smoke)
        for config in configs.values():
            check_early_termination(sweep, config)
            check_choice(sweep, config)
        job = Job(
            sweep=sweep,
            points=points,
            extra=added,
            parse=parse_config,
            train=train,
            study=name,
            folder=Path(given.runs_dir) / name,
            storage=given.storage or os.environ.get(VARIABLE),
            heartbeat=given.heartbeat,
            retries=given.retries,
            seed=given.seed,
            fixed=fixed,
        )
        return cls(given, sweep, job, configs, places, tuple(extra))

    def run(self) -> int:
        """Train the remaining runs, print the outcome, and return the exit code.

        Raises:
            UserError: data are missing, the first run cannot begin, or this machine has the study's
                runs in another runs directory.
        """
        missing = self._missing()
        check_runs_dir(missing, self.job.study, self.job.folder)
        self.job.note()
        for key, place in self.places.items():
            if place.data_is_missing() and not place.is_finished():
                fingerprint(self.configs[key].data, self.configs[key].data_dir)
        devices = [one for one in (self.given.devices or "").split(",") if one]
        result = run_locally(
            self.job,
            self.slots(),
            self._clock(),
            again=missing.gone,
            workers=self.given.workers,
            devices=devices,
            count=self.given.count,
        )
        result, elsewhere = self._here(result)
        print_outcome(result)
        print("".join(f"{line}\n" for line in elsewhere), end="")
        if self.sweep.searches:
            print("\n".join(self.found()))
        return result.exit_code

    def check_data(self) -> None:
        """Raise UserError if data files of a run to be trained are missing.

        W&B hands each point out once: one that fails for missing data would be lost to the sweep.
        """
        asked = set()
        for key, config in self.configs.items():
            data = (config.data, config.data_dir)
            if data not in asked and not (key in self.places and self.places[key].is_finished()):
                asked.add(data)
                check_there(*data)

    def slots(self) -> list[Slot]:
        """Entries of the queue: the points of a grid, or the draws of a search."""
        if not self.sweep.searches:
            points = self.job.points.items()
            return [Slot(key, _settings(flags, self.configs[key])) for key, flags in points]
        total = self.sweep.run_cap
        if total is None:
            total = len(self.attempts()) + (self.given.count or 0)
        return [Slot(str(number), {}) for number in range(total)]

    def plan(self) -> list[str]:
        """The lines of --dry-run."""
        states = self._states()
        counts = Counter(states.values())
        if self.sweep.searches:
            choices = [
                (share, parse_config([*self.job.fixed.around(point), *self.job.extra], "sweep"))
                for share, point in cost_choices(self.sweep)
            ]
            speeds = self._speeds([config for _, config in choices])
            return search_lines(choices, counts, speeds, self.given.workers)
        runs = [(states[key], config, self.places[key]) for key, config in self.configs.items()]
        left = [config for state, config, _ in runs if state != "finished"]
        return plan_lines(runs, counts, self._speeds(left), self.given.workers)

    def _speeds(self, configs: Sequence[Config]) -> Speeds:
        """Measured speeds of earlier runs, of the study or elsewhere in its runs directory."""
        return measured_speeds(configs, self.job.folder, Path(self.given.runs_dir))

    def _clock(self) -> Clock:
        """The clock that estimates the time left while the sweep runs."""
        if self.sweep.searches:
            return Clock(self.job.folder, self.given.workers)
        left = [one for key, one in self.configs.items() if not self.places[key].is_finished()]
        return Clock(self.job.folder, self.given.workers, self.configs, self._speeds(left))

    def attempts(self) -> dict[str, FrozenTrial]:
        """The last attempt at each slot; empty if the study has not begun."""
        if not self.job.exists():
            return {}
        with closing(self.job.open()) as queue:
            return queue.attempts()

    def _states(self) -> dict[str, str]:
        attempts: dict[str, FrozenTrial] = {}
        dead: set[int] = set()
        if self.job.exists():
            with closing(self.job.open()) as queue:
                attempts, dead = queue.attempts(), queue.dead()
        missing = self._missing(attempts)
        check_runs_dir(missing, self.job.study, self.job.folder)
        states = {}
        for slot in self.slots():
            trial = attempts.get(slot.key)
            known = "to do"
            if trial is not None and trial.number not in dead and slot.key not in missing.slots:
                known = STATES.get(trial.state.name, "to do")
            done = slot.key in self.places and self.places[slot.key].is_finished()
            states[slot.key] = "finished" if done else known
        return states

    def _missing(self, attempts: Mapping[str, FrozenTrial] | None = None) -> MissingRuns:
        """Runs that the study has as done but that are missing from this runs directory."""
        return missing_runs(
            self.attempts() if attempts is None else attempts,
            [slot.key for slot in self.slots()],
            {key: place.path for key, place in self.places.items()},
            self.job.folder,
            self.job.storage is not None,
        )

    def _here(self, result: Outcome) -> tuple[Outcome, list[str]]:
        """The outcome of the runs that are here, and lines on where the others are."""
        attempts = self.attempts()
        found = self._missing(attempts)
        states = [attempts[slot].state.name for slot in found.slots]
        return (
            dataclasses.replace(
                result,
                finished=result.finished - states.count("COMPLETE"),
                stopped=result.stopped - states.count("PRUNED"),
                missing=len(states),
            ),
            missing_lines(found),
        )

    def found(self) -> list[str]:
        """Results of a search, and the next command, a line each."""
        from analysis.search import load_search
        from analysis.search_text import summary

        try:
            search = load_search(self.job.folder, self.job.storage)
        except UserError:
            return ["no run has come to its end"]
        lines = summary(search)
        if search.winner is not None and search.ranking.empty:
            lines += [f"to confirm the best with other seeds: {self._confirming()}"]
        return lines

    def _confirming(self) -> str:
        """The command that trains the best trials again with unused seeds."""
        from resnet_lab.cli.confirmation import fresh_seeds

        seeds = fresh_seeds(None, {config.seed for config in self.configs.values()})
        return searched_again(self, "--confirm", "3", "--seeds", ",".join(map(str, seeds)))

    def target_is_reached(self) -> bool:
        """Whether the metric's target is reached, so that no further run is needed."""
        with closing(self.job.open()) as queue:
            return target_reached(self.job, queue)


def searched_again(study: Study, *flags: str) -> str:
    """The user's command for a study, with further flags."""
    given, usual = study.given, {"runs_dir": "runs", "seed": 0}
    words = ["resnet-lab", "sweep", str(given.file), *flags]
    for name in ("runs_dir", "study", "seed", "data_dir", "storage"):
        value = getattr(given, name)
        if value is not None and value != usual.get(name):
            shown = without_secrets(value) if name == "storage" else str(value)
            words += [f"--{name.replace('_', '-')}", shown]
    words += ["--smoke"] if given.smoke else []
    return shlex.join([*words, *(["--", *study.extra] if study.extra else [])])


def _check_end(given: argparse.Namespace, sweep: Sweep) -> None:
    endless = sweep.run_cap is None and given.count is None and given.confirm is None
    if sweep.searches and endless:
        raise UserError(f"{given.file} is a search without an end: give it a run_cap, or --count")


def say(remarks: Sequence[str]) -> None:
    """Print remarks on a sweep to standard error, a line each."""
    print("".join(f"{remark}\n" for remark in remarks), end="", file=sys.stderr)


def _parse(flags: Sequence[str]) -> Config:
    return parse_config(flags, "sweep")


def _parse_points(
    sweep: Sweep, fixed: FixedFlags, added: Sequence[str], smoke: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, Config], dict[str, RunDirectory]]:
    """Slot -> flags, configuration and place of a grid's points; of a search, its extremes."""
    if sweep.searches:
        ends = [(one, _parse([*fixed.around(one), *added])) for one in sweep.corners()]
        say(check_varied(sweep, ends, _parse, fixed, smoke))
        return {}, {f"corner {i}": config for i, (_, config) in enumerate(ends)}, {}
    runs = [(flags, _parse([*fixed.around(flags), *added])) for flags in sweep.points()]
    say(check_varied(sweep, runs, _parse, fixed, smoke))
    return by_identity(runs)


def by_identity(
    runs: Sequence[tuple[list[str], Config]],
) -> tuple[dict[str, list[str]], dict[str, Config], dict[str, RunDirectory]]:
    """Slot -> flags, configuration and place of a grid's points; equal points are one."""
    points: dict[str, list[str]] = {}
    configs: dict[str, Config] = {}
    places: dict[str, RunDirectory] = {}
    fingerprints: dict[object, dict[str, Any]] = {}
    code = replaced_code()
    for flags, config in runs:
        data = (config.data.name, config.data.test, config.data_dir)
        if data not in fingerprints:  # once a dataset, as it may have a million files
            fingerprints[data] = config.fingerprint()
        own = code | foreign_parts(config)
        place = RunDirectory.of(config, identify(config, fingerprints[data], own))
        points.setdefault(place.id, flags)
        configs.setdefault(place.id, config)
        places.setdefault(place.id, place)
    return points, configs, places


def _added_flags(given: argparse.Namespace, name: str, extra: Sequence[str]) -> tuple[str, ...]:
    places = [f"--runs-dir={given.runs_dir}", f"--study={name}"]
    places += [f"--data-dir={given.data_dir}"] if given.data_dir else []
    return (*(SMOKE if given.smoke else ()), *extra, *places)


def _fixed_flags(given: argparse.Namespace, sweep: Sweep) -> FixedFlags:
    """The fixed flags of the file's command; none if W&B's agents run an unknown command."""
    try:
        fixed = read_command(sweep.content)
    except UserError as error:
        if given.engine == "wandb":
            return FixedFlags()
        raise UserError(f"{given.file}: {error}") from error
    return FixedFlags(tuple(as_typed(fixed.before)), tuple(as_typed(fixed.after)))


def _settings(flags: Sequence[str], config: Config) -> dict[str, str]:
    """A point's flags as shown in dashboards."""
    pairs = (flag.removeprefix("--").partition("=") for flag in flags_as_read(flags, config))
    return {name: value for name, _, value in pairs}
