"""Load the runs of a W&B project as the frames that `load_runs` makes of directories."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.errors import UserError
from resnet_lab.files import user_path
from resnet_lab.runs.directory import FILES
from resnet_lab.runs.frames import Runs, read_runs
from resnet_lab.tracking.session import FOLDER, log_in
from resnet_lab.yaml_json import load_json, read_text

if TYPE_CHECKING:
    import wandb

DOWNLOADS = 8
"""Runs that are downloaded at the same time."""


def load_wandb(
    project: str, *, filters: Mapping[str, Any] | None = None, cache: str | Path | None = None
) -> Runs:
    """Read all runs of a W&B project that resnet_lab has tracked, finished or not.

    The files of their run directories are read, so nothing is sampled or rounded. The frames equal
    those that `load_runs` makes of the directories, except that the column `path` names the W&B
    run, entity/project/id.

    Args:
        project: "entity/project", or "project" of the login's own entity.
        filters: which runs, in W&B's query language, such as {"group": "demo_digits"}.
        cache: a folder that keeps the files, so that later calls download only changed ones;
            without it they are deleted afterwards.

    Raises:
        UserError: W&B cannot be used, there is no such project, or it holds no run of resnet_lab.
    """
    log_in()
    import wandb

    try:
        runs = list(wandb.Api().runs(project, filters=dict(filters or {})))
    except (ValueError, wandb.Error) as error:
        raise UserError(f"W&B does not list the runs of '{project}': {error}") from error
    with _folder(cache) as folder, ThreadPoolExecutor(DOWNLOADS) as pool:
        copies = list(pool.map(lambda run: _download(run, folder / _folder_name(run.id)), runs))
        return _read(project, dict(zip(map(_path, runs), copies, strict=True)))


@contextlib.contextmanager
def _folder(cache: str | Path | None) -> Iterator[Path]:
    if cache is not None:
        yield user_path(cache)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _folder_name(run_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", run_id):
        raise UserError(f"W&B names a run '{run_id}', which is no folder's name")
    return run_id


def _download(run: wandb.apis.public.Run, folder: Path) -> Path | None:
    """Download the files of a run directory; None where there is none."""
    names = [f"{FOLDER}/{name}" for name in FILES]
    # Only known names are requested: a server might offer a name that leads out of the folder.
    files = {file.name: file for file in run.files(names=names) if file.name in names}
    if f"{FOLDER}/run.json" not in files:
        return None
    for name, file in files.items():
        if not _is_same(folder / name, file.md5):
            file.download(root=str(folder), replace=True).close()
    return folder / FOLDER


def _is_same(path: Path, md5: str) -> bool:
    """Whether a file is already in the folder, by W&B's checksum (base64)."""
    if not path.exists():
        return False
    return base64.b64encode(hashlib.md5(path.read_bytes()).digest()).decode() == md5


def _read(project: str, copies: Mapping[str, Path | None]) -> Runs:
    here = {folder: path for path, folder in copies.items() if folder is not None}
    foreign = [(path, "not a run of resnet_lab") for path, at in copies.items() if at is None]
    if not here:
        raise UserError(
            f"the W&B project '{project}' holds no run of resnet_lab ({len(foreign)} others)"
        )
    runs = read_runs(sorted(here, key=_place), f"the W&B project '{project}'")
    names = {str(folder): path for folder, path in here.items()}
    skipped = [(names[folder], _renamed(reason, names)) for folder, reason in runs.skipped]
    located = runs.runs.assign(path=runs.runs["path"].map(names))
    return replace(runs, runs=located, skipped=skipped + foreign)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for folder, path in names.items():
        text = text.replace(folder, path)
    return text


def _place(folder: Path) -> tuple[str, ...]:
    """Original path of the run directory, to sort runs as `load_runs` does."""
    try:
        info = load_json(read_text(folder / "run.json"))
        return tuple(str(part) for part in (info["study"], info["name"]) if part)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _path(run: wandb.apis.public.Run) -> str:
    return "/".join([run.entity, run.project, run.id])
