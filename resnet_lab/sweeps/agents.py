"""A sweep in the hands of the W&B server: this machine's agents ask it for run after run."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from resnet_lab.environment import variables_kept
from resnet_lab.errors import UserError
from resnet_lab.files import write_json
from resnet_lab.runs.directory import read_info
from resnet_lab.sweeps.parent_death import command_here, module_command
from resnet_lab.sweeps.points import UNSAID, HandedOut, Point, command, environment, handed_out
from resnet_lab.tracking.claim import is_cut_off
from resnet_lab.tracking.outcome import DIVERGED, diverged
from resnet_lab.tracking.session import connect
from resnet_lab.training.interruption import (
    Interruption,
    heeded_signals,
    interruption_requested,
)

MEMORY = "wandb_sweep.json"
LOGS = "logs"
AGENT = "agent-"
AT_REST = "at_rest"
"""In the memory while a command is at work: runs that were interrupted before, on purpose."""
COMMAND = ("resnet-lab", "train", "--tracking=wandb", "${args}")
PLACE = ("WANDB_ENTITY", "WANDB_PROJECT")
PATIENCE = "600"
"""Seconds that a run has to end cleanly once W&B stops it: it may be in the midst of evaluating."""


@dataclass(frozen=True)
class AgentsOutcome:
    """How a W&B sweep stands when this machine's agents have ended.

    Attributes:
        sweep: entity/project/id.
        finished: runs of the sweep that are done, wherever they were trained.
        failed: (name, state in W&B) of runs that failed, crashed or were killed.
        interrupted: whether this machine was stopped before the end of the sweep.
        diverged: how many of those finished have a network that diverged.
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
        """0 if nothing failed and nobody interrupted it."""
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
    """Create a sweep, or go on with the one that the study remembers, and work on it.

    Runs of the study that were cut off here, or failed, are continued first, and points whose run
    failed before it had a directory are trained: the server does not hand out a point twice. What
    the processes print goes to logs/ in the study.

    Args:
        content: of the sweep file.
        workers: agents at the same time.
        count: train at most this many runs now; None: all that the server hands out.
        flags: of `resnet-lab train`, for every run.
        study: folder of the runs; wandb_sweep.json there remembers the sweep.
        place: entity and project of a new sweep, where they are not the file's.

    Raises:
        UserError: W&B cannot be used, or refuses the sweep.
    """
    _check(workers, count)
    study.mkdir(parents=True, exist_ok=True)
    with Interruption():  # a sweep that is created is remembered
        memory = _recall(
            study, _plain({**content, **(place or {}), "command": _command(content, flags)})
        )
    sweep, waiting = memory["sweep"], memory["waiting"]
    if AT_REST in memory:  # the command that wrote it was killed
        waiting = _interrupted(study, waiting, memory.pop(AT_REST))
    if content.get("scheduler") is not None:
        scheduler = shlex.join(["wandb", "sweep-scheduler", sweep])
        print(f"W&B: the sweep draws no run without its scheduler: {scheduler}", file=sys.stderr)
    again = {at.name: _continue(at) for at in _to_be_continued(study, sweep, waiting)}
    again = dict(list((again | _lost(sweep, study)).items())[:count])
    left = None if count is None else count - len(again)
    with _Crew(study) as crew:
        at_rest = [name for name in _names(study, "interrupted") if name not in waiting]
        write_json(study / MEMORY, {**memory, "waiting": waiting, AT_REST: at_rest})
        crew.work(again, workers)
        agents = [_agent(sweep, share) for share in _shares(left, workers)]
        crew.work({f"{AGENT}{i}": agent for i, agent in enumerate(agents, start=1)}, workers)
        cut_short = _interrupted(study, waiting, crew.at_rest)
        write_json(study / MEMORY, {**memory, "waiting": cut_short})
        unfinished = any(name in cut_short for name in again)
        stopped = bool(crew.signals) or crew.agents_died or unfinished
        return _outcome(sweep, study, cut_short, interrupted=stopped)


