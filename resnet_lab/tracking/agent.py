"""What differs when a W&B sweep agent has started this process."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace

from resnet_lab.training.config import Config
from resnet_lab.training.processes import is_first_process


def under_agent() -> bool:
    """Whether `wandb agent` has started this process for a point of a sweep."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def may_end_early() -> bool:
    """Whether this process may end before its run has begun, as there is nothing to keep of it.

    Under an agent it may not: W&B hands out no point twice, so that one which is interrupted must
    show itself first to be continued. Nor may one of several processes that train together, which
    the first would wait for.
    """
    return is_first_process() and not under_agent()


def agents_choice() -> dict[str, str]:
    """Ids of the W&B run that the agent has ready for this process, and of its sweep."""
    names = {"run_id": "WANDB_RUN_ID", "sweep": "WANDB_SWEEP_ID"}
    return {key: os.environ[name] for key, name in names.items()} if under_agent() else {}


def in_the_sweeps_place(config: Config) -> Config:
    """The configuration with the entity and project that a sweep's runs have in any case.

    So the saved configuration says where the run is, and continues it there without an agent.
    """
    entity, project = (os.environ.get(name) for name in ("WANDB_ENTITY", "WANDB_PROJECT"))
    if not (under_agent() and entity and project):
        return config
    return replace(config, wandb=replace(config.wandb, entity=entity, project=project))


def report_failure(message: str) -> None:
    """Let the sweep hear that its point cannot be trained; outside a sweep do nothing.

    A process that ends before it has shown itself to W&B leaves a point without any outcome there.
    This one shows itself, says why, and counts as failed.
    """
    if not (under_agent() and is_first_process()):
        return
    from resnet_lab.tracking.session import Session

    try:
        session = Session.open({"error": message})
        session.summarise({"status": "failed", "error": message})
        session.finish(exit_code=1)
    except Exception as error:  # the message itself must come through in any case
        warnings.warn(f"W&B could not be told of the failure: {error}", stacklevel=2)
