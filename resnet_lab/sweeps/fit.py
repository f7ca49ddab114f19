"""Whether a sweep, its command line and its runs fit each other: nothing may win in silence."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.sweeps.cost import SHAPES
from resnet_lab.sweeps.fixed_flags import FixedFlags, value_given
from resnet_lab.sweeps.sweep import Sweep
from resnet_lab.sweeps.verdict import split_metric
from resnet_lab.sweeps.work import setting

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


def check_varied(
    sweep: Sweep,
    runs: Sequence[tuple[Sequence[str], Config]],
    parse: Callable[[Sequence[str]], Config],
    fixed: FixedFlags,
    smoke: Sequence[str] = (),
) -> list[str]:
    """Look for what gives every run one value of what the sweep varies, however it is written.

    On the command line that is a mistake. The file's own command may do it, and it is said.

    Args:
        sweep: the file.
        runs: (flags of the point alone, configuration with all flags): all of a grid, or the
            extremes of a search.
        parse: makes a configuration of flags.
        fixed: flags of the file's command.
        smoke: flags of --smoke, which may give every run one value.

    Returns:
        What the file's command overrides, a sentence each.

    Raises:
        UserError: what follows -- on the command line overrides it.
    """
    spared = {flag.removeprefix("--").partition("=")[0] for flag in smoke}
    points = [dict(_pairs(flags)) for flags, _ in runs]
    told = []
    for name in sweep.parameters:
        written = sorted({point[name] for point in points})
        if name == "config" or name in spared or len(written) < 2:
            continue
        value = setting(runs[0][1], name)
        if any(setting(config, name) != value for _, config in runs):
            continue
        varies = f"gives every run {name} {value}, but the sweep varies it ({_shown(written)})"
        if _differ(runs, name, value, parse, fixed, smoke):
            raise UserError(
                f"what follows -- {varies}: leave it out, or give the parameter that one value in "
                "the file"
            )
        if _differ(runs, name, value, parse, FixedFlags(fixed.before), smoke):
            told.append(f"the file's command {varies}: those values are not used")
    _check_files(sweep, runs, parse, fixed, smoke)
    return told


def _differ(
    runs: Sequence[tuple[Sequence[str], Config]],
    name: str,
    value: object,
    parse: Callable[[Sequence[str]], Config],
    fixed: FixedFlags,
    smoke: Sequence[str],
) -> bool:
    """Whether some run has another value of a setting with these fixed flags alone."""
    bare = (parse([*fixed.around(flags), *smoke]) for flags, _ in runs)
    return any(setting(config, name) != value for config in bare)


def _check_files(
    sweep: Sweep,
    runs: Sequence[tuple[Sequence[str], Config]],
    parse: Callable[[Sequence[str]], Config],
    fixed: FixedFlags,
    smoke: Sequence[str],
) -> None:
    """Raise UserError where runs of several files become fewer: their contents are overridden."""
    files = sweep.parameters.get("config")
    if files is None or len(files.extremes()) < 2:
        return
    left = len({repr(config) for _, config in runs})
    before = len({repr(parse([*fixed.around(flags), *smoke])) for flags, _ in runs})
    if left < before:
        raise UserError(
            "what follows -- overrides what the files of the parameter 'config' say: of "
            f"{before} different runs {left} would be left; leave it out"
        )


def _pairs(flags: Sequence[str]) -> Iterator[tuple[str, str]]:
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        yield name, value


def _shown(values: Sequence[str], most: int = 4) -> str:
    return ", ".join([*values[:most], *(["..."] if values[most:] else [])])


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
