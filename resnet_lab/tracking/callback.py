"""The mirror's place in the training: after the recorder, the logger and the checkpoints."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from resnet_lab.recording.recorder import Recorder
from resnet_lab.tracking.mirror import Mirror


class MirrorCallback(pl.Callback):
    """Give the mirror each row as soon as it is complete.

    Recordings wait on the device until somebody asks for them. Here they are asked for at the
    recording steps, which a run without tracking does not do.
    """

    def __init__(self, mirror: Mirror, recorder: Recorder) -> None:
        self._mirror = mirror
        self._recorder = recorder

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Look for rows that are complete. What comes with the end is left to the end."""
        self._recorder.flush()
        if not trainer.should_stop:
            self._mirror.advance(trainer.global_step)
