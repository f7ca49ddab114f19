"""resnet-lab sweep"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import Parser, parse_config
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from resnet_lab.sweeps.queue import Queue, Slot
    from resnet_lab.sweeps.space import Sweep
    from resnet_lab.sweeps.worker import Work
    from resnet_lab.training.config import Config
    from resnet_lab.training.logbook import Judge

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


def run(arguments: Sequence[str]) -> int:
    """Train all runs of a sweep file; 1 if one failed or the sweep was interrupted."""
    own, extra = _split(arguments)
    given = sweep_parser().parse_args(own)
    _check(given)
    from resnet_lab.sweeps.space import read_sweep

    sweep = read_sweep(Path(given.file))
    sweep = replace(sweep, **_smoke_sweep(sweep)) if given.smoke else sweep
    if given.engine == "wandb":
        return _run_on_wandb(given, sweep, extra)
    study = _Study.of(given, sweep, extra)
    if given.dry_run:
        print("\n".join(study.plan()))
        return 0
    return study.run()


def sweep_parser() -> Parser:
    """The parser of this command's flags."""
    parser = Parser(
        "sweep",
        "Train all the runs of a sweep file, skipping what is finished. What follows a lone -- is "
        "given to every run, as to `resnet-lab train`.",
    )
    parser.add_argument("file", metavar="FILE", help="such as sweeps/demo_digits.yaml")
    parser.add_argument(
        "--engine", choices=("local", "wandb"), default="local", help="default: local, on Optuna"
    )
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time; default: 1")
    parser.add_argument("--devices", help="GPUs dealt out to the workers, such as 0,1,2,3")
    parser.add_argument("--count", type=int, help="train at most this many runs now")
    parser.add_argument("--retries", type=int, default=0, help="of a run that raises; default: 0")
    parser.add_argument(
        "--storage",
        help="postgresql://... or a path ending in .journal, shared by machines; "
        "default: $RESNET_LAB_STORAGE, else a journal file in the study's folder",
    )
    parser.add_argument("--seed", type=int, default=0, help="of a search; default: 0")
    parser.add_argument("--heartbeat", type=int, default=30, help=argparse.SUPPRESS)
    parser.add_argument("--runs-dir", default="runs", help="default: runs")
    parser.add_argument("--study", help="folder below runs-dir; default: the sweep's name")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument(
        "--smoke", action="store_true", help="train 10 iterations a run, to see that all works"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and train nothing")
    return parser


def train_one(config: Config, judge: Judge) -> Path:
    """Train a run of a sweep in this process, as `resnet-lab train` would."""
    from resnet_lab.training.train import train

    return train(config, judge=judge)


def _smoke_sweep(sweep: Sweep) -> dict[str, Any]:
    """What --smoke changes of the sweep itself: a search has two runs, and stops none of them."""
    return {"early_terminate": None, "run_cap": 2 if sweep.searches else sweep.run_cap}


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    given = list(arguments)
    place = given.index("--") if "--" in given else len(given)
    return given[:place], given[place + 1 :]


def _check(given: argparse.Namespace) -> None:
    for name, least in (("workers", 1), ("retries", 0), ("count", 0), ("heartbeat", 1)):
        value = getattr(given, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}: give {least} or more")


@dataclass(frozen=True)
class _Study:
    """A sweep's runs, with where and how they are to be trained.

    Attributes:
        given: what the command line says.
        work: for the workers.
        configs: of a grid: slot -> configuration. Of a search: "each" -> what a run is like.
    """

    given: argparse.Namespace
    sweep: Sweep
    work: Work
    configs: dict[str, Config]

    @classmethod
    def of(cls, given: argparse.Namespace, sweep: Sweep, extra: Sequence[str]) -> _Study:
        """Parse every run before the first is trained, so that no mistake costs a night."""
        from resnet_lab.sweeps.plan import check_early_termination
        from resnet_lab.sweeps.worker import Work

        added = _added_flags(given, sweep, extra)
        points, configs = _parse_points(sweep, added)
        for config in configs.values():
            check_early_termination(sweep, config)
            if sweep.chooses and config.data.test:
                raise UserError("data.test is true: a search must not read test images")
        study = _study_name(given, sweep)
        work = Work(
            sweep=sweep,
            points=points,
            extra=added,
            parse=parse_config,
            train=train_one,
            study=study,
            folder=Path(given.runs_dir) / study,
            storage=given.storage or os.environ.get("RESNET_LAB_STORAGE"),
            heartbeat=given.heartbeat,
            retries=given.retries,
            seed=given.seed,
        )
        return cls(given, sweep, work, configs)

    def slots(self) -> list[Slot]:
        """What stands in the queue: the points of a grid, or the draws of a search."""
        from resnet_lab.sweeps.queue import Slot

        if not self.sweep.searches:
            return [Slot(key, _settings(flags)) for key, flags in self.work.points.items()]
        if self.sweep.run_cap is None and self.given.count is None:
            raise UserError(
                f"{self.given.file} is a search without an end: give it a run_cap, or --count"
            )
        return [Slot(str(n), {}) for n in range(self.sweep.run_cap or self.given.count)]

    def plan(self) -> list[str]:
        """The lines of --dry-run."""
        from resnet_lab.sweeps.plan import plan_lines

        states = self._states()
        runs = [(states.get(key, "each"), config) for key, config in self.configs.items()]
        return plan_lines(runs if not self.sweep.searches else runs[:1], Counter(states.values()))

    def _states(self) -> dict[str, str]:
        from resnet_lab.runs.directory import RunDirectory

        names = {"COMPLETE": "finished", "PRUNED": "finished", "FAIL": "failed"}
        states = {slot.key: "to do" for slot in self.slots()}
        if self.work.exists():
            with closing(self.work.open()) as queue:
                for key, trial in queue.attempts().items():
                    states[key] = names.get(trial.state.name, trial.state.name.lower())
        for key, config in self.configs.items():
            if key in states and RunDirectory.of(config).is_finished():
                states[key] = "finished"
        return {key: state.replace("waiting", "to do") for key, state in states.items()}

    def _gone(self) -> list[str]:
        """Points that the study has as done but whose directories, which lie here, are not."""
        from resnet_lab.runs.directory import RunDirectory

        if self.work.storage is not None or self.sweep.searches:
            return []
        places = {key: RunDirectory.of(config) for key, config in self.configs.items()}
        return [key for key, place in places.items() if not place.is_finished()]

    def run(self) -> int:
        """Train what remains, and say how it went."""
        from resnet_lab.sweeps.local import print_outcome, run_locally

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
            with closing(self.work.open()) as queue:
                print("\n".join(_best(queue, self.sweep, self.work.folder)))
        return int(bool(result.failed) or result.interrupted)


def _parse_points(
    sweep: Sweep, added: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, Config]]:
    """Slot -> flags and configuration of a grid's points; of a search the extremes are tried."""
    if sweep.searches:
        corners = [parse_config([*corner, *added], "sweep") for corner in sweep.corners()]
        return {}, {f"corner {number}": config for number, config in enumerate(corners)}
    points: dict[str, list[str]] = {}
    configs: dict[str, Config] = {}
    for flags in sweep.points():
        config = parse_config([*flags, *added], "sweep")
        points.setdefault(config.run_id(), flags)
        configs.setdefault(config.run_id(), config)
    return points, configs


