"""The contents of run.json at the start of a new or resumed run."""

from __future__ import annotations

from typing import Any

import torch

from resnet_lab.configuration.config import Config
from resnet_lab.data.loader import Data
from resnet_lab.networks.complexity import Complexity, complexity
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.runs.provenance import note_resumption, provenance
from resnet_lab.training.checkpoint_files import Checkpoint
from resnet_lab.training.device import device_in_words


def run_info(
    config: Config,
    data: Data,
    run: RunDirectory,
    device: torch.device,
    checkpoint: Checkpoint | None,
) -> dict[str, Any]:
    """Return the contents of run.json: new, or the checkpoint's with the resumption noted."""
    known = run.read() or {}
    here = {
        **provenance(device_in_words(device)),
        "threads": torch.get_num_threads(),
        "processes": config.trainer.processes,
    }
    info = _begun(config, data, run, here) if checkpoint is None else dict(checkpoint.info)
    if checkpoint is not None:
        origin = known.get("provenance", info["provenance"])
        note_resumption(origin, here, checkpoint.step, _inexact(config, device))
        info |= {"status": "running", "error": None, "provenance": origin}
    if "tracking" in known:
        info["tracking"] = known["tracking"]
    return info


def sizes(config: Config, data: Data) -> list[Complexity]:
    """Return the complexity of each member of a cohort, for the images of `data`."""
    return [
        complexity(
            spec,
            num_classes=data.num_classes,
            in_channels=data.image_shape[0],
            image_size=data.image_shape[1],
        )
        for spec in config.specs()
    ]


def _begun(config: Config, data: Data, run: RunDirectory, here: dict[str, Any]) -> dict[str, Any]:
    members = [
        {
            "network": spec.name,
            "family": spec.family,
            "depth": spec.depth,
            "shortcut": spec.shortcut,
            "status": "running",
            "parameters": size.parameters,
            "multiply_adds": size.multiply_adds,
            "final": {},
        }
        for spec, size in zip(config.specs(), sizes(config, data), strict=True)
    ]
    return {
        "run": run.id,
        "name": run.path.name,
        "study": config.study,
        "status": "running",
        "error": None,
        "seed": config.seed,
        "iterations": config.recipe.iterations,
        "step": 0,
        "networks": members,
        "data": data.describe(),
        "provenance": here,
    }


def _inexact(config: Config, device: torch.device) -> list[str]:
    """Reasons why resuming here may not be bit-identical to an uninterrupted run."""
    reasons = []
    if device.type != "cpu" and not torch.are_deterministic_algorithms_enabled():
        reasons.append(f"{device.type}'s arithmetic is not deterministic")
    if config.trainer.processes > 2:
        reasons.append("gradients of more than two processes are added in another order")
    return reasons
