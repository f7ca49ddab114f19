"""Random numbers in a network that are a function of seed, place and step.

They come from a hash and not from a generator, so that a network draws the same beside others, in
a resumed run, on every device, compiled, and inside a CUDA graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RANGE = 2**31


class Chance(nn.Module):
    """A source of random numbers with its own count of draws.

    Both buffers are in checkpoints: ``key``, which depends on the seed and the module's name, and
    ``step``, the number of draws made.
    """

    key: Tensor
    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("key", torch.empty((), dtype=torch.int64))
        self.register_buffer("step", torch.empty((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        """Draw the key from torch's generator, and begin at step 0."""
        self.key.copy_(torch.randint(RANGE, (), device="cpu"))
        self.step.zero_()

    def happens(self, probability: float, count: int = 1) -> Tensor:
        """Return `count` independent events of a probability, (count,), and count one draw."""
        drawn = mixed(self.key ^ mixed(self.step + 1))
        each = mixed(torch.arange(1, count + 1, device=drawn.device))
        events: Tensor = mixed(drawn ^ each) < round(probability * RANGE)
        self.step.add_(1)
        return events


def mixed(number: Tensor) -> Tensor:
    """Return a hash of integers in [0, 2^31): xor-shifts and odd factors, a bijection."""
    number = number ^ (number >> 16)
    number = number * 0x7FEB352D & (RANGE - 1)  # below 2^62, so int64 does not overflow
    number = number ^ (number >> 15)
    number = number * 0x2C1B3C6D & (RANGE - 1)
    return number ^ (number >> 16)
