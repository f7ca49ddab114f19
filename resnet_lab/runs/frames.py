"""Run directories as pandas frames, for analysis. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_lab.configuration.config import Config
from resnet_lab.configuration.identity import (
    FORMAT,
    Identity,
    effective_recipe,
    identify_format_1,
)
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.configuration.replaced import OF_QUANTITY
from resnet_lab.errors import UserError, suggest_path
from resnet_lab.files import is_left_behind, user_path
from resnet_lab.runs.directory import OTHERS, identify_again, read_info
from resnet_lab.runs.rows import LAYERS, METRICS
from resnet_lab.runs.run_json import Values
from resnet_lab.runs.stack import NO_ROWS, Rows, Stack, read_rows
from resnet_lab.yaml_json import DocumentError, load_yaml, read_text

FINAL = (
    "train_error",
    "train_loss",
    "validation_error",
    "validation_loss",
    "validation_top5_error",
    "test_error",
    "test_loss",
    "test_top5_error",
)
RECIPE = (
    "iterations",
    "batch_size",
    "lr",
    "optimizer",
    "momentum",
    "weight_decay",
    "warmup_steps",
    "clip",
    "precision",
    "compile",
)
LATER = ("beta2", "eps", "trust_coefficient")
"""Settings added later; the schedule column includes them only if not at their default."""
PRECISIONS = ("float32", "bfloat16")
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, OSError)
"""Exceptions of reading a damaged or foreign run; UserError is a ValueError."""
STATES = ("running", "finished", "diverged", "stopped", "interrupted", "failed")
COUNTS = ("parameters", "multiply_adds", "diverged_at")
ORIGIN = ("device", "processor", "torch", "git", "created")


@dataclass(frozen=True, eq=False)
class Runs:
    """All runs of a directory, as frames.

    Attributes:
        runs: one row per member of a run: run (identity), name, study, path, network, family,
            depth, shortcut, seed, data, data_fingerprint, replaced_code, protocol, normalise,
            augment, train_images, validation_images, test_images (0: there are none),
            num_classes, status, diverged_at, warmup_ended_at, step, recipe columns, parameters,
            multiply_adds, final errors (percent) and losses, wall_seconds, images_per_second,
            device and versions.
        metrics: run, network, step, epoch, split, metric, value.
        layers: run, network, step, quantity, layer, name, stage, block, value.
            In both, text columns are categorical.
        skipped: (path, reason) of entries that could not be read.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    layers: pd.DataFrame
    skipped: list[tuple[str, str]] = field(default_factory=list)


def load_runs(path: str | Path) -> Runs:
    """Read all run directories at or below `path`, finished or not.

    Broken runs and runs whose rows are missing are left out and listed in `skipped`. A run as
    published by a report, run.json and config.yaml alone, has no rows. Of copies of the same run
    only the furthest counts. Hidden folders and system files are ignored; links to folders are not
    followed.

    Raises:
        UserError: `path` does not exist, or has no readable run.
    """
    root = user_path(path)
    if not root.is_dir():
        near = _around(root) if root.exists() else suggest_path(root)
        raise UserError(f"{root} is no directory: give the folder that holds the runs{near}")
    folders = _run_folders(root)
    if not folders:
        raise UserError(f"{root} holds no runs: no run.json at or below it")
    return read_runs(folders, str(root))


def _around(file: Path) -> str:
    inside = file.is_file() and (file.parent / "run.json").is_file()
    return f", did you mean '{file.parent}'?" if inside else ""


def _run_folders(root: Path) -> list[Path]:
    found = (file.parent for file in root.rglob("run.json"))
    return sorted(
        path for path in found if not any(map(is_left_behind, path.relative_to(root).parts))
    )


def foreign_folders(root: Path) -> list[Path]:
    """Topmost folders below `root` that neither are nor contain run directories, sorted.

    This includes links to folders, as they are not followed. Hidden folders and the insides of run
    directories are ignored.
    """
    runs = set(_run_folders(root))
    return sorted(_strangers(root, runs, runs | {parent for run in runs for parent in run.parents}))


