"""The recording steps: log-spaced from step 0, because the first fifty steps decide.

A deep plain network's early layers explode and freeze within about 25 steps, so an even spacing
would miss this or record far too many rows later. The schedule has four parts: step 0, powers of
two, about `per_decade` steps in every factor of ten, and from the step where that would leave too
wide a gap, every multiple of `every`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

from resnet_lab.errors import UserError
from resnet_lab.field_types import Expected, check_fields, refusal
from resnet_lab.recording.quantity import QUANTITIES, Quantity

LAST_POWER_OF_TWO = 16
ALL = "all"
EXTRA = "extra"
LEAST = {"per_decade": 1, "every": 1, "probe_size": 2}
MOST_PER_DECADE = 10_000
"""Largest `per_decade`; more would mean every step, as `every` can say, and take long to list."""


@dataclass(frozen=True)
class RecordingConfig:
    """The quantities to record, and how often.

    Raises:
        UserError: a count is not a whole number, or is below its minimum.
    """

    enabled: bool = True
    """Record at all."""
    per_decade: int = 10
    """Recording steps in each factor of ten of the step number, past step 16."""
    every: int = 1000
    """Largest gap between two recording steps, in optimizer steps."""
    probe_size: int = 128
    """Training images in the fixed batch on which activations are measured."""
    probe: bool = True
    """Measure what takes a pass of that batch as well: activation gradients, layer responses,
    branch/shortcut variances, the user's own quantities."""
    quantities: str = ALL
    """What is measured, by name, separated by commas; "all": everything that is cheap, the user's
    own included; "extra": what is recorded only on request; "all,extra": everything."""

    def __post_init__(self) -> None:
        check_fields(self, _refusal)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise _bad_count(name, getattr(self, name))
        if self.per_decade > MOST_PER_DECADE:
            raise UserError(
                f"recording.per_decade is {self.per_decade}: give {MOST_PER_DECADE:,} or less; "
                "recording.every 1 records every step"
            )
        names = sorted({name.strip() for name in self.quantities.split(",")} - {""})
        object.__setattr__(self, "quantities", ",".join(names) or ALL)

    def chosen(self) -> list[Quantity]:
        """The quantities that are measured.

        Raises:
            UserError: a named quantity is unknown.
        """
        names = set(self.quantities.split(","))
        try:
            named = {QUANTITIES.get(name).name for name in names - {ALL, EXTRA}}
        except UserError as error:
            raise UserError(f"recording.quantities: {error}; --parts loads your own") from error
        known = [
            one
            for one in QUANTITIES.all().values()
            if one.name in named or (ALL if one.default else EXTRA) in names
        ]
        if not self.enabled:
            return []
        return [one for one in known if self.probe or one.needs not in ("probe", "tensors")]


def _refusal(name: str, value: Any, expected: Expected) -> UserError:
    if name in LEAST and value is not None:
        return _bad_count(name, value)
    return refusal("recording")(name, value, expected)


def _bad_count(name: str, value: Any) -> UserError:
    return UserError(
        f"recording.{name} is {value!r}: it must be a whole number, {LEAST[name]} or more "
        f"(default {getattr(RecordingConfig, name)})"
    )


def recording_steps(total: int, config: RecordingConfig) -> tuple[int, ...]:
    """Return the steps at which a run of `total` steps records, in increasing order.

    The first is 0 and the last `total - 1`; no two are further than `config.every` apart. The
    steps depend only on the arguments, so a resumed run records at the same steps as an
    uninterrupted one. Empty when recording is disabled.

    Raises:
        UserError: `total` is smaller than 1.
    """
    if total < 1:
        raise UserError(f"a run of {total} steps has nothing to record: it needs 1 step or more")
    if not config.enabled:
        return ()
    before_last = takewhile(lambda step: step < total - 1, _endless_steps(config))
    return (*before_last, total - 1)


def _endless_steps(config: RecordingConfig) -> Iterator[int]:
    """Yield 0, then log-spaced steps while no gap exceeds `every`, then its multiples."""
    last = 0
    yield last
    for step in _log_spaced(config.per_decade):
        if step - last > config.every:
            break
        yield step
        last = step
    yield from count((last // config.every + 1) * config.every, config.every)


def _log_spaced(per_decade: int) -> Iterator[int]:
    """Yield 1, 2, 4, 8, 16, then 10^(k / per_decade) rounded to whole steps, for ever."""
    power = 1
    while power <= LAST_POWER_OF_TWO:
        yield power
        power *= 2
    last, k = LAST_POWER_OF_TWO, 0
    while True:
        k += 1
        step = round(10 ** (k / per_decade))
        if step > last:
            yield step
            last = step
