"""Real runs of a second: 8 narrow layers, a handful of steps on digits; and what they wrote."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from resnet_lab.configuration.config import Config, TrainerConfig
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.config import DataConfig
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.training.cohort import Cohort

ROOT = Path(__file__).resolve().parents[1]
PLAIN, RESIDUAL = PAIR = ("plain-8-x0.25", "resnet-8-x0.25")


def tiny(
    runs_dir: str | Path = "runs",
    *,
    network: str = ",".join(PAIR),
    seed: int = 0,
    data: dict[str, Any] | None = None,
    recording: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    study: str | None = None,
    **recipe: Any,
) -> Config:
    """A configuration of 12 steps of 16 images unless `recipe` says otherwise."""
    short = {"iterations": 12, "batch_size": 16, "log_every": 4, "evaluate_every": 6}
    return Config(
        network=network,
        seed=seed,
        data=DataConfig(**(data or {})),
        recipe=RecipeConfig(**{**short, **recipe}),
        recording=RecordingConfig(**{"probe_size": 16, **(recording or {})}),
        trainer=TrainerConfig(**{"device": "cpu", "progress": False, **(trainer or {})}),
        runs_dir=str(runs_dir),
        study=study,
    )


def info(run: Path) -> dict[str, Any]:
    """The contents of run.json, without its checksum: a test may write others."""
    contents: dict[str, Any] = json.loads((run / "run.json").read_text())
    contents.pop("sha256", None)
    return contents


def member(run: Path, name: str) -> dict[str, Any]:
    """What run.json says of one network."""
    found: dict[str, Any] = next(m for m in info(run)["networks"] if m["network"] == name)
    return found


def resumed(run: Path) -> list[int]:
    """The steps from which a run was continued."""
    return [entry["step"] for entry in info(run)["provenance"].get("resumed", [])]


def rows(run: Path, table: str, network: str | None = None) -> pd.DataFrame:
    """Rows of "metrics" or "layers", of one network or of all."""
    frame = pd.read_parquet(run / f"{table}.parquet")
    chosen = frame if network is None else frame[frame["network"] == network]
    return chosen.reset_index(drop=True)


def series(run: Path, network: str, split: str, metric: str) -> dict[int, float]:
    """One metric of one network: step -> value."""
    frame = rows(run, "metrics", network)
    chosen = frame[(frame["split"] == split) & (frame["metric"] == metric)]
    return dict(zip(chosen["step"].tolist(), chosen["value"].tolist(), strict=True))


def weights(run: Path, network: str) -> dict[str, Tensor]:
    """The state dict that a finished run saved."""
    state: dict[str, Tensor] = torch.load(run / "weights" / f"{network}.pt", weights_only=True)
    return state


def assert_same_result(run: Path, other: Path, *networks: str) -> None:
    """Weights, metric rows and layer rows are equal bit for bit."""
    for network in networks:
        assert_same_weights(weights(run, network), weights(other, network))
        for table in ("metrics", "layers"):
            assert_same_rows(rows(run, table, network), rows(other, table, network))


def assert_same_weights(state: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Equal names and, number by number, equal values; NaN equals NaN."""
    assert list(state) == list(other)
    for name, tensor in state.items():
        torch.testing.assert_close(
            tensor, other[name], rtol=0, atol=0, equal_nan=True, msg=f"{name} differs"
        )


def assert_same_rows(frame: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal rows in the same order; NaN equals NaN."""
    pd.testing.assert_frame_equal(frame, other, check_exact=True)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Do `act` once, in the midst of the update of `step`."""
    undisturbed = Cohort.learn

    def learn(self: Cohort, member: int, images: Tensor, labels: Tensor) -> Tensor:
        if self.global_step == step:
            monkeypatch.setattr(Cohort, "learn", undisturbed)
            act()
        return undisturbed(self, member, images, labels)

    monkeypatch.setattr(Cohort, "learn", learn)


def interrupt(number: int = signal.SIGTERM) -> None:
    """Send this process a signal, as a scheduler or Ctrl-C would."""
    signal.raise_signal(number)