def resume_points(
    handed: HandedOut, *, workers: int, count: int | None, flags: Sequence[str], study: Path
) -> AgentsOutcome:
    """Train the points of a sweep that have no finished run, each in its own W&B run.

    Args:
        handed: the sweep, as the server has it.
        workers: runs at the same time.
        count: train at most this many; None: all.
        flags: of `resnet-lab train`, for every run, stronger than the sweep's.
        study: folder whose logs/ gets what the processes print.

    Raises:
        UserError: W&B cannot be used, or has another command than that of this project.
    """
    _check(workers, count)
    study.mkdir(parents=True, exist_ok=True)
    chosen = handed.to_train()[:count]
    with _Crew(study) as crew:
        crew.work({one.run: _train(one, handed, flags, study) for one in chosen}, workers)
    cut_short = _interrupted(study, (), crew.at_rest)
    return _outcome(handed.sweep, study, cut_short, interrupted=bool(crew.signals))


def check_online() -> None:
    """Raise UserError unless W&B can be used, and over the network."""
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


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, so that what is remembered can be compared."""
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def _recall(study: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What is remembered of the sweep with this content; else a new one."""
    file = study / MEMORY
    if file.exists():
        try:
            memory: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if memory["content"] == content:
                return memory
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): delete it for a new sweep"
            ) from error
    memory = {"sweep": _create(content), "content": content, "waiting": []}
    write_json(file, memory)
    return memory


def _create(content: dict[str, Any]) -> str:
    """Create a sweep; returns entity/project/id."""
    import wandb

    entity, project = (os.environ.get(name) for name in PLACE)
    project = content.get("project") or project or "resnet_lab"
    with variables_kept(PLACE), contextlib.redirect_stdout(sys.stderr):
        try:
            sweep = wandb.sweep(content, entity=content.get("entity") or entity, project=project)
        except (wandb.Error, ValueError) as error:
            raise UserError(f"W&B refuses the sweep: {error}") from error
        return "/".join([*(os.environ[name] for name in PLACE), sweep])


def _command(content: Mapping[str, Any], flags: Sequence[str]) -> list[str]:
    """The command of each run, with flags after those of the sweep's point: the later win."""
    return [*(content.get("command") or COMMAND), *flags]


# The work


