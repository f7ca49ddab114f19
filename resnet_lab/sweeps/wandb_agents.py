"""`--engine wandb`: the W&B server hands out a sweep's points to real `wandb agent` processes.

The client starts each run. This module adds what it lacks: remember a study's sweep, train lost
points again (the server hands out each once), start several agents, forward signals to all their
processes, and report the outcome (an agent exits with 0 even if runs failed).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_lab.environment import variables_kept
from resnet_lab.errors import UserError
from resnet_lab.files import write_json
from resnet_lab.runs.directory import read_info
from resnet_lab.sweeps.parent_death import command_here, module_command
from resnet_lab.sweeps.wandb_points import UNSAID, HandedOut, Point, handed_out
from resnet_lab.tracking.agent import PLACE
from resnet_lab.tracking.link import is_cut_off
from resnet_lab.tracking.outcome import DIVERGED, diverged
from resnet_lab.tracking.session import connect
from resnet_lab.training.interruption import Interruption

MEMORY = "wandb_sweep.json"
LOGS = "logs"
COMMAND = ("resnet-lab", "train", "--tracking=wandb", "${args}")
PATIENCE = "600"
"""Seconds that a run has to end cleanly once W&B stops it: it may be evaluating."""
MOMENT = 0.1
"""Seconds between two checks for ended processes and signals."""

Job = tuple[Sequence[str], Mapping[str, str]]
"""A command, and variables of its environment."""


@dataclass(frozen=True)
class AgentsOutcome:
    """Outcome of a W&B sweep when this machine's agents have ended.

    Attributes:
        sweep: entity/project/id.
        finished: number of finished runs of the sweep, on any machine.
        failed: (name, state in W&B) of runs that failed, crashed or were killed.
        interrupted: whether this machine was stopped before the end of the sweep.
        diverged: how many finished runs have a network that diverged.
        reasons: why runs failed, by name.
    """

    sweep: str
    finished: int
    failed: tuple[tuple[str, str], ...]
    interrupted: bool = False
    diverged: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed or was interrupted."""
        return int(bool(self.failed) or self.interrupted)


def run_agents(
    content: Mapping[str, Any],
    *,
    workers: int,
    count: int | None,
    flags: Sequence[str],
    study: Path,
    place: Mapping[str, str] | None = None,
) -> AgentsOutcome:
    """Create a sweep, or resume the one that the study remembers, and train its runs.

    Points whose run failed, died or was killed here are trained first. Output of the processes
    goes to logs/ in the study.

    Args:
        content: of the sweep file.
        workers: agents at the same time.
        count: most runs to train now; None: all that the server hands out.
        flags: of `resnet-lab train`, for every run.
        study: folder of the runs; wandb_sweep.json there remembers the sweep.
        place: entity and project of a new sweep, if the file names none.

    Raises:
        UserError: W&B cannot be used, or refuses the sweep.
    """
    _check(workers, count)
    study.mkdir(parents=True, exist_ok=True)
    command = [*(content.get("command") or COMMAND), *flags]
    with Interruption() as interruption:  # a sweep that is created is remembered
        memory = _recall(study, {**content, **(place or {}), "command": command})
        sweep, stopped = memory["sweep"], set(memory["stopped"])
        if content.get("scheduler") is not None:
            way = shlex.join(["wandb", "sweep-scheduler", sweep])
            print(f"W&B: the sweep draws no run without its scheduler: {way}", file=sys.stderr)
        handed = handed_out(sweep)
        again = _points_again(handed, study, stopped)[:count]
        there = _interrupted(study) - {point.run for point in again}

        def note_stopped() -> None:  # interrupted on purpose, not by this command
            stopped.update(_interrupted(study) - there)

        crew = _Crew(study, interruption, note_stopped)
        crew.work({point.run: _train(point, handed, study) for point in again}, workers)
        left = None if count is None else count - len(again)
        agents = [_agent(sweep, share) for share in _shares(left, workers)]
        died = crew.work({f"agent-{i}": agent for i, agent in enumerate(agents, 1)}, workers)
        if not (crew.told or died):
            note_stopped()
        write_json(study / MEMORY, {**memory, "stopped": sorted(stopped)})
        cut_short = _interrupted(study) - stopped
        unfinished = any(point.run in cut_short for point in again)
        ended = interruption.requested or bool(died) or unfinished
        return _outcome(sweep, study, cut_short, interrupted=ended)


