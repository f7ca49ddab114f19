"""A sweep: the runs of a study, and how a search chooses them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from resnet_lab.sweeps.distributions import Distribution

if TYPE_CHECKING:
    from optuna import Trial

MOST_RUNS = 10_000
"""Most runs of a study, as each is parsed before the first is trained."""
METRICS = ("validation_error", "validation_loss", "validation_top5_error")
"""Metrics that may choose between runs. Test numbers never do."""


@dataclass(frozen=True)
class Metric:
    """Metric that a search minimises: a number of one network at the last step.

    Attributes:
        name: one of METRICS; for a member of a cohort prefixed with its name, as in W&B:
            "plain-56/validation_error".
        target: no further run begins once one has reached this; None: no target.
    """

    name: str = METRICS[0]
    target: float | None = None


@dataclass(frozen=True)
class Hyperband:
    """Early termination as in W&B: one bracket of successive halving.

    A run continues past evaluation `first`, `first` * eta, `first` * eta^2, ... (counted from 1)
    only if it is among the best 1/eta of the runs that have reached it.
    """

    first: int
    eta: int = 3


@dataclass(frozen=True)
class Sweep:
    """The runs that make a study.

    Attributes:
        name: of the study: the file's `name`, or the file name without its ending.
        method: "grid", or a search: "random" or "bayes".
        parameters: flag of `resnet-lab train` -> its values.
        metric: to minimise.
        early_terminate: how runs are stopped early; None: they are not.
        run_cap: the number of runs of a search; at most so many of a grid.
        content: the file as it was read, for W&B.
        remarks: notes to the user on the file's values.
    """

    name: str
    method: Literal["grid", "random", "bayes"]
    parameters: Mapping[str, Distribution]
    metric: Metric = Metric()
    early_terminate: Hyperband | None = None
    run_cap: int | None = None
    content: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def searches(self) -> bool:
        """Whether values are drawn rather than gone through."""
        return self.method != "grid"

    @property
    def chooses(self) -> bool:
        """Whether results decide which runs there are, or how long they train."""
        return self.searches or self.early_terminate is not None

    @property
    def compares(self) -> bool:
        """Whether runs are compared by one number, so that the metric must be one network's."""
        return self.chooses or self.metric.target is not None

    def points(self) -> Iterator[list[str]]:
        """The flags of each run of a grid; the last parameter varies fastest."""
        # No further value of any parameter is in the first MOST_RUNS points.
        columns = [
            itertools.islice(values.grid(), MOST_RUNS) for values in self.parameters.values()
        ]
        points = (
            flags(dict(zip(self.parameters, values, strict=True)))
            for values in itertools.product(*columns)
        )
        return itertools.islice(points, self.run_cap)

    def corners(self) -> Iterator[list[str]]:
        """Flags that together contain every extreme value of every parameter."""
        extremes = {name: values.extremes() for name, values in self.parameters.items()}
        for number in range(max(map(len, extremes.values()))):
            yield flags({name: each[number % len(each)] for name, each in extremes.items()})

    def draw(self, trial: Trial) -> list[str]:
        """The flags of one run of a search."""
        return flags({name: values.draw(trial, name) for name, values in self.parameters.items()})

    def varied(self, drawn: list[str]) -> list[str]:
        """A run's flags that differ between runs."""
        constant = {name for name, values in self.parameters.items() if len(values.extremes()) == 1}
        return [flag for flag in drawn if flag[2:].split("=")[0] not in constant]

    def fingerprint(self) -> str:
        """Text of the settings that a resumed search must not change, without command flags."""
        kept = {name: repr(values) for name, values in self.parameters.items()}
        return json.dumps([self.method, self.metric.name, repr(self.early_terminate), kept])


def flags(point: Mapping[str, str]) -> list[str]:
    """Write a run's values as flags; a configuration file comes first, as later flags win."""
    names = sorted(point, key=lambda name: name != "config")
    return [f"--{name}={point[name]}" for name in names]
