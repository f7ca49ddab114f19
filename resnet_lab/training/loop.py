"""Which loop trains: Lightning's own, one with many updates a Lightning step, or a CUDA graph."""

from __future__ import annotations

import torch

from resnet_lab.configuration.config import Loop, TrainerConfig
from resnet_lab.data.loader import Data
from resnet_lab.data.memory import InMemoryData
from resnet_lab.errors import UserError


def choose_loop(trainer: TrainerConfig, data: Data, device: torch.device) -> Loop:
    """Turn "auto" into the fastest tested loop that this training can have.

    A CUDA graph is chosen by name only: no test of it has run on a GPU yet.

    Args:
        trainer: whose `loop` is asked for.
        data: what the cohort trains on.
        device: where.

    Raises:
        UserError: a loop is asked for by name that this training cannot have.
    """
    hindrance = _hindrance(trainer, data, device)
    if trainer.loop == "auto":
        return "plain" if hindrance else "stretches"
    if trainer.loop != "plain" and hindrance:
        raise UserError(f"trainer.loop is '{trainer.loop}', but {hindrance}: give auto or plain")
    if trainer.loop == "graph" and device.type != "cuda":
        raise UserError(
            f"trainer.loop is 'graph', but a CUDA graph needs a GPU and this is {device.type}: "
            "give auto or stretches"
        )
    return trainer.loop


def _hindrance(trainer: TrainerConfig, data: Data, device: torch.device) -> str | None:
    """Why nothing but Lightning's own loop will do; None where another one may."""
    if trainer.processes > 1:
        return f"{trainer.processes} processes train together"
    if not isinstance(data, InMemoryData):
        return f"the images of {data.name} are read from files"
    if device.type == "mps":
        return "it is not tried on MPS"
    return None
