"""All runs of a sweep, one after the other in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory, read_info
from resnet_lab.training.config import Config


@dataclass(frozen=True)
class Outcome:
    """How a sweep went.

    Attributes:
        finished: runs that are done, now or before.
        failed: (name, error) of runs that raised.
        interrupted: whether it was stopped before its end.
    """

    finished: int
    failed: tuple[tuple[str, str], ...]
    interrupted: bool = False


def run_sweep(configs: Sequence[Config]) -> Outcome:
    """Train every run that is not finished; one that fails does not keep the others from it.

    Progress is told on standard error, a line a run.

    Raises:
        UserError: the first run to be trained cannot begin: data are missing, say. What comes up
            later counts as that run's failure, as hours may lie before it and behind it.
    """
    failed: list[tuple[str, str]] = []
    finished, trained = 0, 0
    for number, config in enumerate(configs, start=1):
        run = RunDirectory.of(config)
        if run.is_finished():
            finished += 1
            continue
        name = run.path.name
        print(f"run {number} of {len(configs)}: {name}", file=sys.stderr, flush=True)
        try:
            status = _train(config)
        except Exception as error:
            if isinstance(error, UserError) and not trained and not failed:
                raise
            failed.append((name, f"{type(error).__name__}: {error}"))
            print(f"failed: {failed[-1][1]}", file=sys.stderr)
            continue
        trained += 1
        if status == "interrupted":
            return Outcome(finished, tuple(failed), interrupted=True)
        finished += 1
    return Outcome(finished, tuple(failed))


def _train(config: Config) -> str:
    from resnet_lab.training.train import train

    return str(read_info(train(config))["status"])
