"""Rank of this process in distributed training: only rank 0 writes files and prints."""

from __future__ import annotations

import os

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this process is rank 0, by the variables that torchrun, SLURM and Lightning set."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)
