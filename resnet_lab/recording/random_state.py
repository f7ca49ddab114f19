"""Restoring the random states of a process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def restored_random_state(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Restore the random states of torch (CPU and `device`), NumPy and Python on exit.

    Args:
        device: device whose state is restored beside the CPU's.
        seed: if given, seeds the generators on entry, so that draws inside are reproducible.
    """
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            if seed is not None:
                _seed(device, seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _seed(device: torch.device, seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
