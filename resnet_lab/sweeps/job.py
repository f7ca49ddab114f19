"""The job of a sweep's worker, as one value that can be sent to other processes."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.sweeps.distributions import as_flag
from resnet_lab.sweeps.fixed_flags import FixedFlags
from resnet_lab.sweeps.pruning import TrialJudge, pruner
from resnet_lab.sweeps.queue import FLAGS, SLOT, Queue, open_study
from resnet_lab.sweeps.sampler import sampler
from resnet_lab.sweeps.storage import JOURNAL, close, open_storage, without_secrets
from resnet_lab.sweeps.study_name import note_study, shared_name
from resnet_lab.sweeps.sweep import Sweep

if TYPE_CHECKING:
    from optuna import Trial

Train = Callable[[Config, TrialJudge], Path]
"""Trains a configuration that needs one process, under a judge; returns its run directory."""


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to know; it is sent to other processes.

    Attributes:
        sweep: the search to draw from, or the grid.
        points: slot -> flags of a grid's runs; empty for a search.
        extra: flags added to every run: directories, and the user's overrides.
        parse: from flags to a run's configuration.
        train: trains a configuration that needs one process, given the judge.
        study: name of the study.
        folder: the study's own.
        storage: URL or path of the storage; None: a journal in the folder.
        heartbeat: seconds between two heartbeats.
        retries: how often a run that raises is tried again.
        seed: of a search.
        fixed: flags of the file's command, around those of each point.
        progress: whether a run may show its own progress bar.
        began: when the command began, seconds since 1970.
    """

    sweep: Sweep
    points: Mapping[str, Sequence[str]]
    extra: tuple[str, ...]
    parse: Callable[[Sequence[str]], Config]
    train: Train
    study: str
    folder: Path
    storage: str | None = None
    heartbeat: int = 30
    retries: int = 0
    seed: int = 0
    fixed: FixedFlags = field(default_factory=FixedFlags)
    progress: bool = True
    began: float = field(default_factory=time.time)

    def open(self) -> Queue:
        """Open the study and its queue."""
        storage = open_storage(self.storage, self.folder)
        try:  # a journal in the study's folder holds that study only
            name = self.study if self.storage is None else shared_name(storage, self)
            study = open_study(name, storage, self.fingerprint)
        except UserError:
            close(storage)
            raise
        study.sampler = sampler(self.sweep.method, self.seed)
        study.pruner = pruner(self.sweep.early_terminate)
        return Queue(study, storage, self.heartbeat)

    @property
    def fingerprint(self) -> str | None:
        """Settings that a resumed search must not change; None for a grid, which may grow."""
        if not self.sweep.searches:
            return None
        fixed = f" command {[*self.fixed.before, '...', *self.fixed.after]}" if self.fixed else ""
        return f"{self.sweep.fingerprint()} seed {self.seed}{fixed}"

    def note(self) -> None:
        """Write the study's name and storage into its folder."""
        with contextlib.closing(self.open()) as queue:
            shown = None if self.storage is None else without_secrets(self.storage)
            note_study(self.folder, queue.study.study_name, shown, self.fingerprint)

    def exists(self) -> bool:
        """Whether the study has been begun; assumed for a storage elsewhere."""
        return self.storage is not None or (self.folder / JOURNAL).exists()

    def has(self, slot: str | None) -> bool:
        """Whether the sweep wants this slot; a study keeps slots of earlier grids."""
        return slot in self.points if self.points else slot is not None

    def config(self, trial: Trial) -> Config:
        """The configuration of a trial's run; a search draws it here."""
        if self.sweep.searches:
            point = self.sweep.draw(trial)
        else:
            point = list(self.points[trial.user_attrs[SLOT]])
        config = self.parse([*self.fixed.around(point), *self.extra])
        if self.sweep.searches:
            flags = flags_as_read(self.sweep.varied(point), config)
            trial.set_user_attr(FLAGS, shlex.join(flags))
        quiet = dataclasses.replace(config.trainer, progress=False)
        return config if self.progress else dataclasses.replace(config, trainer=quiet)


def flags_as_read(flags: Sequence[str], config: Config) -> list[str]:
    """Flags with the configuration's values, as later flags may have overridden them."""
    told = []
    for flag in flags:
        name = flag.removeprefix("--").partition("=")[0]
        told.append(flag if name == "config" else f"--{name}={as_flag(setting(config, name))}")
    return told


def setting(config: Config, name: str) -> Any:
    """The value that a configuration has for a flag, such as recipe.lr."""
    value: Any = config.as_dict()
    for part in name.replace("-", "_").split("."):
        value = value[part]
    return value