def _strangers(folder: Path, runs: set[Path], known: set[Path]) -> Iterator[Path]:
    for path in folder.iterdir() if folder not in runs else ():
        if path.is_dir() and not is_left_behind(path.name):
            if path in known:
                yield from _strangers(path, runs, known)
            else:
                yield path


def read_runs(folders: Sequence[Path], place: str) -> Runs:
    """Read run directories, in this order; see `load_runs`.

    Args:
        folders: the directories.
        place: name of their location in messages.

    Raises:
        UserError: none of them can be read.
    """
    found: dict[str, _Run] = {}
    skipped: list[tuple[str, str]] = []
    metrics, layers = Stack(METRICS), Stack(LAYERS)
    for folder in folders:
        try:
            run, metric_rows, layer_rows = _read_run(folder)
        except _BROKEN as error:
            skipped.append((str(folder), _reason(error)))
            continue
        other = found.setdefault(run.id, run)
        if other is not run:
            less, more = sorted((other, run), key=lambda each: (each.step, each.has_rows))
            found[run.id] = more
            skipped.append((str(less.path), f"the same run as {more.path}"))
            if more is other:
                continue
            metrics.remove(run.id)
            layers.remove(run.id)
        metrics.add(run.id, metric_rows)
        layers.add(run.id, layer_rows)
    if not found:
        reasons = "; ".join(f"{folder}: {reason}" for folder, reason in skipped)
        raise UserError(f"{place} holds no run that can be read: {reasons}")
    members = [row for run in found.values() for row in run.members]
    return Runs(pd.DataFrame(members), metrics.frame(), layers.frame(), skipped)


@dataclass(frozen=True)
class _Run:
    id: str
    path: Path
    step: int
    has_rows: bool
    members: list[dict[str, Any]]


def _read_run(folder: Path) -> tuple[_Run, Rows, Rows]:
    """Read one run directory: the run, its metrics and its layers."""
    info = Values(read_info(folder))
    config, identity = _read_config(folder / "config.yaml", info)
    run = _Run(
        id=info.text("run"),
        path=folder,
        step=info.whole("step"),
        has_rows=not _is_published(folder),
        members=list(_member_rows(folder, info, config, identity)),
    )
    if not run.has_rows:
        return run, NO_ROWS, NO_ROWS
    metrics = read_rows(folder / "metrics.parquet", METRICS)
    return run, metrics, read_rows(folder / "layers.parquet", LAYERS)


def _is_published(folder: Path) -> bool:
    """Whether rows were left out on purpose: a report keeps only run.json and config.yaml.

    Training creates all other files at once. Unrelated files are ignored.
    """
    return not any((folder / name).exists() for name in OTHERS)


def _read_config(file: Path, info: Values) -> tuple[Config, Identity]:
    """Read a run's configuration and check it against the run's identity."""
    values: Any = None
    try:
        values = load_yaml(read_text(file))
        config = Config.from_stored(values)
    except (DocumentError, TypeError, UserError) as error:
        flags = flags_of_parts(values)
        told = f" (it names files of parts: if you trust them, give {flags})" if flags else ""
        raise UserError(f"config.yaml cannot be read: {error}{told}") from error
    known = _stored_identity(info) or identify_format_1(config)
    if known is None:
        raise UserError("config.yaml has settings that a run of format 1 cannot have")
    run, by_config = info.text("run"), identify_again(config, known)
    if known.id != run or by_config.content != known.content:
        raise UserError(f"config.yaml is that of run {by_config.id}, run.json of {run}")
    return config, known


def flags_of_parts(config: Any) -> str:
    """The flags that load the `parts` of a config.yaml; "" if it has none.

    Files named by a run directory are foreign code and are never executed automatically.
    """
    named = config.get("parts") if isinstance(config, dict) else None
    files = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    return " ".join(f"--parts {shlex.quote(file)}" for file in files)


