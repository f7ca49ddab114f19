"""Outcome of a run as reported to W&B: summary values and an exit code. No torch.

W&B has no state for a diverged run. A "finished" run counts as good: the server's Bayesian search
takes the lowest number of its whole history, from before the divergence. A "failed" run counts as
badly as the worst of all. So a diverged run ends as failed in W&B, with its own exit code and
status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAILED = 1
DIVERGED_CODE = 3
"""Exit code, in W&B, of a run whose result is lost by divergence; its process exits with 0."""
DIVERGED = "diverged"
"""Status in the summary, tag, and the summary key for the diverged networks and their steps."""

SAID = ("status", "error", DIVERGED)
"""Keys of the summary for a run's outcome."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    Attributes:
        summary: status, and error or diverged where there is one.
        exit_code: of the W&B run.
    """

    summary: dict[str, Any]
    exit_code: int


def outcome(info: Mapping[str, Any], metric: str | None = None, *, stopped_by: str) -> Outcome:
    """Return the outcome of a run.

    Args:
        info: contents of run.json.
        metric: of the sweep, if any, such as plain-56/validation_error.
        stopped_by: source of an interruption: "wandb" (intended, no failure) or "user".
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
    """Diverged networks of a run, each with its step, if known."""
    return {
        one["network"]: one.get("diverged_at")
        for one in info["networks"]
        if one.get("diverged_at") is not None or one.get("status") == DIVERGED
    }


def _decides(lost: Mapping[str, int | None], metric: str | None) -> bool:
    """Whether the network that the metric names has diverged; without a name, any network."""
    named = (metric or "").rpartition("/")[0]
    return named in lost if named else bool(lost)
