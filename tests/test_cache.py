from __future__ import annotations

import gc

import pandas as pd

from analysis.cache import cached_by_runs
from resnet_lab.runs.frames import Runs


def runs(count: int) -> Runs:
    return Runs(pd.DataFrame({"run": range(count)}), pd.DataFrame(), pd.DataFrame())


def test_what_is_asked_for_twice_is_done_once_and_forgotten_with_its_runs() -> None:
    asked: list[int] = []

    @cached_by_runs
    def count(these: Runs) -> int:
        asked.append(len(these.runs))
        return len(these.runs)

    three, two = runs(3), runs(2)
    assert [count(three), count(two), count(three)] == [3, 2, 3]
    assert asked == [3, 2]
    del three
    gc.collect()
    assert [count(runs(3)), count(two)] == [3, 2]
    assert asked == [3, 2, 3]
