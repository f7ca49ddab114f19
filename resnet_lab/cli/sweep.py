"""resnet-lab sweep"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import Parser
from resnet_lab.errors import UserError
from resnet_lab.files import user_path, with_home
from resnet_lab.training.interruption import Interruption
from resnet_lab.training.processes import stand_alone

if TYPE_CHECKING:
    from resnet_lab.cli.study import Study
    from resnet_lab.sweeps.space import Sweep

LIMITS = (
    ("workers", 1, 1_000),
    ("retries", 0, 1_000),
    ("count", 0, 10_000),
    ("seed", 0, 2**63 - 1),
    ("heartbeat", 1, 86_400),
)
"""Flag, least and largest number."""


def run(arguments: Sequence[str]) -> int:
    """Train all runs of a sweep file; 1 if one failed or the sweep was interrupted."""
    with Interruption(at_once=True):  # as long as nothing is trained
        given, study = _read(arguments)
        if given.dry_run:
            print("\n".join(study.plan()))
            return 0
    stand_alone()
    with Interruption():
        return _run_on_wandb(given, study) if given.engine == "wandb" else study.run()


def _read(arguments: Sequence[str]) -> tuple[argparse.Namespace, Study]:
    """What the command line and the file say."""
    own, extra = _split(arguments)
    given = sweep_parser().parse_args(own)
    _check(given)
    from resnet_lab.cli.study import Study
    from resnet_lab.cli.train import train_illustrated
    from resnet_lab.sweeps.space import read_sweep

    given.runs_dir = with_home(given.runs_dir)
    sweep = read_sweep(user_path(given.file))
    sweep = replace(sweep, **_smoke_sweep(sweep)) if given.smoke else sweep
    study = Study.of(given, sweep, extra, train_illustrated)
    if sweep.content.get("scheduler") is not None and given.engine == "local":
        print("the file's scheduler is W&B's: the local engine needs none", file=sys.stderr)
    return given, study


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


def _smoke_sweep(sweep: Sweep) -> dict[str, Any]:
    """What --smoke changes of the sweep itself: a search has two runs, and stops none of them."""
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


def _run_on_wandb(given: argparse.Namespace, study: Study) -> int:
    """Let W&B hand out the runs to agents of this machine."""
    for name in ("storage", "devices"):
        if getattr(given, name):
            raise UserError(
                f"--{name} is the local engine's: W&B keeps the study, and its agents "
                "use the GPUs that they see (CUDA_VISIBLE_DEVICES)"
            )
    from resnet_lab.sweeps.agents import run_agents

    result = run_agents(
        study.sweep.content,
        workers=given.workers,
        count=given.count,
        flags=study.work.extra,
        study=study.work.folder,
    )
    print(f"{result.finished} runs finished in the sweep {result.sweep}")
    for name, state in result.failed:
        print(f"{state}: {name}")
    if result.interrupted:
        print("interrupted: the same command continues")
    return int(bool(result.failed) or result.interrupted)
