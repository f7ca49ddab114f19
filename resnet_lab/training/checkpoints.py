"""Checkpoints of a run: by time and by step, written by a thread; the last two are kept."""

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
"""Failed checkpoints in a row before the run ends. A disk that is full for a while costs nothing;
one that stays full costs no more than the time between these checkpoints."""


class Checkpointer(pl.Callback):
    """Save the training state by time and by step, and once more on interruption.

    Training waits only for a copy; a thread then writes rows, checkpoint and run.json, in this
    order. Its errors are raised in the training process at the next step. Training ends only after
    the thread has finished.

    Args:
        run: directory to save to.
        seconds: time between two checkpoints.
        steps: updates between two checkpoints; 0: by time alone.
        interruption: ends training at the next step when requested.
        saved: called on rank 0 after each checkpoint, when all files are up to date.
        resumed: the checkpoint that training resumes from; it and the one before it are kept.
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
        """Save when due and stop when requested. A finished run needs no checkpoint.

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
        """Replace Lightning's checkpoint reader and writer."""
        trainer.strategy.checkpoint_io = _Files(self._submit)

    def save(self, trainer: pl.Trainer) -> None:
        """Start writing a checkpoint, named by the number of updates made."""
        self._settle()
        trainer.save_checkpoint(checkpoint_path(self._run, trainer.global_step))
        self._last = time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state of the other ranks: their batch-norm statistics and losses."""
        if trainer.world_size > 1:
            found: list[Any] = [None] * trainer.world_size
            dist.all_gather_object(found, copied(dict(pl_module.named_buffers())))
            checkpoint["buffers"] = found

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Hold each rank's own state until DDP has broadcast rank 0's, which would overwrite it."""
        buffers = checkpoint.get("buffers")
        if buffers is not None and len(buffers) == trainer.world_size:
            self._buffers = buffers

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore this rank's own buffers, and note the step at which training starts."""
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
        """Write everything, then delete older checkpoints. Runs in the writer thread."""
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
        """Wait for the pending checkpoint; warn or raise if it failed.

        A failed write is retried with the next checkpoint, if there is one, a limited number of
        times.
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
        """Wait for the pending checkpoint; delete leftovers of a killed process."""
        self._settle()
        self._writer.shutdown()
        if trainer.is_global_zero:
            self._delete_others()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Wait for the pending checkpoint; its errors do not hide the exception."""
        try:
            self._settle()
        except Exception as error:
            warnings.warn(f"the last checkpoint failed too: {error}", stacklevel=2)
        self._writer.shutdown()


def _up_to(run: RunDirectory, resumed: Path) -> list[Path]:
    """The last checkpoints of a run up to `resumed`; later ones are damaged."""
    return [path for path in run.checkpoint_files() if path.name <= resumed.name][-KEPT:]


def _passed(interval: int, before: int, now: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]; never for interval 0."""
    return interval > 0 and now // interval > before // interval


class _Files(TorchCheckpointIO):
    """Lightning's checkpoint I/O: passes saves on to `save` and verifies loads."""

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
