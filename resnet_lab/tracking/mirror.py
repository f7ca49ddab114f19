"""The mirror: sends a run directory's contents to Weights & Biases during training. No torch.

W&B gets only what the run directory holds, so it can be sent again: after a kill, after days
offline, or for a run that was trained long ago. Errors here do not affect training.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from resnet_lab.configuration.config import Config
from resnet_lab.rank import is_first_process
from resnet_lab.recording.quantity import in_menus
from resnet_lab.recording.schedule import recording_steps
from resnet_lab.runs.directory import FILES, RunDirectory
from resnet_lab.tracking.agent import (
    agents_choice,
    metric_of_sweep,
    under_agent,
    without_swept,
)
from resnet_lab.tracking.history import Row, curves, history, metric_key, prefix
from resnet_lab.tracking.link import Info, is_mirrored, link, link_offline, unlink_elsewhere
from resnet_lab.tracking.outcome import DIVERGED, SAID, diverged, outcome
from resnet_lab.tracking.session import (
    Session,
    check_accepted,
    connect,
    images,
    remove_offline,
    say,
    warn,
)

Illustrate: TypeAlias = Callable[[Path], Mapping[str, Path]]
"""Draws figures of a run directory; returns their keys and PNG files."""


@dataclass
class Mirror:
    """Mirror of one run directory in W&B.

    Online, rows are sent as they become complete. Offline, they are written when the process ends,
    into a new folder that `wandb sync` uploads: folders of one run never overlap.

    Args:
        config: of the run.
        run: the directory.
        offline: whether W&B cannot be reached now.
        illustrate: draws the figures of a finished run.
    """

    config: Config
    run: RunDirectory
    offline: bool
    illustrate: Illustrate | None = None
    _info: Info = field(default_factory=dict, init=False)
    _session: Session | None = field(default=None, init=False)
    _rows_seen: int = field(default=-1, init=False)

    @classmethod
    def of(
        cls, config: Config, run: RunDirectory, illustrate: Illustrate | None = None
    ) -> Mirror | None:
        """The mirror of a tracked run; None without tracking, or on ranks other than 0.

        Raises:
            UserError: W&B cannot be used: not installed, not logged in, not reachable; or it
                would not take the run's project or tags.
        """
        if config.tracking == "none" or not is_first_process():
            return None
        mode = connect()
        if mode == "disabled":
            return None
        check_accepted(project=config.wandb.project, tags=config.wandb.tags)
        return cls(config, run, mode == "offline", illustrate)

    @property
    def names(self) -> list[str]:
        """Networks of the cohort."""
        return [spec.name for spec in self.config.specs()]

    @cached_property
    def _recorded(self) -> frozenset[int]:
        """Steps with recordings, whose rows are complete one update later."""
        return frozenset(recording_steps(self.config.recipe.iterations, self.config.recording))

    def start(self, info: Info, step: int, stop: Callable[[], None] | None = None) -> None:
        """Begin, and send earlier rows of the run that W&B lacks.

        Args:
            info: contents of run.json; the link to the W&B run is recorded there.
            step: how many updates the run directory has rows of.
            stop: called when a user stops the run in W&B.

        Raises:
            UserError: the server does not begin the run.
        """
        self._info = info
        if not under_agent():
            unlink_elsewhere(info, self.config.wandb.entity, self.config.wandb.project)
        if self.offline:
            return
        self._open(link(info, **agents_choice()), stop)
        self.advance(step)

    def advance(self, step: int) -> None:
        """Send the rows that are complete after `step` updates."""
        rows = len(self.run.metrics) + len(self.run.layers)
        if self._session is not None and rows != self._rows_seen:
            self._rows_seen = rows
            self._attempt(lambda session: session.send(self._rows(self._complete(step))))

    def upload(self) -> None:
        """Upload the files of the run directory as they are now."""
        self._attempt(self._upload)

    def close(self, status: str, step: int) -> None:
        """Send what is left and end.

        Args:
            status: how the run ended: finished, stopped, interrupted or failed.
            step: after how many updates.
        """
        if not self.offline or self._open_offline():
            self._attempt(lambda session: self._end(session, status, step))
        self._session = None

    # Rows

    def _complete(self, step: int) -> int:
        """The last step whose row is complete after `step` updates."""
        return step - (step in self._recorded)

    def _rows(self, last: int) -> Iterator[Row]:
        first = self._session.next_step if self._session else 0
        metrics = self.run.metrics.between(first, last)
        return history(metrics, self.run.layers.between(first, last), self.names)

    def _end(self, session: Session, status: str, step: int) -> None:
        done = status in ("finished", "stopped")
        for row in self._rows(step if done else self._complete(step)):
            drawn = self._pictures() if done and row["_step"] == step else {}
            session.send([{**row, **drawn}])
        lost = diverged(self._info)
        metric = metric_of_sweep() if lost and len(self.names) > 1 else None
        stopped_by = "wandb" if under_agent() else "user"
        ended = outcome({**self._info, "status": status}, metric, stopped_by=stopped_by)
        if lost:
            session.withdraw(self._numbers(lost, step))
            session.tag(self._tags())
        session.summarise({**ended.summary, **self._finals()})
        self._upload(session)
        through = step + 1 if done else 0  # a network that diverged has no last row
        self._finish(session, ended.exit_code, through)

    def _upload(self, session: Session) -> None:
        session.upload([path for name in FILES if (path := self.run.path / name).exists()])

    def _pictures(self) -> Row:
        if self.illustrate is None:
            return {}
        try:
            return images(self.illustrate(self.run.path))
        except Exception as error:
            warn(f"the pictures could not be drawn ({type(error).__name__}: {error})")
            return {}

    def _finals(self) -> Row:
        return {
            f"{prefix(member['network'], self.names)}final/{metric}": value
            for member in self._info["networks"]
            for metric, value in member["final"].items()
        }

    def _numbers(self, lost: Collection[str], step: int) -> set[str]:
        """Keys of diverged networks in the summary: losses and errors before divergence, and NaN.

        They are removed, not replaced: W&B gets NaN as text, whose sort order is undocumented, and
        a number such as 100 % was never measured.
        """
        found = {
            prefix(entry["network"], self.names) + metric_key(entry)
            for entry in self.run.metrics.between(0, step).to_pylist()
            if entry["network"] in lost and entry["metric"] != "lr"
        }
        recorded = [key for quantity in in_menus() for key in curves(quantity)]
        return found | {prefix(name, self.names) + key for name in lost for key in recorded}

    # The client

    def _open(self, run_id: str, stop: Callable[[], None] | None = None) -> None:
        self.run.write(self._info)  # save the id before W&B has it, in case of a kill
        wandb = self.config.wandb
        place = {"id": run_id, "project": wandb.project, "entity": wandb.entity}
        self._session = Session.open(
            {**without_swept(self.config.as_dict()), **self._about()},
            place=None if under_agent() else place,
            stop=stop,
            name=self._info["name"],
            group=self.config.study,
            tags=self._tags(),
            job_type="train",
        )
        self._info["tracking"].update(self._session.place)
        if not self.offline:
            remove_offline(run_id)
            self.run.write(self._info)
            say(str(self._session.url))
        self._attempt(lambda session: session.withdraw(SAID))  # of an earlier part of the run

    def _open_offline(self) -> bool:
        run_id, first = link_offline(self._info)
        remove_offline(run_id, keep=self._info["tracking"]["offline"])
        try:
            self._open(run_id)
        except Exception as error:
            warn(f"offline rows cannot be written ({error})")
            return False
        assert self._session is not None
        self._session.next_step = first
        return True

    def _finish(self, session: Session, exit_code: int, through: int) -> None:
        tracking = self._info["tracking"]
        if not session.finish(exit_code=exit_code):
            warn("the server did not take everything in time")
            return
        tracking["next"] = max(session.next_step, through)
        if self.offline:
            tracking["offline"].append(session.folder.name)
            say(f"offline; `{shlex.join(['wandb', 'sync', str(session.folder)])}` uploads it")
        self.run.write(self._info)

    def _attempt(self, act: Callable[[Session], None]) -> None:
        """Call `act`; if it fails, continue without W&B."""
        if self._session is None:
            return
        try:
            act(self._session)
        except Exception as error:
            self._session = None
            warn(f"it fails ({type(error).__name__}: {error}) and is left alone from here on")

    def _about(self) -> dict[str, Any]:
        """Facts on the run for W&B; family, depth and parameters as single values to group by."""
        members = self._info["networks"]
        described = {
            prefix(member["network"], self.names) + key: member[key]
            for member in members
            for key in ("family", "depth", "parameters")
        }
        return {
            "run": self._info["run"],
            "networks": self.names,
            **described,
            "protocol": self._info["data"]["protocol"],
        }

    def _tags(self) -> list[str]:
        families = [member["family"] for member in self._info["networks"]]
        data = self._info["data"]
        lost = [DIVERGED] if diverged(self._info) else []
        tags = [*families, data["name"], data["protocol"], *lost, *self.config.wandb.tags]
        return list(dict.fromkeys(tags))


def replay(
    config: Config, run: RunDirectory, info: Info, illustrate: Illustrate | None = None
) -> None:
    """Send what W&B lacks of a finished run, without training it again.

    If a sweep's agent starts a run that is already finished, W&B gets all of it.

    Raises:
        UserError: W&B lacks something and cannot be used.
    """
    if config.tracking == "none":
        return
    if not under_agent():
        unlink_elsewhere(info, config.wandb.entity, config.wandb.project)
        if is_mirrored(info):
            return
    mirror = Mirror.of(config, run, illustrate)
    if mirror is not None:
        run.resume(info["step"])
        mirror.start(info, info["step"] - 1)  # the last row comes with the figures
        mirror.close(info["status"], info["step"])
