"""Parts that are known for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_lab.networks.part import Part
from resnet_lab.networks.registry import register
from resnet_lab.parts.files import forget_files
from resnet_lab.parts.registry import additions, take_back


@contextmanager
def parts_taken_back() -> Iterator[None]:
    """While entered, parts may be registered and files loaded; left, they are forgotten."""
    before = additions()
    try:
        yield
    finally:
        forget_files()
        take_back(before)


@contextmanager
def registered(*parts: Part) -> Iterator[None]:
    before = additions()
    register(*parts)
    try:
        yield
    finally:
        take_back(before)
