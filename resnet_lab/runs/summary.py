"""Summary of a run for the terminal."""

from __future__ import annotations

from typing import Any

COLUMNS = {
    "train_error": "train error %",
    "validation_error": "validation error %",
    "test_error": "test error %",
}


def summary_lines(info: dict[str, Any]) -> list[str]:
    """Final errors of each member, one line per member under a header.

    Args:
        info: contents of run.json.
    """
    members = info["networks"]
    width = max(len("network"), *(len(member["network"]) for member in members))
    header = [f"{'network':<{width}}", *(f"{title:>20}" for title in COLUMNS.values())]
    lines = ["".join(header)]
    for member in members:
        cells = [f"{_percent(member['final'].get(key)):>20}" for key in COLUMNS]
        note = f"  diverged at step {member['diverged_at']}" if _diverged(member) else ""
        lines.append(f"{member['network']:<{width}}{''.join(cells)}{note}")
    data = info["data"]
    lines.append(f"{data['name']} {data['protocol']}, seed {info['seed']}, step {info['step']}")
    return lines


def _diverged(member: dict[str, Any]) -> bool:
    return member.get("diverged_at") is not None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
