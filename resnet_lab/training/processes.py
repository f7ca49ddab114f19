"""Several processes may train one run together; the first of them writes and speaks."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this process is rank 0, judged by what torchrun, SLURM and Lightning set."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return all(rank == "0" for rank in ranks)
