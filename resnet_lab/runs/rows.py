"""Tables that grow while a run trains, each a Parquet file that is always readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resnet_lab.files import replacing

METRICS = pa.schema(
    [
        ("network", pa.string()),
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)
"""metrics.parquet: one row a number; `step` counts the updates made so far."""

LAYERS = pa.schema(
    [
        ("network", pa.string()),
        ("step", pa.int64()),
        ("quantity", pa.string()),
        ("layer", pa.int64()),
        ("name", pa.string()),
        ("stage", pa.int64()),
        ("block", pa.int64()),
        ("value", pa.float64()),
    ]
)
"""layers.parquet: one row a layer and recording; `step` is the update that was about to be made."""


class RowFile:
    """The rows of one Parquet file: kept in memory as columns, written whole and atomically.

    Args:
        path: of the file.
        schema: METRICS or LAYERS.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._table = schema.empty_table()
        self._new: dict[str, list[Any]] = {name: [] for name in schema.names}

    def __len__(self) -> int:
        """How many rows there are, those not written yet included."""
        return int(self._table.num_rows) + len(self._new["step"])

    def between(self, first: int, last: int) -> pa.Table:
        """The rows of steps from `first` to `last`, those not written yet included."""
        new = pa.Table.from_pydict(self._new, schema=self._table.schema)
        wanted = (pc.field("step") >= first) & (pc.field("step") <= last)
        return pa.concat_tables([self._table, new]).filter(wanted)

    def append(self, **row: Any) -> None:
        """Add one row; the keys are the schema's names."""
        self.extend({name: [value] for name, value in row.items()})

    def extend(self, columns: dict[str, list[Any]]) -> None:
        """Add rows as equally long columns, one for each of the schema's names."""
        assert set(columns) == set(self._new)
        for name, values in columns.items():
            self._new[name].extend(values)

    def flush(self) -> None:
        """Write all rows to disk; does nothing when none are new and the file exists."""
        if not self._new["step"] and self.path.exists():
            return
        new = pa.Table.from_pydict(self._new, schema=self._table.schema)
        self._table = pa.concat_tables([self._table, new])
        self._forget_new()
        with replacing(self.path) as temporary:
            pq.write_table(self._table.combine_chunks(), temporary, compression="zstd")

    def resume(self, keep: pc.Expression) -> None:
        """Take up the file of an interrupted run, keeping the rows for which `keep` holds."""
        self._forget_new()
        if self.path.exists():
            self._table = pq.read_table(self.path, schema=self._table.schema).filter(keep)

    def _forget_new(self) -> None:
        self._new = {name: [] for name in self._table.schema.names}
