"""The last lines of a sweep, of a grid: what its pairs say, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.cli.terminal import printable
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from resnet_lab.runs.directory import RunDirectory


def ending(folder: Path, places: Iterable[RunDirectory], *, smoke: bool = False) -> str:
    """Return the last lines of a grid whose command has done what was asked for.

    Args:
        folder: of the study.
        places: of its runs.
        smoke: whether the runs were but tried.
    """
    if smoke:
        return "next: the same command without --smoke"
    finished = [place.is_finished() for place in places]
    rest = finished.count(False)
    others = f"the other {rest} run{'s' * (rest > 1)}, and then " if rest else ""
    report = f"next: {others}resnet-lab report {shlex.quote(str(folder))} --out report"
    lines = _pairs(folder) if any(finished) else []
    return printable("\n".join([*lines, report]))


def _pairs(folder: Path) -> list[str]:
    """The verdict on each pair of the study, and why others have none."""
    from analysis.pairs import pair_lines
    from resnet_lab.runs.frames import load_runs

    try:
        return pair_lines(load_runs(folder), str(folder))
    except UserError as error:  # the runs are trained all the same
        return [f"the runs cannot be compared: {error}"]
