"""Checkpoint files: training state and recorded rows, with a checksum at the end.

A checkpoint holds everything needed to resume a run, including its rows and run.json. Damaged or
missing files of the run directory are rewritten from it. `torch.load` can read it too.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from resnet_lab.files import write_bytes
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.runs.rows import LAYERS, METRICS, encoded, read_table

MARK = b"\nsha256 "
TRAILER = len(MARK) + 64 + 1


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a checkpoint that Lightning does not read itself.

    Attributes:
        path: the file.
        step: updates made.
        info: contents of run.json at that step.
        metrics: rows of metrics.parquet.
        layers: rows of layers.parquet.
    """

    path: Path
    step: int
    info: dict[str, Any]
    metrics: pa.Table
    layers: pa.Table


class DamagedCheckpoint(Exception):
    """The checkpoint file does not match its checksum."""


def checkpoint_path(run: RunDirectory, step: int) -> Path:
    """Path of the checkpoint after `step` updates."""
    return run.checkpoints / f"step-{step:09d}.ckpt"


def copied(value: Any) -> Any:
    """Copy nested values, tensors to the host, so that training may change the originals."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: copied(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))
    return value


def write_checkpoint(
    path: Path, state: Mapping[str, Any], metrics: pa.Table, layers: pa.Table
) -> None:
    """Write a checkpoint atomically.

    Args:
        path: the file to write.
        state: Lightning's checkpoint, with the contents of run.json as "info".
        metrics: all rows of metrics.parquet so far.
        layers: all rows of layers.parquet so far.
    """
    rows = {"metrics": _as_tensor(metrics), "layers": _as_tensor(layers)}
    buffer = io.BytesIO()
    torch.save({**state, "rows": rows}, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    write_bytes(path, buffer.getbuffer(), MARK + digest.encode() + b"\n")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint written by `write_checkpoint`, onto the CPU.

    Raises:
        DamagedCheckpoint: the checksum is wrong or missing.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    body, trailer = memoryview(content)[:-TRAILER], content[-TRAILER:]
    if not trailer.startswith(MARK):
        raise DamagedCheckpoint("it is cut off, or of a version without checksums")
    if MARK + hashlib.sha256(body).hexdigest().encode() + b"\n" != trailer:
        raise DamagedCheckpoint("its checksum is another one")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def newest_checkpoint(run: RunDirectory) -> Checkpoint | None:
    """Find the newest intact checkpoint of a run; report damaged ones and skip them."""
    found = run.checkpoint_files()
    for path in reversed(found):
        try:
            state = read_checkpoint(path)
        except (DamagedCheckpoint, OSError) as error:
            warnings.warn(f"checkpoint {path} is damaged ({error}): passed over", stacklevel=2)
            continue
        if run.identity is None or state["info"]["run"] == run.identity.id:
            return _checkpoint(path, state)
        warnings.warn(f"checkpoint {path} is of another run: passed over", stacklevel=2)
    if found:
        warnings.warn(f"{run.path} has no whole checkpoint: it begins at step 0", stacklevel=2)
    return None


def _checkpoint(path: Path, state: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        path,
        int(state["global_step"]),
        state["info"],
        _as_table(state["rows"]["metrics"], METRICS),
        _as_table(state["rows"]["layers"], LAYERS),
    )


def _as_tensor(rows: pa.Table) -> Tensor:
    return torch.frombuffer(bytearray(encoded(rows)), dtype=torch.uint8)


def _as_table(content: Tensor, schema: pa.Schema) -> pa.Table:
    return read_table(pa.BufferReader(content.numpy().tobytes()), schema)
