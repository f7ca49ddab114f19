"""A progress bar with error and images per second; silent without a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import pytorch_lightning as pl
from tqdm import tqdm

from resnet_lab.training.cohort import Cohort

SECONDS_BETWEEN_LOOKS = 0.5


class ProgressBar(pl.Callback):
    """Show steps, images per second and each member's training error on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._looked = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the run's current step."""
        cohort = cast(Cohort, pl_module)
        if trainer.is_global_zero and sys.stderr.isatty():
            self._bar = tqdm(
                total=cohort.recipe.iterations,
                initial=trainer.global_step,
                desc=" + ".join(cohort.names)[:40],
                unit="img",
                unit_scale=cohort.recipe.batch_size,
                dynamic_ncols=True,
                leave=False,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Advance; now and then read the training errors of the last steps."""
        if self._bar is None:
            return
        self._bar.update(trainer.global_step - self._bar.n)
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            cohort = cast(Cohort, pl_module)
            errors = cohort.window_means(20, all_processes=False)[1]
            shown = [
                "diverged" if i in cohort.frozen else f"{error:.1f}%"
                for i, error in enumerate(errors)
            ]
            self._bar.set_postfix_str(f"train error {' '.join(shown)}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
