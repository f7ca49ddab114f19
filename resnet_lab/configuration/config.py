"""The configuration: one typed value that describes a run completely.

Parsed by jsonargparse from YAML files and flags (see `resnet_lab.cli`) and saved with the run.
Importing this module imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_type_hints

from resnet_lab.configuration.identity import Identity, identify
from resnet_lab.configuration.optimizers import OPTIMIZERS, check_settings
from resnet_lab.configuration.recipe import RecipeConfig, as_stored, reads_stored
from resnet_lab.configuration.replaced import foreign_parts, replaced_code
from resnet_lab.data.config import DataConfig, default_data_dir
from resnet_lab.data.fingerprint import fingerprint
from resnet_lab.errors import UserError
from resnet_lab.field_types import check_fields, refusal
from resnet_lab.files import with_home
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.parts.files import absolute, load_parts
from resnet_lab.recording.schedule import RecordingConfig

Loop: TypeAlias = Literal["plain", "stretches", "graph"]
"""The training loops: Lightning's, one with many updates per Lightning step, or a CUDA graph."""


@dataclass(frozen=True)
class TrainerConfig:
    """Devices, processes, checkpoints and training loop.

    Nothing here may change a result, with one exception, as in the paper's own training: the batch
    norms of several processes see only their own images, unless recipe.ghost_batch sets a number.
    The run then equals one of a single process with such ghost batches.

    Attributes:
        device: "auto" takes a GPU where there is one.
        devices: processes of this machine that train together (distributed data parallel); "all":
            one for each of its GPUs.
        nodes: machines that train together, started by torchrun or SLURM.
        checkpoint_seconds: time between two checkpoints; an interruption costs at most this much.
        checkpoint_steps: updates between two checkpoints, whatever the time; 0: by time alone.
        progress: show a progress bar; it is silent in any case where there is no terminal.
        loop: "plain" is Lightning's own, one iteration a step; "stretches" makes many, up to the
            next at which anything is recorded or written; "graph" replays them on a GPU without
            the host, and is taken by name only until its tests have run on one. "auto" takes
            "stretches" where it can be had. On the CPU all give the same bits.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | Literal["all"] = 1
    nodes: int = 1
    checkpoint_seconds: float = 300.0
    checkpoint_steps: int = 0
    progress: bool = True
    loop: Literal["auto", "plain", "stretches", "graph"] = "auto"

    @property
    def processes_here(self) -> int:
        """Number of training processes on each machine."""
        assert not isinstance(self.devices, str)
        return self.devices

    @property
    def processes(self) -> int:
        """Number of training processes on all machines."""
        return self.processes_here * self.nodes

    def __post_init__(self) -> None:
        check_fields(self, refusal("trainer"))
        if self.devices == "all":
            object.__setattr__(self, "devices", _gpus())
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name} is {getattr(self, name)}: give 1 or more")
        if not 0 < self.checkpoint_seconds < math.inf:
            raise UserError(
                f"trainer.checkpoint_seconds is {self.checkpoint_seconds:g}: give a positive time"
            )
        if self.checkpoint_steps < 0:
            raise UserError(
                f"trainer.checkpoint_steps is {self.checkpoint_steps}: give a number of updates, "
                "or 0 for checkpoints by time alone"
            )


LONGEST_NAME = {"characters": 99, "bytes": 255}
"""Limits on a folder's name: the first for readers, the second for file systems."""


def _check_folder_name(key: str, text: str) -> None:
    """Raise UserError if `text` is not a valid folder name."""
    about = f"{key} is '{text}': give a plain folder name"
    sizes = {"characters": len(text), "bytes": len(text.encode("utf-8", "replace"))}
    for unit, size in sizes.items():
        if size > LONGEST_NAME[unit]:
            most = LONGEST_NAME[unit]
            raise UserError(f"{about} of at most {most} {unit}; this one has {size}")
    if "/" in text or text in ("", ".", ".."):
        raise UserError(f"{about}, without '/'")
    if not text.isprintable():
        raise UserError(f"{about}, without '/' and without characters that cannot be printed")


