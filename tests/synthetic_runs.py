"""Runs with a chosen truth: the three frames of `load_runs` written down, nothing trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from resnet_lab.networks.complexity import Layer, layer_table
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.schedule import RecordingConfig, recording_steps
from resnet_lab.runs.frames import Runs

RECIPE: dict[str, Any] = {
    "data": "digits",
    "protocol": "1294/143",
    "iterations": 160,
    "batch_size": 128,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "warmup_steps": 0,
    "precision": "32",
}
DEMO_ERRORS = {
    "plain-8-x0.5": 0.2,
    "plain-20-x0.5": 3.0,
    "plain-56-x0.5": 55.0,
    "resnet-8-x0.5": 0.3,
    "resnet-20-x0.5": 0.1,
    "resnet-56-x0.5": 0.0,
}
CURVE_STEPS = 17
METRICS = {"run": str, "network": str, "step": int, "epoch": float, "split": str, "metric": str}
LAYERS = {"run": str, "network": str, "step": int, "quantity": str, "layer": int, "name": str}
TYPES: dict[str, dict[str, type]] = {
    "metrics": {**METRICS, "value": float},
    "layers": {**LAYERS, "stage": int, "block": int, "value": float},
}


def member(
    network: str, seed: int = 0, train_error: float = 5.0, **settings: Any
) -> dict[str, Any]:
    """Return one row of `runs`; `settings` replaces any column."""
    spec = NetworkSpec.parse(network)
    row: dict[str, Any] = {
        "run": f"{seed:016x}",
        "name": f"run-{seed}",
        "study": "synthetic",
        "path": f"runs/synthetic/run-{seed}",
        "network": network,
        "family": spec.family,
        "depth": spec.depth,
        "shortcut": spec.shortcut,
        "seed": seed,
        "status": "finished",
        "diverged_at": None,
        "augment": "none",
        "train_images": 1294,
        "parameters": 1000 * spec.depth,
        "multiply_adds": 10**6 * spec.depth,
        "train_error": train_error,
        "train_loss": train_error / 40,
        "validation_error": train_error + 1,
        "validation_loss": train_error / 30,
        "test_error": train_error + 2,
        "test_loss": train_error / 30,
        "wall_seconds": 12.5,
        "images_per_second": 1600.0,
        "device": "cpu",
        "torch": "2.11.0",
    }
    return {**row, **RECIPE, **settings}


def error_curve(row: Mapping[str, Any]) -> pd.DataFrame:
    """Return a member's training and validation error: straight from 90 % to the final value."""
    steps = np.linspace(0, row["iterations"], CURVE_STEPS).round().astype(int)
    parts = []
    for split in ("train", "validation"):
        value = np.linspace(90.0, row[f"{split}_error"], CURVE_STEPS)
        parts.append(pd.DataFrame({"step": steps, "split": split, "value": value}))
    last = {"step": [row["iterations"]], "split": "test", "value": [row["test_error"]]}
    curve = pd.concat([*parts, pd.DataFrame(last)], ignore_index=True)
    return curve.assign(
        run=row["run"],
        network=row["network"],
        epoch=curve["step"] * row["batch_size"] / 1294,
        metric="error",
    )


def recordings(
    row: Mapping[str, Any], growth: float = 1.2, response: float = 1.0, spread: float = 0.0
) -> pd.DataFrame:
    """Return a member's layers frame.

    |g| of layer l is growth**(depth - l) at every step (so growth is exact in every stage);
    |w| is 3; the relative update is lr |g| / |w|, and 1e-9 in the stem of plain networks deeper
    than 20 from step 16 on; its arctangent is the angle; the response std is `response` in
    every convolution, times exp(+-spread) in turn. At step 0 the mean cosine behind layer l is
    1 - 1 / (l + 1), and the correlation of input gradients 0.9 (residual) or 2**-depth (plain).
    """
    spec = NetworkSpec.parse(row["network"])
    table = layer_table(spec, num_classes=10, in_channels=1, image_size=8)
    steps = recording_steps(row["iterations"], RecordingConfig())
    freezes = spec.family == "plain" and spec.depth > 20
    rows = []
    for step in steps:
        for layer in table:
            norm = growth ** (spec.depth - layer.index)
            update = 1e-9 if freezes and layer.index == 1 and step >= 16 else row["lr"] * norm / 3
            rows.append(_record(layer, step, "gradient_norm", norm))
            rows.append(_record(layer, step, "weight_norm", 3.0))
            rows.append(_record(layer, step, "relative_update", update))
            rows.append(_record(layer, step, "update_angle", np.arctan(update)))
            if layer.kind == "conv":
                sign = 1 if layer.index % 2 else -1
                value = response * np.exp(sign * spread)
                rows.append(_record(layer, step, "response_std", value))
        if step == 0:
            plain = spec.family == "plain"
            correlation = 2.0**-spec.depth if plain else 0.9
            rows.append((0, "gradient_correlation", 0, "", 0, 0, correlation))
            for layer in table[0:-1:2]:
                value = 1 - 1 / (layer.index + 1)
                rows.append(_record(layer, step, "representation_cosine", value))
    columns = ["step", "quantity", "layer", "name", "stage", "block", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(run=row["run"], network=row["network"])


def _record(layer: Layer, step: int, quantity: str, value: float) -> tuple[Any, ...]:
    return (step, quantity, layer.index, layer.name, layer.stage, layer.block, value)


def as_runs(
    members: Sequence[Mapping[str, Any]],
    layers: Sequence[pd.DataFrame] = (),
    curves: bool = True,
    skipped: Sequence[tuple[str, str]] = (),
) -> Runs:
    """Return the object that `load_runs` would, from rows of `member`."""
    recorded = [error_curve(row) for row in members] if curves else []
    return Runs(
        runs=pd.DataFrame(list(members), columns=list(member("plain-8"))),
        metrics=_stack(recorded, TYPES["metrics"]),
        layers=_stack(layers, TYPES["layers"]),
        skipped=list(skipped),
    )


def _stack(frames: Sequence[pd.DataFrame], types: Mapping[str, type]) -> pd.DataFrame:
    """Return the frames below each other, with columns and types as `load_runs` gives them."""
    empty = pd.DataFrame(columns=list(types)).astype(dict(types))
    return pd.concat(frames, ignore_index=True)[list(types)] if frames else empty


def demo_runs(seeds: Sequence[int] = (0, 1, 2), **settings: Any) -> Runs:
    """Return runs in which every claim holds: `DEMO_ERRORS`, each seed's shifted a little."""
    members, layers = [], []
    for seed in seeds:
        for network, error in DEMO_ERRORS.items():
            row = member(network, seed, error * (1 + 0.02 * seed), **settings)
            plain = row["family"] == "plain"
            response = (1.0 if plain else 0.6 - 0.002 * row["depth"]) * (1 + 0.01 * seed)
            growth = (1.2 if plain else 1.05) + 0.003 * seed
            members.append(row)
            layers.append(recordings(row, growth, response, 0.2))
    return as_runs(members, layers)
