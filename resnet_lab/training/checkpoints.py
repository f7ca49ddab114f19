"""Checkpoints of a run: written now and then, atomically, the last two kept."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from resnet_lab.files import replacing
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.training.interruption import Interruption

KEPT = 2
STEPS_BETWEEN_AGREEMENTS = 50


def newest_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """Find the last checkpoint that can be read, and its step; damaged ones are named and passed.

    Args:
        folder: checkpoints/ of a run directory.
    """
    for path in sorted(folder.glob("step-*.ckpt"), reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            return path, int(state["global_step"])
        except Exception as error:
            warnings.warn(f"checkpoint {path} is damaged ({error}): passed over", stacklevel=2)
    return None


class Checkpointer(pl.Callback):
    """Save the state of the training by time, and once more when it is interrupted.

    Rows are written before the checkpoint, so that a run never continues past lost rows.

    Args:
        run: where to save.
        seconds: time between two checkpoints.
        interruption: ends the training at the next step when requested.
        saved: called in the first process after each checkpoint, when all files are up to date.
    """

    def __init__(
        self,
        run: RunDirectory,
        seconds: float,
        interruption: Interruption,
        saved: Callable[[], None] | None = None,
    ) -> None:
        self._run = run
        self._seconds = seconds
        self._interruption = interruption
        self._saved = saved
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Save when it is time; stop when asked to. A finished run has nothing to continue."""
        if trainer.should_stop:
            return
        if trainer.world_size > 1 and trainer.global_step % STEPS_BETWEEN_AGREEMENTS:
            return
        stop = self._agree(trainer, self._interruption.requested)
        due = self._agree(trainer, time.monotonic() - self._last >= self._seconds)
        if stop or due:
            self.save(trainer)
        if stop:
            trainer.should_stop = True

    def _agree(self, trainer: pl.Trainer, decision: bool) -> bool:
        if trainer.world_size == 1:
            return decision
        return bool(trainer.strategy.reduce_boolean_decision(decision, all=False))

    def save(self, trainer: pl.Trainer) -> None:
        """Write rows and a checkpoint named by the number of updates made."""
        path = self._run.checkpoints / f"step-{trainer.global_step:09d}.ckpt"
        if trainer.is_global_zero:
            with replacing(path) as temporary:
                trainer.save_checkpoint(temporary)
                self._run.flush()
            for old in sorted(self._run.checkpoints.glob("step-*.ckpt"))[:-KEPT]:
                old.unlink()
            if self._saved is not None:
                self._saved()
        else:
            trainer.save_checkpoint(path)
        self._last = time.monotonic()
