"""Checks that a sweep, its command line and its runs agree: nothing is overridden silently."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.sweeps.fixed_flags import FixedFlags, value_given
from resnet_lab.sweeps.job import setting
from resnet_lab.sweeps.metric import split_metric
from resnet_lab.sweeps.sweep import Sweep

TOP5_CLASSES = 100
"""Data of fewer classes have no top-5 error."""


def check_choice(sweep: Sweep, config: Config) -> None:
    """Raise UserError unless the metric names a number that one network of each run will have.

    Args:
        sweep: the sweep with the metric.
        config: configuration of one of its runs.
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
    classes = config.data.dataset.num_classes or TOP5_CLASSES
    if classes < TOP5_CLASSES and sweep.metric.name.endswith("validation_top5_error"):
        raise UserError(
            f"metric is '{sweep.metric.name}', but {config.data.name} has only {classes} classes: "
            "choose validation_error or validation_loss"
        )


def _check_member(sweep: Sweep, config: Config) -> None:
    """Raise UserError unless the metric names one network of a cohort, and none of a lone one."""
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


def check_early_termination(sweep: Sweep, config: Config) -> None:
    """Raise UserError if no run would ever reach the first evaluation that could stop it."""
    if sweep.early_terminate is None:
        return
    recipe = config.recipe
    evaluations = (recipe.iterations - 1) // recipe.evaluate_every
    if sweep.early_terminate.first > evaluations:
        raise UserError(
            f"early_terminate would stop runs at evaluation {sweep.early_terminate.first}, but a "
            f"run has only {evaluations} before its last: lower min_iter or recipe.evaluate_every "
            f"({recipe.evaluate_every})"
        )


def check_varied(
    sweep: Sweep,
    runs: Sequence[tuple[Sequence[str], Config]],
    parse: Callable[[Sequence[str]], Config],
    fixed: FixedFlags,
    smoke: Sequence[str] = (),
) -> list[str]:
    """Find flags that override a parameter which the sweep varies, in any spelling.

    On the command line that is an error. In the file's own command it is allowed and reported.

    Args:
        sweep: the file.
        runs: (flags of the point alone, configuration with all flags): all of a grid, or the
            extremes of a search.
        parse: makes a configuration of flags.
        fixed: flags of the file's command.
        smoke: flags of --smoke, which may override varied parameters.

    Returns:
        One sentence for each parameter that the file's command overrides.

    Raises:
        UserError: flags after -- on the command line override a varied parameter.
    """
    spared = {"config", *(flag.removeprefix("--").partition("=")[0] for flag in smoke)}
    points = [_values(flags) for flags, _ in runs]
    told = []

    def without_extra(kept: FixedFlags) -> list[Config]:
        """The runs' configurations with these fixed flags and no extra flags."""
        return [parse([*kept.around(flags), *smoke]) for flags, _ in runs]

    for name in sweep.parameters:
        written = sorted({point[name] for point in points})
        if name in spared or len(written) < 2:
            continue
        value = setting(runs[0][1], name)
        if any(setting(config, name) != value for _, config in runs):
            continue
        varies = f"gives every run {name} {value}, but the sweep varies it ({_shown(written)})"
        if any(setting(config, name) != value for config in without_extra(fixed)):
            raise UserError(
                f"what follows -- {varies}: leave it out, or give the parameter that one value in "
                "the file"
            )
        before = without_extra(FixedFlags(fixed.before))
        if any(setting(config, name) != value for config in before):
            told.append(f"the file's command {varies}: those values are not used")
    files = sweep.parameters.get("config")
    if files is not None and len(files.extremes()) > 1:
        left = len({repr(config) for _, config in runs})
        different = len(set(map(repr, without_extra(fixed))))
        if left < different:
            raise UserError(
                "what follows -- overrides what the files of the parameter 'config' say: of "
                f"{different} different runs {left} would be left; leave it out"
            )
    return told


def _values(flags: Sequence[str]) -> dict[str, str]:
    """Parameter -> value of a point's flags."""
    pairs = (flag.removeprefix("--").partition("=") for flag in flags)
    return {name: value for name, _, value in pairs}


def _shown(values: Sequence[str], most: int = 4) -> str:
    return ", ".join([*values[:most], *(["..."] if values[most:] else [])])


def check_places(
    given: argparse.Namespace, sweep: Sweep, fixed: Sequence[str], extra: Sequence[str]
) -> None:
    """Raise UserError if other flags contradict the command's study, runs or data directory.

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
    """Yield (place, value) wherever something but the sweep's own flags sets this name."""
    for parameter, values in sweep.parameters.items():
        if parameter.replace("-", "_") == name:
            yield f"the parameter '{parameter}' is", ", ".join(values.extremes())
    for place, flags in (("the file's command", fixed), ("what follows --", extra)):
        value = value_given(flags, name)
        if value is not None:
            yield f"{place} sets --{name.replace('_', '-')} to", value