def _stored_identity(info: Values) -> Identity | None:
    """The identity in run.json; None in format 1, where the whole configuration is the identity."""
    if info.values["format"] == 1:
        return None
    return Identity(FORMAT, info.inside("identity").values)


def _member_rows(
    folder: Path, info: Values, config: Config, identity: Identity
) -> Iterator[dict[str, Any]]:
    data, origin, settings = info.inside("data"), info.inside("provenance"), config.data
    recipe = effective_recipe(config)
    info.check(seed=config.seed)
    data.check(
        name=settings.result_name,
        split_seed=settings.split_seed,
        normalise=settings.normalise,
        augment=settings.augment,
        test_view=settings.test_view,
    )
    counts = data.inside("counts")
    state = info.one_of("status", STATES)
    fingerprint = _fingerprint(config, identity)
    code = identity.content.get("code", {})
    replaced = ", ".join(
        f"{place} {digest[:8]}"
        for place, digest in code.items()
        if not place.startswith(OF_QUANTITY)
    )
    for member, spec in zip(info.each("networks"), config.specs(), strict=True):
        member.check(
            network=spec.name, family=spec.family, depth=spec.depth, shortcut=spec.shortcut
        )
        final = member.inside("final")
        yield {
            "run": info.text("run"),
            "name": info.text("name"),
            "study": info.text_or_none("study"),
            "path": str(folder),
            "seed": config.seed,
            "network": spec.name,
            "family": spec.family,
            "depth": spec.depth,
            "shortcut": spec.shortcut,
            **{key: member.whole_or_none(key) for key in COUNTS},
            "status": member.one_of("status", STATES) if state == "finished" else state,
            "warmup_ended_at": member.whole_or_none("warmup_ended_at"),
            "step": info.whole("step"),
            "data": settings.result_name,
            "data_fingerprint": fingerprint,
            "replaced_code": replaced,
            "protocol": data.text("protocol"),
            "split_seed": settings.split_seed,
            "normalise": settings.normalise,
            "augment": settings.augment,
            "test_view": settings.test_view,
            **{
                f"{split}_images": counts.whole(split) if split in counts.values else 0
                for split in ("train", "validation", "test")
            },
            "num_classes": data.whole("num_classes") if "num_classes" in data.values else 0,
            **{key: recipe[key] for key in RECIPE},
            **_arithmetic(origin),
            **{key: final.number(key, 100 if "error" in key else math.inf) for key in FINAL},
            "wall_seconds": origin.number("wall_seconds"),
            "images_per_second": origin.number("images_per_second"),
            **{key: origin.text_or_none(key) for key in ORIGIN},
            "schedule": _schedule(recipe),
        }


def _fingerprint(config: Config, identity: Identity) -> str:
    """The data's short fingerprint; for image folders of format 1 their path."""
    known = identity.content["data"].get("fingerprint")
    if known is None:
        known = config.fingerprint() if config.data.in_memory else {}
    if "train" not in known:
        return f"unknown, in {config.data_dir or 'the default data directory'}"
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]


def _arithmetic(origin: Values) -> dict[str, Any]:
    """The resolved values of "auto", as runs in different precisions differ. Old runs lack them."""
    if "precision" not in origin.values:
        return {}
    compiled = origin.values.get("compile")
    if not isinstance(compiled, bool):
        raise UserError(f"provenance.compile is {compiled!r}, not true or false")
    return {"precision": origin.one_of("precision", PRECISIONS), "compile": compiled}


def _schedule(recipe: Mapping[str, Any]) -> str:
    """The remaining recipe settings, which must agree for two runs to be compared."""
    idle = {one for one in LATER if recipe[one] == getattr(RecipeConfig, one)}
    keys = sorted(set(recipe) - set(RECIPE) - {"log_every", "evaluate_every", "test_curve"} - idle)
    return " ".join(f"{key}={recipe[key]}" for key in keys)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"run.json or config.yaml lacks {error}"
    return " ".join(str(error).split()) or type(error).__name__