def _as_text(path: Any) -> Any:
    """Convert a path to text; return other values unchanged."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _gpus() -> int:
    """Number of GPUs on this machine, at least 1. Imports torch only when called."""
    import torch

    return max(1, torch.cuda.device_count())


@dataclass(frozen=True)
class WandbConfig:
    """Where Weights & Biases keeps a tracked run. A sweep's runs go where their sweep is.

    Attributes:
        project: of the run.
        entity: user or team; the login's default without it.
        tags: on the run, beside those that it gets from its networks and data.
    """

    project: str = "resnet_lab"
    entity: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, refusal("wandb"))


@dataclass(frozen=True)
class Config:
    """The complete configuration of one run.

    Attributes:
        network: the cohort's networks by name, separated by commas: "plain-56,resnet-56".
        seed: decides initial weights, data order and augmentation.
        data: which images, how split and normalised.
        recipe: optimizer, schedule, batch, precision.
        recording: what is measured inside layers, and when.
        trainer: device, processes and checkpoints.
        tracking: "wandb" mirrors the run to Weights & Biases, "none" does not.
        wandb: project, entity and tags there.
        data_dir: where data sets lie; $RESNET_LAB_DATA or ~/.cache/resnet_lab without it.
        runs_dir: where run directories are written. In both a leading ~ is the home directory.
        study: a folder below runs_dir that keeps the runs of one question together.
        parts: files of the user's own parts, Python that is run when this is made; kept as absolute
            paths. The content of the parts that networks use decides the run, the paths do not.
    """

    network: str = "plain-20,resnet-20"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: Literal["none", "wandb"] = "none"
    wandb: WandbConfig = field(default_factory=WandbConfig)
    data_dir: str | None = None
    runs_dir: str = "runs"
    study: str | None = None
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data_dir", "runs_dir"):
            object.__setattr__(self, name, _as_text(getattr(self, name)))
        if isinstance(self.parts, list | tuple):
            object.__setattr__(self, "parts", tuple(map(_as_text, self.parts)))
        check_fields(self, refusal(""))
        object.__setattr__(self, "parts", absolute(self.parts))
        for file in self.parts:
            load_parts(file)
        self.specs()
        used = OPTIMIZERS.get(self.recipe.optimizer).settings
        check_settings(self.recipe, used, self.recipe.optimizer)
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: give 0 or more")
        if self.seed >= 2**63:
            raise UserError(f"seed is {self.seed}: give a number below 2^63")
        if self.recipe.plateau_patience and self.data.protocol == "full":
            raise UserError(
                "recipe.plateau_patience needs a validation error, but data.protocol is 'full': "
                "choose data.protocol 'validation' or fixed drops"
            )
        self._check_ghost_batch()
        if not reads_stored():
            self.recording.chosen()
        if self.study is not None:
            _check_folder_name("study", self.study)
        for name in ("data_dir", "runs_dir"):
            if "\0" in (getattr(self, name) or ""):
                raise UserError(f"{name} is {getattr(self, name)!r}: no path holds a NUL character")
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, with_home(given))

    def _check_ghost_batch(self) -> None:
        """Check that every batch that passes a batch norm in training is whole ghost batches."""
        ghost, processes = self.ghost_batch, self.trainer.processes
        if self.recipe.batch_size % processes:
            raise UserError(
                f"recipe.batch_size is {self.recipe.batch_size}: it must divide over {processes} "
                "processes"
            )
        if ghost and self.recipe.batch_size % (ghost * processes):
            raise UserError(
                f"recipe.ghost_batch is {ghost}: it must divide the share of recipe.batch_size "
                f"({self.recipe.batch_size}) that each of {processes} processes has"
            )
        size, probes = self.recording.probe_size, self.recording.enabled and self.recording.probe
        if ghost and probes and size % ghost:
            raise UserError(
                f"recording.probe_size is {size}: it must be a multiple of the {ghost} images that "
                f"batch norms see together, such as {-(-size // ghost) * ghost}"
            )

    @property
    def ghost_batch(self) -> int:
        """Images that a batch norm normalises together in training; 0: the whole batch.

        In distributed training each process's norms see at most its own share.
        """
        processes = self.trainer.processes
        share = self.recipe.batch_size // processes if processes > 1 else 0
        return self.recipe.ghost_batch or share

    def specs(self) -> tuple[NetworkSpec, ...]:
        """The members of the cohort, in the order named.

        Raises:
            UserError: a network is unknown or named twice.
        """
        return self._specs

    @cached_property
    def _specs(self) -> tuple[NetworkSpec, ...]:
        specs = tuple(NetworkSpec.parse(name.strip()) for name in self.network.split(","))
        names = [spec.name for spec in specs]
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    f"network '{name}' is named twice in '{self.network}': a cohort holds each "
                    "network once; use --seed for repetitions"
                )
        return specs

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, as saved in config.yaml; `train --config` reads them back."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Rebuild a configuration from `as_dict`; missing settings take their default.

        Raises:
            UserError: a value is invalid.
            TypeError: a setting is unknown.
        """
        built = {name: kind(**values[name]) for name, kind in sections().items() if name in values}
        return cls(**{**values, **built})

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> Config:
        """Like `from_dict`, for a run that an earlier version may have trained.

        Values that are refused today are allowed. Files of parts are left out and not executed, as
        a run directory is no trusted source of code. Raises the same exceptions as `from_dict`.
        """
        with as_stored():
            return cls.from_dict({**values, "parts": ()})

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the data on disk, or the folder in which it is missing.

        See `resnet_lab.data.fingerprint`.
        """
        try:
            return fingerprint(self.data, self.data_dir)
        except UserError:  # reported when the data is read
            return {"missing": str(default_data_dir(self.data_dir).absolute())}

    def identity(self) -> Identity:
        """The identity of the run; reads the data directory."""
        return identify(self, self.fingerprint(), replaced_code() | foreign_parts(self))

    def run_id(self) -> str:
        """16 hexadecimal digits, equal for configurations that give the same result."""
        return self.identity().id


def sections() -> dict[str, Any]:
    """The nested sections of a configuration: name -> class."""
    hints = get_type_hints(Config)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
