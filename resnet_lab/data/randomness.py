"""Random generators seeded by their purpose, independent of earlier draws."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*purpose: int | str) -> int:
    """Return a 63-bit seed, the same on every machine, for e.g. ``(seed, "augment", step)``."""
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def derived_generator(*purpose: int | str) -> torch.Generator:
    """Return a fresh CPU generator seeded by `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*purpose))
