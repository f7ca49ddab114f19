"""Checkpoints of a run: by time and by step, written beside the training, the last two kept."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytorch_lightning as pl
import torch.distributed as dist
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from resnet_lab.errors import RunFailed
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.training.checkpoint_files import (
    checkpoint_path,
    copied,
    read_checkpoint,
    write_checkpoint,
)
from resnet_lab.training.interruption import Interruption

KEPT = 2
STEPS_BETWEEN_AGREEMENTS = 50
FAILURES = 3
"""Checkpoints in a row that cannot be written before the run ends: a disk that is full for a while
costs nothing then, and one that stays full no more than the time between these checkpoints."""


class Checkpointer(pl.Callback):
    """Save the state of the training by time and by step, and once more when it is interrupted.

    The training waits only for a copy; a thread writes rows, checkpoint and run.json, in this
    order. What goes wrong there is raised in the training at its next step, and the training does
    not end before the thread is done.

    Args:
        run: where to save.
        seconds: time between two checkpoints.
        steps: updates between two checkpoints; 0: by time alone.
        interruption: ends the training at the next step when requested.
        saved: called in the first process after each checkpoint, when all files are up to date.
        resumed: the checkpoint that the training continues from; it and the one before it count
            as those kept.
    """

    def __init__(
        self,
        run: RunDirectory,
        seconds: float,
        steps: int,
        interruption: Interruption,
        saved: Callable[[], None] | None = None,
        resumed: Path | None = None,
    ) -> None:
        self._run = run
        self._seconds = seconds
        self._steps = steps
        self._interruption = interruption
        self._saved = saved
        self._kept = [] if resumed is None else _up_to(run, resumed)
        self._last = time.monotonic()
        self._seen = 0
        self._failures = 0
        self._buffers: list[dict[str, Tensor]] | None = None
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[None] | None = None

    # When

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Save when it is time; stop when asked to. A finished run has nothing to continue.

        Several updates may have been made since the last call.
        """
        before, self._seen = self._seen, trainer.global_step
        if trainer.should_stop:
            return
        if self._writing is not None and self._writing.done():
            self._settle()
        due = _passed(self._steps, before, self._seen)
        stop = False
        if trainer.world_size == 1 or _passed(STEPS_BETWEEN_AGREEMENTS, before, self._seen):
            stop = self._agree(trainer, self._interruption.requested)
            late = self._agree(trainer, time.monotonic() - self._last >= self._seconds)
            due = due or late
        if stop or due:
            self.save(trainer)
        if stop:
            self._settle(last=True)
            trainer.should_stop = True

    def _agree(self, trainer: pl.Trainer, decision: bool) -> bool:
        if trainer.world_size == 1:
            return decision
        return bool(trainer.strategy.reduce_boolean_decision(decision, all=False))

    # What

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the place of what reads and writes Lightning's checkpoints."""
        trainer.strategy.checkpoint_io = _Files(self._submit)

    def save(self, trainer: pl.Trainer) -> None:
        """Begin to write a checkpoint, named by the number of updates made."""
        self._settle()
        trainer.save_checkpoint(checkpoint_path(self._run, trainer.global_step))
        self._last = time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what only the other processes know: their batch norms' statistics, their losses."""
        if trainer.world_size > 1:
            found: list[Any] = [None] * trainer.world_size
            dist.all_gather_object(found, copied(dict(pl_module.named_buffers())))
            checkpoint["buffers"] = found

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep each process's own until the processes have met, as they are made equal then."""
        buffers = checkpoint.get("buffers")
        if buffers is not None and len(buffers) == trainer.world_size:
            self._buffers = buffers

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up this process's own buffers, and note where the training begins."""
        self._interruption.take_back()
        self._seen = trainer.global_step
        if self._buffers is not None:
            for name, buffer in pl_module.named_buffers():
                buffer.copy_(self._buffers[trainer.global_rank][name])
            self._buffers = None

    # How

    def _submit(self, checkpoint: dict[str, Any], path: Path) -> None:
        rows = self._run.metrics.rows(), self._run.layers.rows()
        self._writing = self._writer.submit(self._write, copied(checkpoint), *rows, path)

    def _write(
        self, state: dict[str, Any], metrics: pa.Table, layers: pa.Table, path: Path
    ) -> None:
        """In the writer's thread: write everything, and only then delete older checkpoints."""
        self._run.check_held()
        self._run.metrics.write(metrics)
        self._run.layers.write(layers)
        write_checkpoint(path, state, metrics, layers)
        self._run.write(state["info"])
        self._kept = [*(kept for kept in self._kept if kept != path), path][-KEPT:]
        self._delete_others()

    def _delete_others(self) -> None:
        for other in self._run.checkpoint_files():
            if other not in self._kept:
                other.unlink()

    def _settle(self, *, last: bool = False) -> None:
        """Wait until the checkpoint that is being written is there, and see whether it is.

        A file that cannot be written is tried again with the next checkpoint, as long as there
        will be one and not for ever.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.result()
        except OSError as error:
            self._failures += 1
            told = f"no checkpoint could be written to {self._run.path} ({error.strerror or error})"
            if last or self._failures == FAILURES:
                kept = f"step {self._kept[-1].stem[5:].lstrip('0')}" if self._kept else "step 0"
                raise RunFailed(f"{told}: the same command continues from {kept}") from error
            warnings.warn(f"{told}: the next one is tried in its turn", stacklevel=2)
            return
        self._failures = 0
        if self._saved is not None:
            self._saved()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for what is being written; delete what one that was killed had no time to."""
        self._settle()
        self._writer.shutdown()
        if trainer.is_global_zero:
            self._delete_others()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Wait for what is being written; what goes wrong there does not hide the exception."""
        try:
            self._settle()
        except Exception as error:
            warnings.warn(f"the last checkpoint failed too: {error}", stacklevel=2)
        self._writer.shutdown()


def _up_to(run: RunDirectory, resumed: Path) -> list[Path]:
    """The last checkpoints of a run, later ones left out as they are damaged."""
    return [path for path in run.checkpoint_files() if path.name <= resumed.name][-KEPT:]


def _passed(interval: int, before: int, now: int) -> bool:
    """Whether a multiple of `interval` lies after `before` and not after `now`; 0 has none."""
    return interval > 0 and now // interval > before // interval


class _Files(TorchCheckpointIO):
    """Lightning's way to files: what it saves is handed on, what it loads is verified."""

    def __init__(self, save: Callable[[dict[str, Any], Path], None]) -> None:
        self._save = save

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        self._save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))
