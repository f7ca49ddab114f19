"""The identity of a run: equal for two configurations that give the same result.

An identity holds only what decides a run's result: its networks and seed, a fingerprint of its
data, code that the user has replaced or added, and settings that have an effect and differ from
their defaults. So a setting that is added later, with a default, changes no identity. The identity
is stored in run.json, and its hash is the run's name everywhere.

The rules of a format and the defaults that it leaves out never change: a test pins them. Runs of
format 1, which held every setting but no data fingerprint, keep their identities.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from resnet_lab.configuration.replaced import OF_QUANTITY, foreign_parts
from resnet_lab.data.config import default_validation_size
from resnet_lab.recording.schedule import recording_steps

if TYPE_CHECKING:
    from resnet_lab.configuration.config import Config

FORMAT = 2
FORMAT_1 = {
    "data": (
        *("name", "protocol", "validation_size", "split_seed", "normalise", "augment"),
        "test_view",
    ),
    "recipe": (
        *("iterations", "batch_size", "lr", "momentum", "weight_decay", "nesterov", "drops"),
        *("drop_factor", "plateau_patience", "warmup_steps", "warmup_until_error", "warmup_lr"),
        *("warmup_window", "clip", "clip_scope", "precision", "compile", "ghost_batch"),
        *("precise_bn", "evaluate_every", "test_curve", "log_every"),
    ),
    "recording": ("enabled", "per_decade", "every", "probe_size", "probe"),
}
"""The settings in an identity of format 1; data.test only if it is false."""


@dataclass(frozen=True)
class Identity:
    """The identity of a run.

    Attributes:
        format: format of the run directory and of the rules of this identity.
        content: nested plain values, ready for JSON.
    """

    format: int
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for configurations that give the same result."""
        text = json.dumps(self.content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify(
    config: Config, data: Mapping[str, Any], code: Mapping[str, str] | None = None
) -> Identity:
    """Compute the identity of a configuration's run.

    Args:
        config: configuration of the run.
        data: fingerprint of the dataset.
        code: hashes of code that the user has replaced or added, by its place.
    """
    content = {
        "format": FORMAT,
        "network": [spec.name for spec in config.specs()],
        "seed": config.seed,
        "data": {
            "name": config.data.name,
            **_sparse(config.data, {"name", "workers", *_idle_data(config, data)}),
            "fingerprint": dict(data),
        },
        "recipe": _recipe(config),
        "recording": _sparse(config.recording, _idle_recording(config)),
        **({"code": dict(code)} if code else {}),
    }
    return Identity(FORMAT, json.loads(json.dumps(content)))


def identify_format_1(config: Config) -> Identity | None:
    """The run's identity in format 1; None if that format cannot describe the run."""
    if any(not place.startswith(OF_QUANTITY) for place in foreign_parts(config)):
        return None
    values = config.as_dict()
    content: dict[str, Any] = {
        "network": [spec.name for spec in config.specs()],
        "seed": config.seed,
    }
    for section, names in FORMAT_1.items():
        known = names if section != "data" or config.data.test else (*names, "test")
        later = _sparse(getattr(config, section), {*known, "workers"})
        if later:
            return None
        content[section] = {name: values[section][name] for name in known}
    content["recipe"]["ghost_batch"] = config.ghost_batch
    return Identity(1, content)


def _sparse(section: Any, left_out: Set[str]) -> dict[str, Any]:
    """Fields of a section of the configuration that differ from their defaults."""
    return {
        field.name: getattr(section, field.name)
        for field in fields(section)
        if field.name not in left_out and getattr(section, field.name) != field.default
    }


def _idle_data(config: Config, fingerprint: Mapping[str, Any]) -> set[str]:
    """Data settings that have no effect given the others, or equal the dataset's default."""
    data = config.data
    idle = {"split_seed"} if data.protocol == "full" else set()
    if data.validation_size == default_validation_size(data.name, fingerprint.get("images")):
        idle.add("validation_size")
    return idle


def effective_recipe(config: Config) -> dict[str, Any]:
    """The recipe with settings that have no effect reset to their defaults."""
    recipe = config.recipe
    conditional = recipe.warmup_until_error is not None
    normalises = any(spec.norm == "batch" for spec in config.specs())
    grouped = normalises and config.ghost_batch != recipe.batch_size
    used = {
        "warmup_lr": bool(recipe.warmup_steps) or conditional,
        "warmup_window": conditional,
        "clip_scope": recipe.clip is not None,
        "drop_factor": bool(recipe.drops or recipe.plateau_patience),
        "precise_bn": normalises,
        "test_curve": config.data.test,
    }
    idle = {name: getattr(recipe.__class__, name) for name, effect in used.items() if not effect}
    values = config.as_dict()["recipe"]
    return {**values, **idle, "ghost_batch": config.ghost_batch if grouped else 0}


def _recipe(config: Config) -> dict[str, Any]:
    """Recipe settings that differ from their defaults, normalised to their effect."""
    recipe = effective_recipe(config)
    usual = {one.name: json.loads(json.dumps(one.default)) for one in fields(config.recipe)}
    intervals: tuple[str, ...] = ("evaluate_every", "log_every")
    values = {
        name: value
        for name, value in recipe.items()
        if name not in intervals and value != usual[name]
    }
    if config.data.protocol == "full" and not recipe["test_curve"]:  # nothing to evaluate on
        intervals = ("log_every",)
    for name in intervals:  # an interval longer than the run acts like one as long as the run
        every = min(recipe[name], recipe["iterations"])
        if every != min(usual[name], recipe["iterations"]):
            values[name] = every
    return values


def _idle_recording(config: Config) -> set[str]:
    """Recording settings that have no effect given the others."""
    recording, iterations = config.recording, config.recipe.iterations
    if not recording.enabled:
        return {"per_decade", "every", "probe_size", "probe", "quantities"}
    idle = set() if recording.probe else {"probe_size"}
    if recording_steps(iterations, recording) == recording_steps(iterations, type(recording)()):
        idle |= {"per_decade", "every"}
    return idle
