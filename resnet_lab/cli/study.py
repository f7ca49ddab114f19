"""The study that `resnet-lab sweep` works on: its runs, where they go, and how they stand."""

from __future__ import annotations

import argparse
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.wandb_flags import as_typed
from resnet_lab.data.fingerprint import fingerprint
from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.sweeps.command import FixedFlags, read_command
from resnet_lab.sweeps.fit import check_choice, check_places
from resnet_lab.sweeps.local import print_outcome, run_locally
from resnet_lab.sweeps.plan import check_early_termination, plan_lines
from resnet_lab.sweeps.queue import FLAGS, RUN, Slot
from resnet_lab.sweeps.space import Sweep
from resnet_lab.sweeps.storage import VARIABLE
from resnet_lab.sweeps.verdict import has_result, in_words
from resnet_lab.sweeps.work import Train, Work, flags_as_read
from resnet_lab.training.config import Config
from resnet_lab.training.identity import identify
from resnet_lab.training.replaced import replaced_code

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
"""What --smoke puts in the place of a recipe: enough to see that everything works."""
STATES = {"COMPLETE": "finished", "PRUNED": "finished", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class Study:
    """A sweep's runs, with where and how they are to be trained.

    Attributes:
        given: what the command line says.
        sweep: the file.
        work: for the workers.
        configs: of a grid: slot -> configuration. Of a search: what its extreme runs are like.
        places: of a grid: slot -> run directory.
    """

    given: argparse.Namespace
    sweep: Sweep
    work: Work
    configs: dict[str, Config]
    places: dict[str, RunDirectory]

    @classmethod
    def of(
        cls, given: argparse.Namespace, sweep: Sweep, extra: Sequence[str], train: Train
    ) -> Study:
        """Parse every run before the first is trained, so that no mistake costs a night.

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
        points, configs, places = _parse_points(sweep, fixed, added)
        for config in configs.values():
            check_early_termination(sweep, config)
            check_choice(sweep, config)
        work = Work(
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
        return cls(given, sweep, work, configs, places)

    def run(self) -> int:
        """Train what remains, say how it went, and return the exit code.

        Raises:
            UserError: data are missing, or the first run cannot begin.
        """
        for key, place in self.places.items():
            if place.data_is_missing() and not place.is_finished():
                fingerprint(self.configs[key].data, self.configs[key].data_dir)
        devices = [one for one in (self.given.devices or "").split(",") if one]
        result = run_locally(
            self.work,
            self.slots(),
            again=self._gone(),
            workers=self.given.workers,
            devices=devices,
            count=self.given.count,
        )
        print_outcome(result)
        if self.sweep.searches:
            print("\n".join(self._best()))
        return result.exit_code

    def slots(self) -> list[Slot]:
        """What stands in the queue: the points of a grid, or the draws of a search."""
        if not self.sweep.searches:
            points = self.work.points.items()
            return [Slot(key, _settings(flags, self.configs[key])) for key, flags in points]
        total = self.sweep.run_cap
        if total is None:
            total = len(self._attempts()) + self.given.count
        return [Slot(str(number), {}) for number in range(total)]

    def plan(self) -> list[str]:
        """The lines of --dry-run."""
        states = self._states()
        runs = [
            (states.get(key, "each"), config, self.places.get(key))
            for key, config in self.configs.items()
        ]
        return plan_lines(runs[:1] if self.sweep.searches else runs, Counter(states.values()))

    def _attempts(self) -> dict[str, FrozenTrial]:
        """The last attempt at each slot; none where the study has not begun."""
        if not self.work.exists():
            return {}
        with closing(self.work.open()) as queue:
            return queue.attempts()

    def _states(self) -> dict[str, str]:
        known = self._states_in_study()
        states = {}
        for slot in self.slots():
            done = slot.key in self.places and self.places[slot.key].is_finished()
            states[slot.key] = "finished" if done else known.get(slot.key, "to do")
        return states

    def _states_in_study(self) -> dict[str, str]:
        """How slots stand that are not to do, as those are whose worker has died."""
        if not self.work.exists():
            return {}
        with closing(self.work.open()) as queue:
            dead = queue.dead()
            return {
                key: STATES[trial.state.name]
                for key, trial in queue.attempts().items()
                if trial.state.name in STATES and trial.number not in dead
            }

    def _gone(self) -> list[str]:
        """Points that the study may have as done but whose directories, which lay here, are gone.

        Where machines share a storage, nobody knows which of them has a directory.
        """
        if self.work.storage is not None or self.sweep.searches:
            return []
        return [key for key, place in self.places.items() if place.read() is None]

    def _best(self) -> list[str]:
        """What a search has found: the run with the lowest metric at its last step."""
        done = [t for t in self._attempts().values() if t.state.name == "COMPLETE"]
        if not done:
            return ["no run has come to its end"]
        sound = [trial for trial in done if has_result(trial)]
        lost = len(done) - len(sound)
        if not sound:
            return [f"no run is recommended: {lost} of {len(done)} that came to their end diverged"]
        best = min(sound, key=lambda trial: (trial.value, trial.number))
        run = self.work.folder / best.user_attrs[RUN]
        beside = f", beside {lost} that diverged" if lost else ""
        return [
            f"best of {len(sound)} that came to their end{beside}: "
            + in_words(self.sweep.metric.name, best.value or 0.0),
            f"  {best.user_attrs[FLAGS]}",
            f"  {run}",
            "to measure it on the test images, with other seeds: " + self._measuring(run),
        ]

    def _measuring(self, run: Path) -> str:
        """The command that trains a run once more, with a seed that the search has not used."""
        seed = 1 + max(config.seed for config in self.configs.values())
        flags = ["--config", f"{run}/config.yaml", "--data.test", "true", "--seed", str(seed)]
        return shlex.join(["resnet-lab", "train", *flags])


def _check_end(given: argparse.Namespace, sweep: Sweep) -> None:
    if sweep.searches and sweep.run_cap is None and given.count is None:
        raise UserError(f"{given.file} is a search without an end: give it a run_cap, or --count")


def _parse_points(
    sweep: Sweep, fixed: FixedFlags, added: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, Config], dict[str, RunDirectory]]:
    """Slot -> flags, configuration and place of a grid's points; of a search, its extremes."""
    if sweep.searches:
        ends = [[*fixed.around(corner), *added] for corner in sweep.corners()]
        return {}, {f"corner {i}": parse_config(one, "sweep") for i, one in enumerate(ends)}, {}
    points: dict[str, list[str]] = {}
    configs: dict[str, Config] = {}
    places: dict[str, RunDirectory] = {}
    fingerprints: dict[object, dict[str, Any]] = {}
    code = replaced_code()
    for flags in sweep.points():
        config = parse_config([*fixed.around(flags), *added], "sweep")
        data = (config.data.name, config.data.test, config.data_dir)
        if data not in fingerprints:  # once a data set, as it may have a million files
            fingerprints[data] = config.fingerprint()
        place = RunDirectory.of(config, identify(config, fingerprints[data], code))
        points.setdefault(place.id, flags)
        configs.setdefault(place.id, config)
        places.setdefault(place.id, place)
    return points, configs, places


def _added_flags(given: argparse.Namespace, name: str, extra: Sequence[str]) -> tuple[str, ...]:
    places = [f"--runs-dir={given.runs_dir}", f"--study={name}"]
    places += [f"--data-dir={given.data_dir}"] if given.data_dir else []
    return (*(SMOKE if given.smoke else ()), *extra, *places)


def _fixed_flags(given: argparse.Namespace, sweep: Sweep) -> FixedFlags:
    """Those of the file's command; none where W&B's agents run one that nothing is known of."""
    try:
        fixed = read_command(sweep.content)
    except UserError as error:
        if given.engine == "wandb":
            return FixedFlags()
        raise UserError(f"{given.file}: {error}") from error
    return FixedFlags(tuple(as_typed(fixed.before)), tuple(as_typed(fixed.after)))


def _settings(flags: Sequence[str], config: Config) -> dict[str, str]:
    """A point's flags as a dashboard shows them."""
    pairs = (flag.removeprefix("--").partition("=") for flag in flags_as_read(flags, config))
    return {name: value for name, _, value in pairs}
