"""Which launchers' environment variables a run reads in distributed training.

torchrun, SLURM and Lightning number processes by environment variables. Every child process of a
launcher inherits these, even a shell inside an allocation. A run that is not part of that launch
must ignore them: the configuration says how many processes train together.

torch.distributed.run is no substitute: it starts processes, as Lightning does here, and trusts the
variables that it finds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from resnet_lab.configuration.config import TrainerConfig
from resnet_lab.environment import variables_kept
from resnet_lab.errors import UserError

TORCHRUN = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "NODE_RANK"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS"),
)
MEETING = ("MASTER_ADDR", "MASTER_PORT")
SLURM = (
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS"),
    *("SLURM_NTASKS_PER_NODE", "SLURM_NNODES", "SLURM_STEP_ID", "SLURM_STEPID"),
)
OTHERS = (
    *("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
    *("PMI_RANK", "PMI_SIZE"),
)
PEERS = (*TORCHRUN, *MEETING, *SLURM, *OTHERS)
"""Variables by which launchers describe the other processes to each one."""
COUNTS = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "JSM_NAMESPACE_SIZE")
"""Those of them that give the number of processes."""
DEFAULTS = "PL_TRAINER_"
"""Prefix of variables that set Lightning's Trainer arguments; a run's result must follow from its
configuration alone."""


def stand_alone() -> None:
    """Remove the variables of other processes, as sweep workers do not train together."""
    for name in PEERS:
        os.environ.pop(name, None)


@contextmanager
def launched(trainer: TrainerConfig) -> Iterator[None]:
    """While entered, the environment describes only the processes of this run.

    On exit it is restored, without the variables that Lightning has added.

    Args:
        trainer: gives the number of processes that train together.

    Raises:
        UserError: a launcher has started a different number of processes.
    """
    defaults = [name for name in os.environ if name.startswith(DEFAULTS)]
    others = (*_of_another_launch(trainer), *defaults)
    with variables_kept((*PEERS, *defaults)):
        for name in others:
            os.environ.pop(name, None)
        yield


def unheeded(trainer: TrainerConfig) -> str | None:
    """Describe a variable that announces several processes to a single-process run; else None."""
    for name in COUNTS if trainer.processes == 1 else ():
        if os.environ.get(name, "1") != "1":
            return (
                f"{name} is {os.environ[name]}, but trainer.devices and trainer.nodes are 1: "
                "this process trains alone"
            )
    return None


def _of_another_launch(trainer: TrainerConfig) -> tuple[str, ...]:
    """The variables that belong to another launch."""
    if trainer.processes == 1:
        return PEERS
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _check_ranks("torchrun", "RANK", "LOCAL_RANK")
        _check_count("torchrun", "WORLD_SIZE", trainer.processes)
        return (*SLURM, *OTHERS)
    if _started_by_srun():
        _check_ranks("srun", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
        _check_count("srun", "SLURM_NTASKS", trainer.processes)
        _check_count("srun", "SLURM_NTASKS_PER_NODE", trainer.processes_here)
        return (*TORCHRUN, *OTHERS)
    if "LOCAL_RANK" in os.environ:
        _check_ranks("a launcher", "LOCAL_RANK")
        _check_count("a launcher", "WORLD_SIZE", trainer.processes, beside="LOCAL_RANK")
        return (*SLURM, *OTHERS)
    if trainer.nodes == 1:  # Lightning starts the other processes
        return PEERS
    if "SLURM_NTASKS" in os.environ:
        raise UserError(
            f"trainer.nodes is {trainer.nodes}, and nothing has started a process on each: SLURM "
            "does so by srun (see docs/cluster.md)"
        )
    return (*SLURM, *OTHERS)


def _started_by_srun() -> bool:
    """Whether srun started this process as one of many; a batch script is not such a step."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    step = any(name in os.environ for name in ("SLURM_STEP_ID", "SLURM_STEPID"))
    return "SLURM_NTASKS" in os.environ and step and not interactive


def _check_ranks(launcher: str, *names: str) -> None:
    for name in names:
        value = os.environ.get(name)
        if value is None or not value.isdecimal():
            raise UserError(f"{_told(launcher, name)}: it must be a process's number, from 0 up")


def _check_count(launcher: str, name: str, wanted: int, beside: str = "") -> None:
    if os.environ.get(name) != str(wanted):
        what = "each machine has" if name == "SLURM_NTASKS_PER_NODE" else "there are"
        raise UserError(
            f"{_told(launcher, name)}, but by trainer.devices and trainer.nodes {what} {wanted} "
            f"processes: let both say the same, or unset {beside or name} if it is of another "
            "launch"
        )


def _told(launcher: str, name: str) -> str:
    value = os.environ.get(name)
    return f"{name}, which {launcher} sets, is " + ("not there" if value is None else f"'{value}'")
