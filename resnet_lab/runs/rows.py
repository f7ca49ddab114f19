"""Tables that grow during training, each in a Parquet file that is always readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resnet_lab.errors import UserError
from resnet_lab.files import write_bytes

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
"""metrics.parquet: one row per value; `step` counts the updates made so far."""

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
"""layers.parquet: one row per recorded value; `step` is the update about to be made."""


def encoded(rows: pa.Table) -> memoryview:
    """Encode rows as a Parquet file with page checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
    return memoryview(sink.getvalue())


def read_table(file: Path | pa.NativeFile, schema: pa.Schema) -> pa.Table:
    """Read the output of `encoded`.

    Raises:
        OSError, pa.ArrowException: the file is damaged, or has other columns.
    """
    return pq.read_table(file, schema=schema, page_checksum_verification=True)


class RowFile:
    """The rows of one Parquet file: kept in memory as columns, written whole and atomically.

    Args:
        path: the file.
        schema: METRICS or LAYERS.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._table = schema.empty_table()
        self._written: pa.Table | None = None
        self._new: dict[str, list[Any]] = {name: [] for name in schema.names}

    def __len__(self) -> int:
        """Number of rows, including those not written yet."""
        return int(self._table.num_rows) + len(self._new["step"])

    def between(self, first: int, last: int) -> pa.Table:
        """The rows of steps `first` to `last`, including those not written yet."""
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

    def rows(self) -> pa.Table:
        """All rows so far, as a table that does not change later."""
        if self._new["step"]:
            new = pa.Table.from_pydict(self._new, schema=self._table.schema)
            self._table = pa.concat_tables([self._table, new]).combine_chunks()
            self._forget_new()
        return self._table

    def flush(self) -> None:
        """Write all rows to disk."""
        self.write(self.rows())

    def write(self, rows: pa.Table) -> None:
        """Write a table returned by `rows`, unless the file is up to date. Thread-safe."""
        if rows is not self._written or not self.path.exists():
            write_bytes(self.path, encoded(rows))
            self._written = rows

    def resume(self, keep: pc.Expression) -> None:
        """Load the rows of the file for which `keep` holds.

        Raises:
            UserError: the file is damaged.
        """
        self._forget_new()
        if self.path.exists():
            try:
                self._table = read_table(self.path, self._table.schema).filter(keep)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise UserError(f"{self.path} cannot be read: {error}") from error

    def take_up(self, rows: pa.Table) -> None:
        """Replace all rows by these."""
        self._table = rows
        self._forget_new()

    def _forget_new(self) -> None:
        self._new = {name: [] for name in self._table.schema.names}
