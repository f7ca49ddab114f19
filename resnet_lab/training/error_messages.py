"""Error messages for runs that fail for lack of memory or disk space."""

from __future__ import annotations

from pathlib import Path

import torch

from resnet_lab.configuration.config import Config
from resnet_lab.errors import RunFailed
from resnet_lab.files import CLOSED, NO_ROOM

NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
"""Text of torch's out-of-memory errors on CPU and MPS, which have no exception class."""


def in_words(error: Exception, config: Config, run: Path, step: int) -> Exception:
    """Return a `RunFailed` that says what to do, for a known error; else the error unchanged.

    Args:
        error: the error that ended training.
        config: configuration of the run.
        run: its directory.
        step: updates made before the error.
    """
    if isinstance(error, OSError) and error.errno in (*NO_ROOM, *CLOSED):
        way_out = "make room" if error.errno in NO_ROOM else "let it be written again"
        return RunFailed(
            f"{run} cannot be written ({error.strerror}): the run ends at step {step}; {way_out}, "
            "and the same command continues from its last checkpoint"
        )
    if _is_memory(error):
        return RunFailed(
            f"out of memory at step {step}: {config.network} with recipe.batch_size "
            f"{config.recipe.batch_size} and recording.probe_size {config.recording.probe_size}. "
            "Train fewer networks at once (--network), lower the batch "
            "size or the probe size, or give the batch to more devices (--trainer.devices; "
            "recipe.ghost_batch keeps the result)"
        )
    return error


def _is_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
