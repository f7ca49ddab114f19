from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_lab.errors import UserError
from resnet_lab.recording.schedule import RecordingConfig, recording_steps

DEFAULT = RecordingConfig()
totals = st.integers(1, 20_000)
configs = st.builds(RecordingConfig, per_decade=st.integers(1, 40), every=st.integers(1, 5000))


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (1, (0,)),
        (2, (0, 1)),
        (3, (0, 1, 2)),
        (4, (0, 1, 2, 3)),
        (20, (0, 1, 2, 4, 8, 16, 19)),
        (100, (0, 1, 2, 4, 8, 16, 20, 25, 32, 40, 50, 63, 79, 99)),
    ],
)
def test_short_runs_record_these_steps(total: int, expected: tuple[int, ...]) -> None:
    assert recording_steps(total, DEFAULT) == expected


def test_the_papers_run_has_ten_steps_a_decade_and_then_one_every_thousand() -> None:
    steps = recording_steps(64_000, DEFAULT)
    assert sum(100 <= step < 1000 for step in steps) == 10
    assert steps[-4:] == (61_000, 62_000, 63_000, 63_999)
    assert [step for step in steps if 3000 < step < 7000] == [3162, 3981, 4000, 5000, 6000]
    assert len(steps) == 91


def test_a_small_gap_overrides_the_logarithm() -> None:
    assert recording_steps(13, RecordingConfig(every=3)) == (0, 1, 2, 4, 6, 9, 12)
    assert recording_steps(5, RecordingConfig(every=1)) == (0, 1, 2, 3, 4)


def test_one_step_a_decade_is_powers_of_ten_past_sixteen() -> None:
    steps = recording_steps(20_000, RecordingConfig(per_decade=1, every=100_000))
    assert steps == (0, 1, 2, 4, 8, 16, 100, 1000, 10_000, 19_999)


def test_disabled_recording_has_no_steps() -> None:
    assert recording_steps(1000, RecordingConfig(enabled=False)) == ()


@given(totals, configs)
def test_steps_increase_from_the_first_to_the_last_without_a_wide_gap(
    total: int, config: RecordingConfig
) -> None:
    steps = recording_steps(total, config)
    assert steps[0] == 0
    assert steps[-1] == total - 1
    assert all(0 < after - before <= config.every for before, after in pairwise(steps))


@given(totals, totals, configs)
def test_a_longer_run_records_where_a_shorter_one_does_but_for_the_last_step(
    total: int, more: int, config: RecordingConfig
) -> None:
    shorter = recording_steps(total, config)[:-1]
    assert recording_steps(total + more, config)[: len(shorter)] == shorter


@pytest.mark.parametrize(
    ("name", "value"), [("per_decade", 0), ("every", -1), ("probe_size", 1), ("every", 2.5)]
)
def test_a_bad_count_is_named_with_its_rule(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"recording\.{name} is {value}: .* or more"):
        RecordingConfig(**{name: value})  # type: ignore[arg-type]


def test_more_steps_a_decade_than_can_be_laid_out_are_refused() -> None:
    with pytest.raises(UserError, match=r"per_decade is 10001: give 10,000 or less; .*every 1"):
        RecordingConfig(per_decade=10_001)
    assert recording_steps(100, RecordingConfig(per_decade=10_000))[5:] == tuple(range(16, 100))


def test_a_run_without_steps_is_refused() -> None:
    with pytest.raises(UserError, match="0 steps"):
        recording_steps(0, DEFAULT)


def test_the_schedule_is_read_without_torch() -> None:
    code = "import sys, resnet_lab.recording.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
