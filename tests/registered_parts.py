"""Parts that are known for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_lab.networks.part import Part
from resnet_lab.networks.registry import register
from resnet_lab.parts.registry import additions, take_back


@contextmanager
def registered(*parts: Part) -> Iterator[None]:
    before = additions()
    register(*parts)
    try:
        yield
    finally:
        take_back(before)
