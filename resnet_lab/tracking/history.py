"""Rows of a run directory as rows of a W&B history: one a step, with few keys. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

Row = dict[str, Any]
CURVES = ("gradient_norm", "relative_update")
"""Quantities whose values in the stem and in the last layer get curves of their own."""


def history(metrics: pa.Table, layers: pa.Table, networks: Sequence[str]) -> Iterator[Row]:
    """Yield one row for each step that has any, by rising `_step`.

    A row holds the metrics of its step and, as one list a quantity in the order of layers.parquet,
    the recordings made before the update that followed. Of the stem and of the last layer those of
    `CURVES` are numbers too, as W&B draws curves of numbers only. With one network the keys are
    plain ("validation_error", "layers/gradient_norm"); with several each has its name before them.

    Args:
        metrics: rows of metrics.parquet.
        layers: rows of layers.parquet.
        networks: names of the whole cohort.
    """
    rows: defaultdict[int, Row] = defaultdict(dict)
    for entry in metrics.to_pylist():
        row = rows[entry["step"]]
        row["epoch"] = entry["epoch"]
        row[prefix(entry["network"], networks) + metric_key(entry)] = entry["value"]
    for entry in layers.to_pylist():
        key = f"{prefix(entry['network'], networks)}layers/{entry['quantity']}"
        rows[entry["step"]].setdefault(key, []).append(entry["value"])
    for row in rows.values():
        row.update(_curves(row))
    for step in sorted(rows):
        yield {"_step": step, **rows[step]}


def _curves(row: Row) -> Row:
    """Values of the first and the last layer beside the lists of all: layer 1 is the stem."""
    found: Row = {}
    for key, values in row.items():
        network, _, quantity = key.rpartition("layers/")
        if quantity in CURVES and isinstance(values, list):
            first, last = (f"{network}{key}" for key in curves(quantity))
            found[first], found[last] = values[0], values[-1]
    return found


def curves(quantity: str) -> tuple[str, str]:
    """Keys of a quantity's value in the stem and in the last layer."""
    return f"stem/{quantity}", f"last_layer/{quantity}"


def prefix(network: str, networks: Sequence[str]) -> str:
    """What stands before a network's keys: nothing where it is alone."""
    return f"{network}/" if len(networks) > 1 else ""


def metric_key(entry: Row) -> str:
    """The key of a metric: "train_loss", "validation_top5_error", "lr"."""
    metric, split = str(entry["metric"]), str(entry["split"])
    return metric if metric == "lr" else f"{split}_{metric}"