def _shares(count: int | None, workers: int) -> list[int | None]:
    """Runs of each agent, as even as can be; agents without any are left out."""
    if count is None:
        return [None] * workers
    return [count // workers + (i < count % workers) for i in range(min(workers, count))]


def _agent(sweep: str, count: int | None) -> list[str]:
    limit = [] if count is None else [f"--count={count}"]
    return module_command("wandb", "agent", "--forward-signals", *limit, sweep)


def _continue(folder: Path) -> list[str]:
    """Train a run to its end, in its own W&B run, without an agent."""
    return [sys.executable, "-m", "resnet_lab", "train", f"--config={folder / 'config.yaml'}"]


def _train(point: Point, handed: HandedOut, flags: Sequence[str], study: Path) -> list[str]:
    """Train a point as an agent would, in the W&B run that it has."""
    told = environment(point, handed.sweep, study / LOGS)
    return ["env", *told, *command(point, handed.content), *flags]


def _lost(sweep: str, study: Path) -> dict[str, list[str]]:
    """Commands, by name, for points that failed or died before they had a directory here."""
    here = {
        (info.get("tracking") or {}).get("id")
        for _, info in _runs(study)
        if info["status"] != "finished"  # which the server was not told, and is to hear now
    }
    handed = handed_out(sweep)
    return {
        point.run: _train(point, handed, (), study)
        for point in handed.to_train()
        if point.ended == "lost" and point.run not in here
    }


def _runs(study: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(folder, contents of run.json) of each run of the study that can be read."""
    for file in sorted(study.glob("*/run.json")):
        with contextlib.suppress(UserError):
            info = read_info(file.parent)
            told = info.get("status"), info.get("tracking")
            if isinstance(told[0], str) and isinstance(told[1], dict | None):
                yield file.parent, info


def _interrupted(
    study: Path, waiting: Collection[str], at_rest: Collection[str] | None
) -> list[str]:
    """The runs that wait to be continued: those from before, and those that were cut short now.

    Args:
        at_rest: runs that were interrupted already when the first signal came, or, where an agent
            died, whose run may be about to end, when this command began; None: neither was so.
    """
    cut = _names(study, "interrupted", "running") if at_rest is not None else []
    now = [name for name in cut if name not in (at_rest or ())]
    return sorted({*now, *(name for name in _names(study, "interrupted") if name in waiting)})


def _names(study: Path, *states: str) -> list[str]:
    return [at.name for at, info in _runs(study) if info["status"] in states]


def _to_be_continued(study: Path, sweep: str, waiting: Collection[str]) -> Iterator[Path]:
    """Runs of this sweep that failed, were killed here, or were interrupted together with it.

    Others that were interrupted were stopped on purpose, in W&B.
    """
    for folder, info in _runs(study):
        if (info.get("tracking") or {}).get("sweep") == sweep.split("/")[-1] and (
            info["status"] == "failed"
            or is_cut_off(info)
            or (info["status"] == "interrupted" and folder.name in waiting)
        ):
            yield folder


@dataclass
class _Crew:
    """Processes that work on the sweep; signals to this one go to all of them.

    Attributes:
        signals: those that came.
        at_rest: names of the runs that were interrupted already when the first one came; see
            `_interrupted`.
        agents_died: whether one ended by itself with an error, or was killed.
    """

    study: Path
    signals: list[int] = field(default_factory=list)
    at_rest: Collection[str] | None = None
    agents_died: bool = False
    _interrupted_before: Collection[str] = ()
    _alive: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _handlers: dict[int, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> _Crew:
        self._interrupted_before = _names(self.study, "interrupted")
        for number in heeded_signals():
            with contextlib.suppress(ValueError):  # not the main thread: no signals come here
                self._handlers[number] = signal.signal(number, self._forward)
        if interruption_requested():
            self._note(signal.SIGINT)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def work(self, commands: Mapping[str, Sequence[str]], workers: int) -> None:
        """Run commands, `workers` at a time; each writes to a log named by its key."""
        if commands:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(self._run, commands, commands.values()))

    def _run(self, name: str, command: Sequence[str]) -> None:
        log = self.study / LOGS / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            with self._lock:
                if self.signals:
                    return
                print(f"{name}: see {log}", file=sys.stderr, flush=True)
                process = subprocess.Popen(
                    command,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C comes from here alone, and so once
                )
                self._alive.append(process)
            code = process.wait()
        with self._lock:
            self._alive.remove(process)
        if code and not self.signals:
            if name.startswith(AGENT):
                self.agents_died, self.at_rest = True, self._interrupted_before
            print(f"{name} ended with code {code}: see {log}", file=sys.stderr, flush=True)

    def _note(self, number: int) -> None:
        if self.at_rest is None:
            self.at_rest = _names(self.study, "interrupted")
        self.signals.append(number)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        with self._lock:
            self._note(number)
            for process in self._alive:
                process.send_signal(number)


def _environment() -> dict[str, str]:
    """This process's, such that agents find this installation and are on their own."""
    ours = {"WANDB_SERVICE", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    agent = {"WANDB_AGENT_KILL_DELAY": PATIENCE, "WANDB_AGENT_DISABLE_FLAPPING": "true"}
    return {**agent, **inherited, "PATH": path, **command_here(signal.SIGTERM)}


# The end


def _outcome(
    sweep: str, study: Path, cut_short: Collection[str], *, interrupted: bool
) -> AgentsOutcome:
    """How all runs of the sweep stand on the server, and those that died here without a word."""
    here = {(info.get("tracking") or {}).get("id"): (at.name, info) for at, info in _runs(study)}
    finished, failed, lost, reasons = 0, [], 0, {}
    for point in handed_out(sweep).points:
        name, info = here.get(point.run, (point.name, None))
        done = info is not None and info["status"] == "finished"
        if point.is_done or point.state == "finished" or (done and point.state == "failed"):
            finished += name not in cut_short
            lost += point.ended == DIVERGED or (info is not None and bool(diverged(info)))
        elif point.ended == "lost":
            failed.append((name, point.state))
            reasons[name] = point.reason
        elif info is not None and is_cut_off(info):
            failed.append((name, "killed"))
            reasons[name] = UNSAID["killed"]
    return AgentsOutcome(sweep, finished, tuple(failed), interrupted, lost, reasons)
