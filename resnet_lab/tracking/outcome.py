"""How a run came out, as W&B is told: in words, and by an exit code. No torch.

W&B knows no state of its own for a run that diverged. One that is "finished" there counts as good:
a Bayesian search of the server takes the lowest number of its whole history, that of before the
divergence. One that has "failed" counts as badly as the worst of all. So a run that diverged ends
as failed there, with an exit code of its own, and says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAILED = 1
DIVERGED_CODE = 3
"""Exit code, in W&B, of a run whose result is lost: its process ends with 0, as it did its work."""
DIVERGED = "diverged"
"""Status in the summary, tag, and the key of the summary that says who and when."""

SAID = ("status", "error", DIVERGED)
"""Keys of the summary that say how a run came out."""


@dataclass(frozen=True)
class Outcome:
    """How a run came out.

    Attributes:
        summary: status, and error or diverged where there is one.
        exit_code: of the W&B run.
    """

    summary: dict[str, Any]
    exit_code: int


def outcome(info: Mapping[str, Any], metric: str | None = None, *, stopped_by: str) -> Outcome:
    """Say how a run came out.

    Args:
        info: contents of run.json.
        metric: that the sweep goes by, if any, such as plain-56/validation_error.
        stopped_by: who ends a run that is interrupted: "wandb", which wants it so, or "user".
    """
    status = str(info["status"])
    lost = diverged(info)
    steps = (name + ("" if at is None else f" at step {at}") for name, at in lost.items())
    said = {"status": status, "error": info.get("error"), DIVERGED: ", ".join(steps)}
    code = FAILED if status == "failed" or (status == "interrupted" and stopped_by == "user") else 0
    if code == 0 and _decides(lost, metric):
        code = DIVERGED_CODE
        said["status"] = DIVERGED if status == "finished" else status
    return Outcome({key: value for key, value in said.items() if value}, code)


def diverged(info: Mapping[str, Any]) -> dict[str, int | None]:
    """Networks of a run that have diverged, each with its step, where it is known."""
    return {
        one["network"]: one.get("diverged_at")
        for one in info["networks"]
        if one.get("diverged_at") is not None or one.get("status") == DIVERGED
    }


def _decides(lost: Mapping[str, int | None], metric: str | None) -> bool:
    """Whether the run's number is lost: that of the network that the metric names, or any."""
    named = (metric or "").rpartition("/")[0]
    return named in lost if named else bool(lost)
