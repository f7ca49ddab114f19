"""`resnet-lab sweep FILE --confirm K`: train the best trials of a search again with new seeds.

The best trial of a search is partly lucky. So the best recipes are trained with seeds that the
search has not used, and ranked by their mean. Test images are read only now, and choose nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.study import Study, by_identity, searched_again
from resnet_lab.errors import UserError
from resnet_lab.runs.directory import read_info
from resnet_lab.sweeps.fixed_flags import FixedFlags
from resnet_lab.sweeps.metric import has_result
from resnet_lab.sweeps.queue import RUN
from resnet_lab.sweeps.sweep import Metric

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ENDING = "-confirm"
"""Suffix of the confirmation's study, after the search's name."""
USUAL = 3
"""Default number of seeds."""
_SEED = re.compile(r"_seed(\d+)_")


def confirm(search: Study) -> int:
    """Train the best of a search with fresh seeds, rank them, and return the exit code.

    Args:
        search: the study of the search, with --confirm in its flags.

    Raises:
        UserError: it is no search, is not finished, or its runs are not here.
    """
    study = confirmation(search)
    if study.given.dry_run:
        print("\n".join(study.plan()))
        return 0
    code = study.run()
    print("\n".join(search.found()))
    return code


def confirmation(search: Study) -> Study:
    """The study of the best K of each network, with every fresh seed."""
    if not search.sweep.searches:
        raise UserError(
            f"--confirm: {search.given.file} is a grid, in which nothing was drawn: give its seeds "
            "as a parameter, seed: {values: [0, 1, 2]}, and resnet-lab report ranks by their mean"
        )
    attempts = search.attempts()
    _check_finished(search, attempts)
    chosen = _best(search, attempts, search.given.confirm)
    used = _used_seeds(search, attempts)
    seeds = fresh_seeds(search.given.seeds, used)
    name = f"{search.job.study}{ENDING}"
    job = search.job
    places = [f"--runs-dir={job.folder}", f"--study={name}"]
    places += [f"--data-dir={search.given.data_dir}"] if search.given.data_dir else []
    extra = (*search.extra, *places)
    flags = [
        [f"--config={run / 'config.yaml'}", f"--seed={seed}", "--data.test=true"]
        for run in chosen
        for seed in seeds
    ]
    runs = [(one, parse_config([*one, *extra], "sweep")) for one in flags]
    points, configs, directories = by_identity(runs)
    grid = replace(
        search.sweep,
        method="grid",
        parameters={},
        metric=Metric(search.sweep.metric.name),
        early_terminate=None,
        run_cap=None,
    )
    again = replace(
        job,
        sweep=grid,
        points=points,
        extra=extra,
        fixed=FixedFlags(),
        study=name,
        folder=job.folder / name,
    )
    return Study(search.given, grid, again, configs, directories, search.extra)


def fresh_seeds(wanted: Sequence[int] | None, used: Collection[int]) -> list[int]:
    """Return seeds that a search has not used: the wanted ones, or replacements.

    A seed that the search has used is replaced, with a message.
    """
    if wanted is None:
        free = (number for number in range(len(used) + USUAL) if number not in used)
        return [next(free) for _ in range(USUAL)]
    following = iter(range(1 + max([*wanted, *used], default=0), 2**63))
    seeds = []
    for seed in wanted:
        if seed in used:
            other = next(following)
            print(
                f"seed {seed} is the search's own, whose runs chose the best and so flatter them: "
                f"seed {other} is taken instead",
                file=sys.stderr,
            )
            seeds.append(other)
        else:
            seeds.append(seed)
    return seeds


def read_seeds(text: str | None) -> list[int] | None:
    """Read the value of --seeds, such as 1,2,3.

    Raises:
        UserError: it is no list of different whole numbers.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,18}", word) for word in words):
        raise UserError(f"--seeds is '{text}': give whole numbers, 0 or more, such as 1,2,3")
    seeds = [int(word) for word in words]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise UserError(f"--seeds has {seed} more than once: give each once")
    return seeds


def _check_finished(search: Study, attempts: Mapping[str, FrozenTrial]) -> None:
    """Raise UserError while unfinished trials could still be among the best."""
    total = search.sweep.run_cap or len(attempts)
    ended = sum(trial.state.is_finished() for trial in attempts.values())
    if not attempts or (ended < total and not search.target_is_reached()):
        raise UserError(
            f"--confirm: {ended} of {total or 'no'} runs of the search '{search.job.study}' have "
            f"ended, so its best are not known: first give `{searched_again(search)}`"
        )


def _best(search: Study, attempts: Mapping[str, FrozenTrial], count: int) -> list[Path]:
    """Run directories of the best `count` trials of each network, network by network."""
    sound = sorted(
        (trial for trial in attempts.values() if has_result(trial)),
        key=lambda trial: (trial.value or 0.0, trial.number),
    )
    if not sound:
        raise UserError(
            f"--confirm: no run of the search '{search.job.study}' came to its end with a number"
        )
    of_network: dict[str, list[Path]] = {}
    for trial in sound:
        run = search.job.folder / str(trial.user_attrs[RUN])
        try:
            networks = "+".join(one["network"] for one in read_info(run)["networks"])
        except UserError as error:
            raise UserError(f"--confirm: a run of the search is not here: {error}") from error
        of_network.setdefault(networks, []).append(run)
    if len(of_network) > 1:
        print(
            f"the search holds {len(of_network)} networks: the best {count} of each are trained "
            "again",
            file=sys.stderr,
        )
    return [run for runs in of_network.values() for run in runs[:count]]


def _used_seeds(search: Study, attempts: Mapping[str, FrozenTrial]) -> set[int]:
    """Seeds of all runs of a search; earlier versions let a search draw them."""
    names = (str(trial.user_attrs.get(RUN, "")) for trial in attempts.values())
    drawn = (int(found[1]) for name in names if (found := _SEED.search(name)))
    return {*(config.seed for config in search.configs.values()), *drawn}
