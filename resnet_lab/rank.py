"""Which of the processes that train one run together this is: the first writes and speaks."""

from __future__ import annotations

import os

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this process is rank 0, judged by what torchrun, SLURM and Lightning set."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)
