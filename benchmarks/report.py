"""Output of measurements: a JSON file with hardware, versions and command, and a table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from resnet_lab.runs.provenance import provenance
from resnet_lab.training.device import device_in_words


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers depend on: hardware, versions, code, and the machine's load."""
    known = provenance(device_in_words(device))
    return {
        **{key: known[key] for key in ("created", "device", "processor", "system", "python")},
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        **{name: version(name) for name in ("torch", "torchvision", "pytorch-lightning")},
        "cuda": torch.version.cuda,
        "git": known["git"],
    }


def save(name: str, found: dict[str, Any], out: Path | None, device: torch.device) -> None:
    """Write NAME.json into `out`, where one is given, with command and machine."""
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", *sys.argv])
    contents = {"command": command, "machine": machine(device), **found}
    (out / f"{name}.json").write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as aligned text; the first column is text, the others are numbers."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(titles))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in cells
    )


def _cell(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and value < 1000
        else f"{value:,.0f}"
        if (isinstance(value, float))
        else str(value)
    )
