"""Several processes may train one run together; the first of them writes and speaks."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this process is rank 0, judged by what torchrun, SLURM and Lightning set."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return all(rank == "0" for rank in ranks)


PEERS = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"),
    *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
)
"""What SLURM and torchrun tell a process of those that they have started beside it."""


def stand_alone() -> None:
    """Forget the processes beside this one, as workers of a sweep have nothing to do together."""
    for name in PEERS:
        os.environ.pop(name, None)