def resume_points(
    handed: HandedOut, *, workers: int, count: int | None, flags: Sequence[str], study: Path
) -> AgentsOutcome:
    """Train the points of a sweep that have no finished run, each in its own W&B run.

    Args:
        handed: the sweep on the server.
        workers: runs at the same time.
        count: most points to train; None: all.
        flags: of `resnet-lab train`, for every run; they override the sweep's.
        study: folder whose logs/ gets the processes' output.

    Raises:
        UserError: W&B cannot be used, or has another command than that of this project.
    """
    _check(workers, count)
    study.mkdir(parents=True, exist_ok=True)
    there: set[str] = set()
    with Interruption() as interruption:
        crew = _Crew(study, interruption, lambda: there.update(_interrupted(study)))
        chosen = handed.to_train()[:count]
        crew.work({one.run: _train(one, handed, study, flags) for one in chosen}, workers)
        cut_short = _interrupted(study) - there if crew.told else set()
        return _outcome(handed.sweep, study, cut_short, interrupted=interruption.requested)


def check_online() -> None:
    """Raise UserError unless W&B can be used online."""
    mode = connect()
    if mode != "online":
        raise UserError(f"a W&B sweep needs the server, but W&B is {mode}: unset WANDB_MODE")


def _check(workers: int, count: int | None) -> None:
    if workers < 1:
        raise UserError(f"workers is {workers}: give 1 or more")
    if count is not None and count < 0:
        raise UserError(f"count is {count}: give 0 or more")
    check_online()


# The sweep


