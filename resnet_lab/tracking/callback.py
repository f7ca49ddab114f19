"""Callback of the mirror, which runs after the recorder, the logger and the checkpoints."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from resnet_lab.recording.recorder import Recorder
from resnet_lab.tracking.mirror import Mirror


class MirrorCallback(pl.Callback):
    """Pass each row to the mirror as soon as it is complete.

    Recordings stay on the device until they are read. This callback reads them at the recording
    steps, which a run without tracking does not do.
    """

    def __init__(self, mirror: Mirror, recorder: Recorder) -> None:
        self._mirror = mirror
        self._recorder = recorder

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Send complete rows. Rows of the last step are sent when the run ends."""
        self._recorder.flush()
        if not trainer.should_stop:
            self._mirror.advance(trainer.global_step)
