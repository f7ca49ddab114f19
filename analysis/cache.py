"""Cache of results that many parts of a report need, one entry a set of runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from resnet_lab.runs.frames import Runs

T = TypeVar("T")


def cached_by_runs(function: Callable[[Runs], T]) -> Callable[[Runs], T]:
    """Cache the result of a function of runs for as long as the runs exist.

    Callers share the result and must not change it.
    """
    known: WeakKeyDictionary[Runs, T] = WeakKeyDictionary()

    @wraps(function)
    def remembering(runs: Runs) -> T:
        if runs not in known:
            known[runs] = function(runs)
        return known[runs]

    return remembering
