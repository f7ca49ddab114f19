"""Convert rows of a run directory to a W&B history: one row a step, with few keys. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from resnet_lab.recording.quantity import QUANTITIES, Quantity

Row = dict[str, Any]
NETWORK = "network/"
"""Prefix of quantities that have one value a network."""


def history(metrics: pa.Table, layers: pa.Table, networks: Sequence[str]) -> Iterator[Row]:
    """Yield one row for each step that has any, by rising `_step`.

    A row holds the metrics of its step and the recordings made before the next update, as one list
    a quantity in the order of layers.parquet. A quantity with one value a network is a number. So
    are some quantities of the stem and the last layer (`Quantity.curves`), as W&B draws curves of
    numbers only. With one network the keys are plain ("validation_error", "layers/gradient_norm");
    with several they are prefixed with the network's name.

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
        row, before = rows[entry["step"]], prefix(entry["network"], networks)
        if entry["layer"]:
            row.setdefault(f"{before}layers/{entry['quantity']}", []).append(entry["value"])
        else:  # of the network as a whole
            row[f"{before}{NETWORK}{entry['quantity']}"] = entry["value"]
    for row in rows.values():
        row.update(_curves(row))
    for step in sorted(rows):
        yield {"_step": step, **rows[step]}


def _curves(row: Row) -> Row:
    """Values of the first layer (the stem) and the last one, from the lists of all layers."""
    found: Row = {}
    for key, values in row.items():
        network, _, name = key.rpartition("layers/")
        quantity = QUANTITIES.find(name) if isinstance(values, list) else None
        if quantity is not None:
            ends = zip(curves(quantity), (values[0], values[-1]), strict=False)
            found |= {f"{network}{key}": value for key, value in ends}
    return found


def curves(quantity: Quantity) -> tuple[str, ...]:
    """Keys of a quantity's numbers: of the network, or of the stem and the last layer."""
    if quantity.at == "network":
        return (f"{NETWORK}{quantity.name}",)
    ends = ("stem", "last_layer") if quantity.curves else ()
    return tuple(f"{end}/{quantity.name}" for end in ends)


def prefix(network: str, networks: Sequence[str]) -> str:
    """Prefix of a network's keys: empty for a lone network."""
    return f"{network}/" if len(networks) > 1 else ""


def metric_key(entry: Row) -> str:
    """The key of a metric: "train_loss", "validation_top5_error", "lr"."""
    metric, split = str(entry["metric"]), str(entry["split"])
    return metric if metric == "lr" else f"{split}_{metric}"
