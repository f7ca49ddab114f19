"""Parts that are known for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_lab.networks import registry
from resnet_lab.networks.part import Part


@contextmanager
def registered(*parts: Part) -> Iterator[None]:
    registry.register(*parts)
    try:
        yield
    finally:
        registry.unregister(*parts)
