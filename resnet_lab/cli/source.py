"""Where a command reads runs from: a folder, or Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.errors import UserError
from resnet_lab.files import user_path

if TYPE_CHECKING:
    from resnet_lab.runs.frames import Runs

WANDB = "wandb:"
HELP = "a folder with run directories, or wandb:ENTITY/PROJECT[/STUDY]"


def read_source(given: str) -> Runs:
    """Read the runs of a folder, or those that a W&B project has: all, or one study's.

    Raises:
        UserError: there are none, or W&B cannot be used.
    """
    if not given.startswith(WANDB):
        from resnet_lab.runs.frames import load_runs

        return load_runs(given)
    parts = given.removeprefix(WANDB).split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UserError(f"runs are to come from '{given}': give wandb:ENTITY/PROJECT[/STUDY]")
    from resnet_lab.tracking.load import load_wandb

    project, study = "/".join(parts[:2]), parts[2:]
    return load_wandb(project, filters={"group": study[0]} if study else None)


def whereabouts(given: str) -> list[str]:
    """Notes on paths in messages about runs: those in W&B are on no disk."""
    if not given.startswith(WANDB):
        return []
    entity, project = given.removeprefix(WANDB).split("/")[:2]
    pull = f"wandb pull -e {entity} -p {project} ID"
    return [f"{entity}/{project}/ID is in W&B: `{pull}` puts its files into run_directory/"]


def strangers(given: str) -> list[Path]:
    """Folders beside the runs that are not runs; empty for W&B."""
    if given.startswith(WANDB):
        return []
    from resnet_lab.runs.frames import foreign_folders

    return foreign_folders(user_path(given))