def _recall(study: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Read the study's record of the sweep with this content, or make a new one.

    "stopped" holds W&B runs that were interrupted on purpose and must not be continued. Files of
    earlier versions name the run directories to continue ("waiting") or, after a killed command,
    those not to continue ("at_rest").
    """
    file, content = study / MEMORY, json.loads(json.dumps(content))
    if file.exists():
        try:
            memory: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if memory["content"] == content:
                return memory if "stopped" in memory else {**memory, "stopped": _old(study, memory)}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): delete it for a new sweep"
            ) from error
    memory = {"sweep": _create(content), "content": content, "stopped": []}
    write_json(file, memory)
    return memory


def _old(study: Path, memory: Mapping[str, Any]) -> list[str]:
    names = {run: folder.name for run, (folder, _) in _runs(study).items()}
    rest = memory.get("at_rest", set(names.values()).difference(memory["waiting"]))
    return [run for run in _interrupted(study) if names[run] in rest]


def _create(content: Mapping[str, Any]) -> str:
    """Create a sweep; returns entity/project/id."""
    import wandb

    entity, project = (os.environ.get(name) for name in PLACE)
    project = content.get("project") or project or "resnet_lab"
    with variables_kept(PLACE), contextlib.redirect_stdout(sys.stderr):
        try:
            sweep = wandb.sweep(
                dict(content), entity=content.get("entity") or entity, project=project
            )
        except (wandb.Error, ValueError) as error:
            raise UserError(f"W&B refuses the sweep: {error}") from error
        return "/".join([*(os.environ[name] for name in PLACE), sweep])


# Its runs in the study's folder


def _runs(study: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """W&B run -> (folder, contents of run.json) of each tracked run of the study."""
    found = {}
    for file in sorted(study.glob("*/run.json")):
        with contextlib.suppress(UserError, TypeError, KeyError):
            info = read_info(file.parent)
            found[str(info["tracking"]["id"])] = file.parent, {"status": None, **info}
    return found


def _interrupted(study: Path) -> set[str]:
    return {run for run, (_, info) in _runs(study).items() if info["status"] == "interrupted"}


def _points_again(handed: HandedOut, study: Path, stopped: set[str]) -> list[Point]:
    """Points to train before the server is asked for more: lost, killed, or cut off here."""
    here = _runs(study)

    def is_left(point: Point) -> bool:
        _, info = here.get(point.run, (None, {"status": None}))
        if info["status"] == "running":
            return is_cut_off(info)
        cut_off = info["status"] == "interrupted" and point.run not in stopped
        return point.ended == "lost" or cut_off

    return [one for one in handed.points if one.settings is not None and is_left(one)]


# The work


def _shares(count: int | None, workers: int) -> list[int | None]:
    """Numbers of runs for the agents, as even as possible; agents without any are left out."""
    if count is None:
        return [None] * workers
    return [count // workers + (i < count % workers) for i in range(min(workers, count))]


def _agent(sweep: str, count: int | None) -> Job:
    limit = [] if count is None else [f"--count={count}"]
    return module_command("wandb", "agent", "--forward-signals", *limit, sweep), {}


def _train(point: Point, handed: HandedOut, study: Path, flags: Sequence[str] = ()) -> Job:
    """The job that trains a point as an agent would, in its own W&B run."""
    return handed.command(point, flags), handed.environment(point, study / LOGS)


@dataclass
class _Crew:
    """Processes that train the sweep; an interruption of this process is forwarded to them.

    Attributes:
        study: folder whose logs/ gets their output.
        interruption: of this process.
        when_interrupted: called before the interruption is forwarded.
        told: whether it was forwarded.
    """

    study: Path
    interruption: Interruption
    when_interrupted: Callable[[], None]
    told: bool = False

    def work(self, jobs: Mapping[str, Job], workers: int) -> list[str]:
        """Run jobs, `workers` at a time; each writes to a log named by its key.

        Returns:
            The keys of jobs that ended by themselves with an error, or were killed.
        """
        waiting, failed = list(jobs), []
        alive: dict[str, subprocess.Popen[bytes]] = {}
        while alive or (waiting and not self.interruption.requested):
            try:
                while waiting and len(alive) < workers and not self.interruption.requested:
                    name = waiting.pop(0)
                    alive[name] = self._start(name, *jobs[name])
                time.sleep(MOMENT)
                if self.interruption.requested and not self.told:
                    self.told = True
                    self.when_interrupted()
                    _interrupt(alive.values())
            except KeyboardInterrupt:  # Ctrl-C once more
                _interrupt(alive.values())
            for name in [name for name, process in alive.items() if process.poll() is not None]:
                code = alive.pop(name).returncode
                if code and not self.interruption.requested:
                    failed.append(name)
                    log = self.study / LOGS / f"{name}.log"
                    print(f"{name} ended with code {code}: see {log}", file=sys.stderr, flush=True)
        return failed

    def _start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        log = self.study / LOGS / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        print(f"{name}: see {log}", file=sys.stderr, flush=True)
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                env={**_environment(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that Ctrl-C reaches it once, from here
            )


def _interrupt(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)


def _environment() -> dict[str, str]:
    """Environment of the agents: this process's, without its W&B run, with this installation."""
    ours = {"WANDB_SERVICE", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    agent = {"WANDB_AGENT_KILL_DELAY": PATIENCE, "WANDB_AGENT_DISABLE_FLAPPING": "true"}
    return {**agent, **inherited, "PATH": path, **command_here(signal.SIGTERM)}


def _outcome(
    sweep: str, study: Path, cut_short: Container[str], *, interrupted: bool
) -> AgentsOutcome:
    """Outcome of all runs on the server, and of runs that died here without reporting."""
    here = _runs(study)
    finished, failed, lost, reasons = 0, [], 0, {}
    for point in handed_out(sweep).points:
        folder, info = here.get(point.run, (Path(point.name), None))
        done = info is not None and info["status"] == "finished"
        if point.is_done or point.state == "finished" or (done and point.state == "failed"):
            finished += point.run not in cut_short
            lost += point.ended == DIVERGED or (info is not None and bool(diverged(info)))
        elif point.ended == "lost":
            failed.append((folder.name, point.state))
            reasons[folder.name] = point.reason
        elif info is not None and is_cut_off(info):
            failed.append((folder.name, "killed"))
            reasons[folder.name] = UNSAID["killed"]
    return AgentsOutcome(sweep, finished, tuple(failed), interrupted, lost, reasons)
