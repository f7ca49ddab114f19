"""Work that many parts of a report ask for, done once for each set of runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from resnet_lab.runs.frames import Runs

T = TypeVar("T")


def cached_by_runs(function: Callable[[Runs], T]) -> Callable[[Runs], T]:
    """Keep what a function of runs returns for as long as the runs themselves are kept.

    Callers share the result, and must not change it.
    """
    known: WeakKeyDictionary[Runs, T] = WeakKeyDictionary()

    @wraps(function)
    def remembering(runs: Runs) -> T:
        if runs not in known:
            known[runs] = function(runs)
        return known[runs]

    return remembering
