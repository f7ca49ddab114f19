"""Points that a W&B sweep's server has handed out: their states, and training them again.

The server hands each point out once. If a point's run fails before it begins, or dies, no agent
gets it again. This module finds such points, with the reason, to train them in their own W&B runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.tracking.outcome import DIVERGED
from resnet_lab.tracking.wandb_private import agents_command, write_point

if TYPE_CHECKING:
    import wandb

LOST = ("failed", "crashed", "killed", "preempted", "preempting")
"""States in W&B of runs that did not finish; a diverged run also has a key in its summary."""
BEGINNING = timedelta(minutes=5)
"""Longest time from handing a run out to its first report, as in W&B itself."""
UNSAID = {
    "failed": "it ended with an error that it could not send",
    "crashed": "its process ended without a word",
    "killed": "it was killed",
    "pending": "it was handed out and has not begun: its process could not start, perhaps",
    "running": "it is being trained",
}
"""Default reasons, by the run's state."""


@dataclass(frozen=True)
class Point:
    """One point of a sweep on the server.

    Attributes:
        run: id of its W&B run.
        name: of the run.
        state: of the run in W&B.
        ended: "finished", "diverged", "interrupted", "lost", or "running" while it is trained.
        reason: why it has no finished run, as far as known.
        settings: the sweep's parameters with the point's values; None where they are not known.
    """

    run: str
    name: str
    state: str
    ended: str
    reason: str
    settings: Mapping[str, Any] | None

    @property
    def is_done(self) -> bool:
        """Whether its run has ended, finished or diverged."""
        return self.ended in ("finished", DIVERGED)


@dataclass(frozen=True)
class HandedOut:
    """State of a sweep on the server.

    Attributes:
        sweep: entity/project/id.
        content: the sweep file.
        points: those handed out, oldest first.
        expected: number of all points, if the server knows it.
    """

    sweep: str
    content: dict[str, Any]
    points: tuple[Point, ...]
    expected: int | None

    def unfinished(self) -> list[Point]:
        """Points without a finished run."""
        return [point for point in self.points if not point.is_done]

    def to_train(self) -> list[Point]:
        """Unfinished points that are not being trained and can be trained again.

        If the sweep stops runs early, an interrupted run was stopped on purpose.
        """
        wanted = ["lost"] if self.content.get("early_terminate") else ["lost", "interrupted"]
        return [one for one in self.points if one.ended in wanted and one.settings is not None]

    def command(self, point: Point, flags: Sequence[str] = ()) -> list[str]:
        """The command that an agent would run for a point, with flags that override the sweep's.

        Raises:
            UserError: the command passes the point's values by a file, which only an agent writes.
        """
        program = str(self.content.get("program", "resnet-lab"))
        assert point.settings is not None
        return [*agents_command(self.content.get("command"), program, point.settings), *flags]

    def environment(self, point: Point, folder: Path) -> dict[str, str]:
        """Environment variables by which an agent tells a process which point it trains.

        Args:
            point: to be trained.
            folder: for the file of the point's values, which the client reads.
        """
        assert point.settings is not None
        entity, project, name = parts_of(self.sweep)
        file = folder / f"config-{point.run}.yaml"
        write_point(file, point.settings)
        return {
            "WANDB_ENTITY": entity,
            "WANDB_PROJECT": project,
            "WANDB_SWEEP_ID": name,
            "WANDB_RUN_ID": point.run,
            "WANDB_SWEEP_PARAM_PATH": os.path.abspath(file),
        }


def handed_out(sweep: str) -> HandedOut:
    """Ask the server for a sweep and its points.

    Args:
        sweep: entity/project/id.

    Raises:
        UserError: the name is invalid, there is no such sweep, or the server does not answer.
    """
    entity, project, name = parts_of(sweep)
    import wandb

    api: Any = wandb.Api()
    try:
        found = api.sweep(sweep)
        content = dict(found.config)
        runs = list(api.runs(f"{entity}/{project}", filters={"sweep": name}, lazy=False))
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B does not say how the sweep '{sweep}' stands: {error}") from error
    points = tuple(_point(run, content) for run in runs)
    return HandedOut(sweep, content, points, found.expected_run_count)


def parts_of(sweep: str) -> tuple[str, str, str]:
    """Entity, project and id in the name of a sweep; UserError for an invalid name."""
    parts = sweep.split("/")
    if len(parts) != 3 or not all(parts):
        raise UserError(
            f"the sweep is '{sweep}': give ENTITY/PROJECT/ID, as `wandb sweep` prints it; a sweep "
            "file is continued by the same command, without --resume"
        )
    return parts[0], parts[1], parts[2]


def _point(run: wandb.apis.public.Run, content: Mapping[str, Any]) -> Point:
    settings = _settings(content.get("parameters", {}), run.config)
    ended = _ended(run)
    reason = run.summary_metrics.get("error") or UNSAID.get(run.state, "")
    if ended == "interrupted":
        reason = "it was interrupted or stopped"
    elif run.state.startswith("preempt"):
        reason = f"{reason or 'its machine was taken away'}; W&B hands it out again"
    if settings is None and ended == "lost":
        reason += "; its settings are not known: delete the run in W&B, and an agent gets it again"
    name = run.name or run.id
    return Point(run.id, name, run.state, ended, " ".join(str(reason).split()), settings)


def _ended(run: wandb.apis.public.Run) -> str:
    status = str(run.summary_metrics.get("status"))
    if status in (DIVERGED, "interrupted"):
        return status
    if run.state in LOST or (run.state == "pending" and _is_old(run)):
        return "lost"
    return "finished" if run.state == "finished" else "running"


def _is_old(run: wandb.apis.public.Run) -> bool:
    try:
        made = datetime.fromisoformat(str(run.created_at))
    except ValueError:
        return True
    return datetime.now(UTC) - (made if made.tzinfo else made.replace(tzinfo=UTC)) > BEGINNING


def _settings(parameters: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Each parameter with its value in the run's configuration."""
    try:
        return dict(_picked(parameters, config))
    except (KeyError, TypeError):
        return None


def _picked(parameters: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, entry in parameters.items():
        nested = entry.get("parameters")
        yield name, dict(_picked(nested, config[name])) if nested else config[name]