def _study_name(given: argparse.Namespace, sweep: Sweep) -> str:
    return str(given.study or sweep.name) + ("-smoke" if given.smoke else "")


def _added_flags(given: argparse.Namespace, sweep: Sweep, extra: Sequence[str]) -> tuple[str, ...]:
    places = [f"--runs-dir={given.runs_dir}", f"--study={_study_name(given, sweep)}"]
    places += [f"--data-dir={given.data_dir}"] if given.data_dir else []
    return (*(SMOKE if given.smoke else ()), *extra, *places)


def _settings(flags: Sequence[str]) -> dict[str, str]:
    """A point's flags as a dashboard shows them."""
    pairs = (flag.removeprefix("--").partition("=") for flag in flags)
    return {name: value for name, _, value in pairs}


def _best(queue: Queue, sweep: Sweep, folder: Path) -> list[str]:
    """What a search has found: the run with the lowest metric at its last step."""
    from resnet_lab.sweeps.queue import FLAGS, RUN
    from resnet_lab.sweeps.verdict import in_words

    done = [t for t in queue.attempts().values() if t.state.name == "COMPLETE"]
    if not done:
        return ["no run has come to its end"]
    best = min(done, key=lambda trial: (trial.value, trial.number))
    run = folder / best.user_attrs[RUN]
    return [
        f"best of {len(done)} that came to their end: "
        f"{in_words(sweep.metric.name, best.value or 0.0)}",
        f"  {best.user_attrs[FLAGS]}",
        f"  {run}",
        f"to measure it on the test images: resnet-lab train --config {run}/config.yaml "
        "--data.test true --seed SEED",
    ]


def _run_on_wandb(given: argparse.Namespace, sweep: Sweep, extra: Sequence[str]) -> int:
    raise UserError("not yet")
