"""resnet-lab sweep"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.resume import outcome_lines, resume
from resnet_lab.cli.terminal import printable
from resnet_lab.configuration.config import WandbConfig
from resnet_lab.errors import UserError
from resnet_lab.files import user_path, with_home
from resnet_lab.sweeps.fixed_flags import value_given
from resnet_lab.tracking.agent import not_tracked
from resnet_lab.training.interruption import Interruption
from resnet_lab.training.launchers import stand_alone

if TYPE_CHECKING:
    from resnet_lab.cli.study import Study
    from resnet_lab.sweeps.sweep import Sweep

LIMITS = (
    ("workers", 1, 1_000),
    ("retries", 0, 1_000),
    ("count", 0, 10_000),
    ("seed", 0, 2**63 - 1),
    ("confirm", 1, 1_000),
    ("heartbeat", 1, 86_400),
)
"""Flag, least and largest number."""


def run(arguments: Sequence[str]) -> int:
    """Train all runs of a sweep file; 1 if one failed or the sweep was interrupted."""
    with Interruption(at_once=True):  # while nothing is trained yet
        work = _prepared(arguments)
        if work is None:
            return 0
    stand_alone()
    with Interruption():
        return work()


def _prepared(arguments: Sequence[str]) -> Callable[[], int] | None:
    """Prepare the command as a function to call; None if nothing is left to do."""
    own, extra = _split(arguments)
    parser = sweep_parser()
    given = parser.parse_args(own)
    _check(given)
    if given.resume == "":  # a common attempt to resume a FILE
        parser.refuse("--resume")
    if given.resume is not None:
        return partial(resume, given, extra, parser.parse_args([]))
    if given.file is None:
        parser.error("the following arguments are required: FILE")
    from resnet_lab.cli.confirmation import confirm, read_seeds
    from resnet_lab.cli.study import Study, say
    from resnet_lab.cli.train import train_illustrated
    from resnet_lab.sweeps.sweep_file import read_sweep

    given.seeds = read_seeds(given.seeds)
    given.runs_dir = with_home(given.runs_dir)
    sweep = read_sweep(user_path(given.file))
    say(sweep.remarks)
    sweep = replace(sweep, **_smoke_sweep(sweep)) if given.smoke else sweep
    study = Study.of(given, sweep, extra, train_illustrated)
    if given.confirm is not None:
        return partial(confirm, study)
    if sweep.content.get("scheduler") is not None and given.engine == "local":
        print("the file's scheduler is W&B's: the local engine needs none", file=sys.stderr)
    if given.engine == "local":
        _say_what_is_not_tracked(study)
    if given.dry_run:
        print("\n".join(study.plan()))
        return None
    return partial(_train_all, given, study)


def _train_all(given: argparse.Namespace, study: Study) -> int:
    """Train the remaining runs, and print what to do next."""
    code = _run_on_wandb(given, study) if given.engine == "wandb" else study.run()
    if code == 0 and not study.sweep.searches:
        print(printable("\n".join(_ending(study, smoke=given.smoke))))
    return code


def _ending(study: Study, *, smoke: bool) -> list[str]:
    """The last lines of a grid: verdicts on its pairs, and what to do next."""
    if smoke:
        return ["next: the same command without --smoke"]
    finished = [place.is_finished() for place in study.places.values()]
    rest, folder = finished.count(False), study.job.folder
    others = f"the other {rest} run{'s' * (rest > 1)}, and then " if rest else ""
    report = f"next: {others}resnet-lab report {shlex.quote(str(folder))} --out report"
    return [*(_pairs(folder) if any(finished) else []), report]


def _pairs(folder: Path) -> list[str]:
    """The verdict on each pair of the study, or why it has none."""
    from analysis.pairs import pair_lines
    from resnet_lab.runs.frames import load_runs

    try:
        return pair_lines(load_runs(folder), str(folder))
    except UserError as error:  # the runs are trained anyway
        return [f"the runs cannot be compared: {error}"]


def sweep_parser() -> Parser:
    """The parser of this command's flags."""
    parser = Parser(
        "sweep",
        "Train all the runs of a sweep file, skipping what is finished. What follows a lone -- is "
        "given to every run, as to `resnet-lab train`.",
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="such as sweeps/demo_digits.yaml")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="SWEEP",
        help="ENTITY/PROJECT/ID of a W&B sweep in the place of FILE: train its points that have "
        "no finished run",
    )
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
    parser.add_argument(
        "--confirm",
        type=int,
        metavar="K",
        help="train the best K of a finished search again (of each network), with other seeds",
    )
    parser.add_argument("--seeds", help="of --confirm, such as 1,2,3; default: three fresh ones")
    parser.add_argument("--heartbeat", type=int, default=30, help=argparse.SUPPRESS)
    parser.add_argument("--runs-dir", default="runs", help="default: runs")
    parser.add_argument("--study", help="folder below runs-dir; default: the sweep's name")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument(
        "--smoke", action="store_true", help="train 10 iterations a run, to see that all works"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and train nothing")
    return parser


def _smoke_sweep(sweep: Sweep) -> dict[str, Any]:
    """Changes of --smoke to the sweep itself: a search has two runs and stops none early."""
    return {"early_terminate": None, "run_cap": 2 if sweep.searches else sweep.run_cap}


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    given = list(arguments)
    place = given.index("--") if "--" in given else len(given)
    return given[:place], given[place + 1 :]


def _check(given: argparse.Namespace) -> None:
    for name, least, most in LIMITS:
        value = getattr(given, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}: give {least} or more")
        if value is not None and value > most:
            raise UserError(f"--{name} is {value}: give {most:,} or less")
    if given.seeds is not None and given.confirm is None:
        raise UserError(
            "--seeds belongs to --confirm: give --confirm 3 too, or --seed for a search's draws; "
            "the seeds of runs are the parameter 'seed' of the file"
        )
    if given.confirm is not None and given.engine == "wandb":
        raise UserError(
            "--confirm is the local engine's: it needs the search's storage, which W&B keeps"
        )


def _run_on_wandb(given: argparse.Namespace, study: Study) -> int:
    """Let W&B hand out the runs to agents of this machine."""
    for name in ("storage", "devices"):
        if getattr(given, name):
            raise UserError(
                f"--{name} is the local engine's: W&B keeps the study, and its agents "
                "use the GPUs that they see (CUDA_VISIBLE_DEVICES)"
            )
    from resnet_lab.sweeps.wandb_agents import run_agents

    study.check_data()
    result = run_agents(
        study.sweep.content,
        workers=given.workers,
        count=given.count,
        flags=study.job.extra,
        study=study.job.folder,
        place=_place(study),
    )
    print("\n".join(outcome_lines(result)))
    return result.exit_code


def _place(study: Study) -> dict[str, str]:
    """Entity and project in the runs' configuration, in which the W&B sweep is created."""
    found = {}
    for name in ("entity", "project"):
        given = {str(getattr(one.wandb, name)) for one in study.configs.values()}
        given -= {str(getattr(WandbConfig(), name))}
        said = value_given(study.job.extra, f"wandb.{name}")
        if said is None and len(given) > 1:
            raise UserError(f"wandb.{name} is {' and '.join(sorted(given))}: a sweep has one")
        if said is not None or given:
            found[name] = said or given.pop()
    return found


def _say_what_is_not_tracked(study: Study) -> None:
    for told in {not_tracked(config) for config in study.configs.values()} - {None}:
        print(f"resnet-lab: {told}; give it after --", file=sys.stderr)
