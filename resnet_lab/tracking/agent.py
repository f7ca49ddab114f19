"""Behaviour of a run that a W&B sweep agent has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from resnet_lab.configuration.config import Config, WandbConfig
from resnet_lab.rank import is_first_process
from resnet_lab.yaml_json import load_yaml, read_text

PLACE = ("WANDB_ENTITY", "WANDB_PROJECT")


def under_agent() -> bool:
    """Whether `wandb agent` has started this process for a point of a sweep."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def may_end_early() -> bool:
    """Whether this process may exit before its run has begun, as there is nothing to save.

    Under an agent it may not: W&B hands out no point twice, so an interrupted run must first
    register to be continued. Nor may one rank of several: rank 0 would wait for it.
    """
    return is_first_process() and not under_agent()


def agents_choice() -> dict[str, str]:
    """Ids of the W&B run that the agent assigned to this process, and of its sweep."""
    names = {"run_id": "WANDB_RUN_ID", "sweep": "WANDB_SWEEP_ID"}
    return {key: os.environ[name] for key, name in names.items()} if under_agent() else {}


def in_the_sweeps_place(config: Config) -> Config:
    """The configuration with the entity and project of the sweep, where its runs always go.

    The saved configuration then names the run's place, and resumes it there without an agent.
    """
    entity, project = (os.environ.get(name) for name in PLACE)
    if not (under_agent() and entity and project):
        return config
    if config.wandb.project not in (WandbConfig().project, project) and is_first_process():
        print(
            f"resnet-lab: wandb.project '{config.wandb.project}' is not heeded: the runs of a W&B "
            f"sweep are where the sweep is, in {entity}/{project}",
            file=sys.stderr,
        )
    return replace(config, wandb=replace(config.wandb, entity=entity, project=project))


def without_swept(config: dict[str, Any]) -> dict[str, Any]:
    """A nested configuration without the settings that the sweep gave by dotted names.

    W&B already has the sweep's "recipe.lr", which its search reads, and would list the "lr" in
    "recipe" a second time under the same name.
    """
    swept = _swept() if under_agent() else ()
    return _without(config, {name for name in swept if "." in name})


def _without(config: Mapping[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, names, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in config.items()
        if f"{prefix}{key}" not in names
    }


def _swept() -> list[str]:
    """Names of the parameters of this process's point, from the agent's file."""
    try:
        found = load_yaml(read_text(Path(os.environ["WANDB_SWEEP_PARAM_PATH"])))
        return [str(name) for name in found]
    except (KeyError, OSError, ValueError, TypeError):
        return []


def metric_of_sweep() -> str | None:
    """The metric of this process's sweep on the server; None if unknown."""
    place = [os.environ.get(name) for name in (*PLACE, "WANDB_SWEEP_ID")]
    if not (under_agent() and all(place)):
        return None
    import wandb

    api: Any = wandb.Api()
    try:
        return str(api.sweep("/".join(map(str, place))).config["metric"]["name"])
    except (wandb.Error, ValueError, KeyError, TypeError):
        return None


def not_tracked(config: Config) -> str | None:
    """A note on W&B settings of an untracked run; None if it has none."""
    if config.tracking != "none" or config.wandb == WandbConfig():
        return None
    names = [one.name for one in fields(WandbConfig)]
    given = [n for n in names if getattr(config.wandb, n) != getattr(WandbConfig(), n)]
    flags = ", ".join(f"wandb.{name}" for name in given)
    return f"{flags} is not heeded: nothing goes to W&B without --tracking wandb"


def report_failure(message: str, *, of_machine: bool = False) -> None:
    """Report to the sweep that its point cannot be trained; outside a sweep do nothing.

    A process that ends before it registers with W&B leaves a point without an outcome. This one
    registers, gives the reason, and counts as failed. If every other point would fail here too,
    W&B is asked to hand the point out again, elsewhere or later, and the agent is ended before it
    asks for the next one.

    Args:
        message: the reason.
        of_machine: whether this machine is the cause: data or packages are missing.
    """
    if not (under_agent() and is_first_process()):
        return
    from resnet_lab.tracking.session import Session

    session = Session.last
    if session is not None and session.over:
        return  # the run has begun, and has reported its end itself
    agent = agent_above() if of_machine else None
    try:
        session = session or Session.open({})
        if agent is not None:
            session.give_back()
        session.summarise({"status": "failed", "error": message})
        session.finish(exit_code=1)
    except Exception as error:  # the caller must still print the message
        warnings.warn(f"W&B could not be told of the failure: {error}", stacklevel=2)
    if agent is not None:
        _end(agent)


def agent_above() -> int | None:
    """Process id of the `wandb agent` that started this process; None if there is none."""
    parent = os.getppid()
    words = [Path(word).name for word in _command_line(parent)]
    return parent if ("wandb", "agent") in pairwise(words) else None


def _command_line(process: int) -> list[str]:
    """Words of a process's command line; empty if unknown."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except (OSError, ValueError):
        asked = ["ps", "-o", "args=", "-p", str(process)]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return []


def _end(agent: int) -> None:
    print(
        "W&B: the point goes back to the sweep, and this agent ends: any other point would fail "
        "on this machine as well",
        file=sys.stderr,
        flush=True,
    )
    with contextlib.suppress(ValueError):  # not the main thread: no handlers here
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # --forward-signals sends it back to this process
    os.kill(agent, signal.SIGTERM)
