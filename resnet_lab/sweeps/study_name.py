"""Name of a study in a storage: in a shared storage, a file's name alone would collide."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.files import write_json
from resnet_lab.sweeps.queue import RUN, SLOT
from resnet_lab.sweeps.sweep import Sweep
from resnet_lab.yaml_json import load_json, read_text

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from resnet_lab.sweeps.job import Job

FILE = "study.json"
"""File in a study's folder with the study's name, its storage and a search's fingerprint."""


def shared_name(storage: BaseStorage, job: Job) -> str:
    """The name of a job's study in a shared storage: its own, and a digest of what it is.

    A study that an earlier version began under its name alone keeps it, if it is the same one: a
    search with the same fingerprint, or a grid with some of the same points.

    Raises:
        UserError: the study's folder holds the runs of another search.
    """
    name, fingerprint = job.study, job.fingerprint
    digest = hashlib.sha256((fingerprint or _of_grid(job.sweep)).encode()).hexdigest()[:8]
    whole, begun, known = f"{name}-{digest}", _begun(storage, name), read_study(job.folder)
    others = known.get("search") not in (None, fingerprint)
    if begun is not None:
        trials = storage.get_all_trials(begun, deepcopy=False)
        points = [trial.user_attrs.get(SLOT) for trial in trials]
        agrees = fingerprint is not None or not points or any(one in job.points for one in points)
        kept = storage.get_study_user_attrs(begun).get("fingerprint")
        same = kept == fingerprint and agrees and _begun(storage, whole) is None
        if same and not (fingerprint is not None and others):
            return name
        runs = [str(trial.user_attrs[RUN]) for trial in trials if RUN in trial.user_attrs]
        others |= not same and not known and any((job.folder / run).exists() for run in runs)
    if fingerprint is not None and others:
        raise UserError(
            f"study '{name}' was begun with other parameters, and a search cannot change them on "
            f"its way: its runs are in {job.folder}; give another name with --study"
        )
    return whole


def _of_grid(sweep: Sweep) -> str:
    """What a grid is, however it grows: values may be added to its parameters."""
    constants = {
        name: repr(values) for name, values in sweep.parameters.items() if values.count() == 1
    }
    kept = [sweep.method, sweep.metric.name, repr(sweep.early_terminate), sorted(sweep.parameters)]
    return json.dumps([*kept, constants if sweep.chooses else {}])


def _begun(storage: BaseStorage, name: str) -> int | None:
    with suppress(KeyError):
        return storage.get_study_id_from_name(name)
    return None


def read_study(folder: Path) -> dict[str, Any]:
    """Read the study's record in its folder; empty if there is none."""
    try:
        found = load_json(read_text(folder / FILE))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note_study(folder: Path, name: str, storage: str | None, fingerprint: str | None) -> None:
    """Write a study's name and storage, and a search's fingerprint, into its folder.

    Args:
        folder: the study's own.
        name: of the study in its storage.
        storage: URL without secrets; None: the journal in the folder.
        fingerprint: of a search; None for a grid.
    """
    content = {"study": name, "storage": storage, "search": fingerprint}
    if read_study(folder) != content:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, content)
