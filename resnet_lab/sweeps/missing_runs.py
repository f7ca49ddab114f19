"""Runs that a study has as done but that are missing from this runs directory.

A shared storage knows that a run has ended, not whether its directory is here. A run counts only
if it can be read.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.errors import UserError
from resnet_lab.runs.directory import read_info
from resnet_lab.sweeps.queue import PLACE, RUN

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Place = tuple[str, str]
"""A machine, and a study's folder on it."""
UNKNOWN: Place = ("", "")
"""Place of runs of an earlier version, which did not store it."""


def place_of(folder: Path) -> dict[str, str]:
    """Attributes stored for a run: this machine, and the study's folder on it."""
    return {"host": socket.gethostname(), "folder": str(folder.resolve())}


@dataclass(frozen=True)
class MissingRuns:
    """Runs that have ended according to the study but are not in this runs directory.

    Attributes:
        gone: slots whose directories were written here, and have been removed.
        elsewhere: place -> slots whose runs were written there.
    """

    gone: tuple[str, ...]
    elsewhere: Mapping[Place, tuple[str, ...]]

    @property
    def slots(self) -> set[str]:
        """All of them."""
        return {*self.gone, *(slot for slots in self.elsewhere.values() for slot in slots)}


def missing_runs(
    attempts: Mapping[str, FrozenTrial],
    slots: Iterable[str],
    places: Mapping[str, Path],
    folder: Path,
    shared: bool,
) -> MissingRuns:
    """Find the ended runs of slots that are not in this runs directory.

    Args:
        attempts: the last attempt at each slot.
        slots: that the sweep wants.
        places: directories of runs known by slot; for others the trial names the directory.
        folder: the study's own, in this runs directory.
        shared: whether the storage lies elsewhere. A journal in the study's folder moves with it.
    """
    here = place_of(folder)
    gone: tuple[str, ...] = ()
    elsewhere: dict[Place, tuple[str, ...]] = {}
    for slot in slots:
        trial = attempts.get(slot)
        if trial is None or trial.state.name not in ("COMPLETE", "PRUNED"):
            continue
        if _has_ended(places.get(slot) or folder / str(trial.user_attrs.get(RUN))):
            continue
        noted = trial.user_attrs.get(PLACE, {})
        if not shared or noted == here:
            gone += (slot,)
        else:
            place = str(noted.get("host", "")), str(noted.get("folder", ""))
            elsewhere[place] = (*elsewhere.get(place, ()), slot)
    return MissingRuns(gone, elsewhere)


def _has_ended(run: Path) -> bool:
    """Whether this run directory exists with a run that finished or that its sweep stopped."""
    try:
        return read_info(run).get("status") in ("finished", "stopped")
    except UserError:
        return False


def check_runs_dir(found: MissingRuns, study: str, folder: Path) -> None:
    """Raise UserError where this machine has the study's runs in another runs directory.

    Training the rest here would split the study; training all of it here would repeat it.
    """
    for (host, written), slots in found.elsewhere.items():
        if host == socket.gethostname():
            runs, are = ("1 run", "is") if len(slots) == 1 else (f"{len(slots)} runs", "are")
            is_there = "" if Path(written).is_dir() else ", which is not there any more"
            raise UserError(
                f"the study '{study}' of this storage has {runs} finished that {are} not in "
                f"{folder}: written to {written}{is_there}. Give --runs-dir "
                f"{Path(written).parent} to go on there, copy its runs here, or give another "
                "--study to train all of them here"
            )


def missing_lines(found: MissingRuns) -> list[str]:
    """Say how many runs are elsewhere, and where."""
    lines = []
    for place, slots in found.elsewhere.items():
        runs = "1 run is" if len(slots) == 1 else f"{len(slots)} runs are"
        where = (
            "in a runs directory that an earlier version did not note"
            if place == UNKNOWN
            else f"in {place[1]} on {place[0]}"
        )
        lines.append(
            f"{runs} finished elsewhere, {where}: copy into this runs directory, or give a "
            "--runs-dir that all machines see, or another --study to train them here"
        )
    return lines
