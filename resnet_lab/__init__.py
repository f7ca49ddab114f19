"""resnet_lab: a laboratory for depth and degradation.

    import resnet_lab as rl
    network = rl.build_network("plain-56", num_classes=10)
    directory = rl.train(rl.Config(network="plain-56,resnet-56"))
    frames = rl.load_runs("runs")

Names are imported lazily, so that commands without torch start quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_lab.configuration.config import Config, TrainerConfig, WandbConfig
    from resnet_lab.configuration.optimizers import optimizer
    from resnet_lab.configuration.recipe import RecipeConfig
    from resnet_lab.data.config import DataConfig
    from resnet_lab.data.load import load_data
    from resnet_lab.data.own import Images, dataset
    from resnet_lab.errors import UserError
    from resnet_lab.networks.chance import Chance
    from resnet_lab.networks.complexity import complexity, layer_table
    from resnet_lab.networks.network import build_network
    from resnet_lab.networks.own import part
    from resnet_lab.networks.spec import NetworkSpec
    from resnet_lab.networks.weights import load_weights, save_weights
    from resnet_lab.parts.claims import claim
    from resnet_lab.parts.files import load_parts
    from resnet_lab.recording.own import quantity
    from resnet_lab.recording.schedule import RecordingConfig
    from resnet_lab.runs.frames import Runs, load_runs
    from resnet_lab.tracking.load import load_wandb
    from resnet_lab.training.train import train

_PLACES = {
    "Chance": "resnet_lab.networks.chance",
    "Config": "resnet_lab.configuration.config",
    "DataConfig": "resnet_lab.data.config",
    "Images": "resnet_lab.data.own",
    "NetworkSpec": "resnet_lab.networks.spec",
    "RecipeConfig": "resnet_lab.configuration.recipe",
    "RecordingConfig": "resnet_lab.recording.schedule",
    "Runs": "resnet_lab.runs.frames",
    "TrainerConfig": "resnet_lab.configuration.config",
    "UserError": "resnet_lab.errors",
    "WandbConfig": "resnet_lab.configuration.config",
    "build_network": "resnet_lab.networks.network",
    "claim": "resnet_lab.parts.claims",
    "complexity": "resnet_lab.networks.complexity",
    "dataset": "resnet_lab.data.own",
    "layer_table": "resnet_lab.networks.complexity",
    "load_data": "resnet_lab.data.load",
    "load_parts": "resnet_lab.parts.files",
    "load_runs": "resnet_lab.runs.frames",
    "load_wandb": "resnet_lab.tracking.load",
    "load_weights": "resnet_lab.networks.weights",
    "optimizer": "resnet_lab.configuration.optimizers",
    "part": "resnet_lab.networks.own",
    "quantity": "resnet_lab.recording.own",
    "save_weights": "resnet_lab.networks.weights",
    "train": "resnet_lab.training.train",
}

__all__ = [
    "Chance",
    "Config",
    "DataConfig",
    "Images",
    "NetworkSpec",
    "RecipeConfig",
    "RecordingConfig",
    "Runs",
    "TrainerConfig",
    "UserError",
    "WandbConfig",
    "build_network",
    "claim",
    "complexity",
    "dataset",
    "layer_table",
    "load_data",
    "load_parts",
    "load_runs",
    "load_wandb",
    "load_weights",
    "optimizer",
    "part",
    "quantity",
    "save_weights",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'resnet_lab' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)
