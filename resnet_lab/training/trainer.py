"""The Trainer: Lightning's, told what a run needs. Every run's is made here."""

from __future__ import annotations

import inspect
import logging
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from resnet_lab.configuration.config import Config


class Trainer(pl.Trainer):
    """Counts the updates that the cohort has made: Lightning may have seen many as one step.

    Lightning's own count stands still, as the cohort steps its optimizer itself; what ends a run is
    `RunLogger`, by `should_stop`.
    """

    @property
    def global_step(self) -> int:
        """Updates made."""
        return self.lightning_module.global_step if self.lightning_module is not None else 0


def make_trainer(config: Config, callbacks: list[pl.Callback], device: torch.device) -> pl.Trainer:
    """The Trainer of every run: no logger, no checkpoints and no loops but those built here."""
    return Trainer(
        accelerator=device.type if device.type != "cuda" else "gpu",
        devices=config.trainer.processes_here,
        num_nodes=config.trainer.nodes,
        strategy=_strategy(config.trainer.processes),
        plugins=[LightningEnvironment()] if config.trainer.processes == 1 else None,
        max_steps=config.recipe.iterations,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        benchmark=device.type == "cuda",
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )


def _strategy(processes: int) -> DDPStrategy | str:
    """Data parallelism where batch-norm statistics stay each process's own.

    They are averaged to evaluate. torch before 2.12 names the option differently.
    """
    if processes == 1:
        return "auto"
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DDPStrategy(**options)


class quiet(warnings.catch_warnings):
    """Hide Lightning's remarks about choices that are made on purpose here."""

    def __enter__(self) -> None:
        super().__enter__()
        for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
