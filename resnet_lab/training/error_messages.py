"""What breaks a run off that is no mistake of the program: memory and disks; in words."""

from __future__ import annotations

from pathlib import Path

import torch

from resnet_lab.configuration.config import Config
from resnet_lab.errors import RunFailed
from resnet_lab.files import CLOSED, NO_ROOM

NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
"""How torch says it where it has no exception of its own: on the CPU and on MPS."""


def in_words(error: Exception, config: Config, run: Path, step: int) -> Exception:
    """A `RunFailed` that says what to do, if this is known; else the error as it is.

    Args:
        error: that broke the training off.
        config: of the run.
        run: its directory.
        step: updates made before.
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
