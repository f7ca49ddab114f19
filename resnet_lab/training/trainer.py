"""The Lightning Trainer of every run."""

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
    """A Trainer that counts the cohort's updates, many of which may be one Lightning step.

    Lightning's own count does not advance, as the cohort steps its optimizer itself. `RunLogger`
    ends a run through `should_stop`.
    """

    @property
    def global_step(self) -> int:
        """Updates made."""
        return self.lightning_module.global_step if self.lightning_module is not None else 0


def make_trainer(config: Config, callbacks: list[pl.Callback], device: torch.device) -> pl.Trainer:
    """Return the Trainer of a run, without Lightning's own logger and checkpoints."""
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
    """Data parallelism in which each process keeps its own batch-norm statistics.

    They are averaged for evaluation. torch before 2.12 names the option differently.
    """
    if processes == 1:
        return "auto"
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DDPStrategy(**options)


class quiet(warnings.catch_warnings):
    """Hide Lightning's warnings about choices that are intended here."""

    def __enter__(self) -> None:
        super().__enter__()
        for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
