"""Whether a sweep, its command line and its runs fit each other: nothing may win in silence."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from resnet_lab.errors import UserError
from resnet_lab.sweeps.command import value_given
from resnet_lab.sweeps.cost import SHAPES
from resnet_lab.sweeps.space import Sweep
from resnet_lab.sweeps.verdict import split_metric
from resnet_lab.training.config import Config

TOP5_CLASSES = 100
"""Data of fewer classes have no top-5 error."""


def check_choice(sweep: Sweep, config: Config) -> None:
    """Raise UserError where the metric is no number of one network that a run will have.

    Args:
        sweep: whose metric.
        config: of one of its runs.
    """
    if sweep.chooses and config.data.test:
        raise UserError("data.test is true: a search must not read test images")
    _check_member(sweep, config)
    if not sweep.compares:
        return
    if config.data.protocol == "full":
        raise UserError(
            f"metric is '{sweep.metric.name}', but data.protocol 'full' holds no validation images "
            "out: choose data.protocol 'validation'"
        )
    classes = SHAPES.get(config.data.name, (TOP5_CLASSES,))[0]
    if classes < TOP5_CLASSES and sweep.metric.name.endswith("validation_top5_error"):
        raise UserError(
            f"metric is '{sweep.metric.name}', but {config.data.name} has only {classes} classes: "
            "choose validation_error or validation_loss"
        )


def _check_member(sweep: Sweep, config: Config) -> None:
    """Runs are compared by one network's number: of a cohort the metric names which."""
    metric = sweep.metric.name
    network, plain = split_metric(metric)
    names = [spec.name for spec in config.specs()]
    several = len(names) > 1
    ways = ", ".join(f"{name}/{plain}" for name in names)
    if network is None and several and sweep.compares:
        raise UserError(
            f"metric is '{metric}', but each run trains {len(names)} networks, {config.network}: "
            f"name the one that decides ({ways}), or train one network a run"
        )
    if network is not None and (network not in names or not several):
        raise UserError(
            f"metric is '{metric}', but a run trains {config.network}: give "
            + (f"one of {ways}" if several else plain)
        )


def check_places(
    given: argparse.Namespace, sweep: Sweep, fixed: Sequence[str], extra: Sequence[str]
) -> None:
    """Raise UserError where something else says where runs go or data lie than the command does.

    Args:
        given: the command's own flags.
        sweep: the file.
        fixed: flags of the file's command.
        extra: what follows a lone -- on the command line.
    """
    chosen = {"study": given.study or sweep.name, "runs_dir": given.runs_dir}
    chosen |= {"data_dir": given.data_dir} if given.data_dir else {}
    for name, value in chosen.items():
        flag = f"--{name.replace('_', '-')}"
        for place, other in _said_elsewhere(name, sweep, fixed, extra):
            if other != str(value):
                raise UserError(
                    f"{place} {other}, but the sweep itself has {flag} {value}: leave the first "
                    f"out, and say it by the sweep's own {flag} alone"
                )


def _said_elsewhere(
    name: str, sweep: Sweep, fixed: Sequence[str], extra: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(where, value) of everything but the sweep's own flags that sets one of them."""
    for parameter, values in sweep.parameters.items():
        if parameter.replace("-", "_") == name:
            yield f"the parameter '{parameter}' is", ", ".join(values.extremes())
    for place, flags in (("the file's command", fixed), ("what follows --", extra)):
        value = value_given(flags, name)
        if value is not None:
            yield f"{place} sets --{name.replace('_', '-')} to", value
