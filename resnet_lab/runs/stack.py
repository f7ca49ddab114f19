"""The tables of many runs stacked into one frame, in little memory.

pyarrow's own concatenation holds a third more at its peak (200 runs: 413 MB, not 316), as its
memory pool gives nothing back to NumPy; it is no faster.

Words (network, quantity, layer name ...) repeat millions of times over a thousand runs, so they are
stored as small integer codes and become categorical columns, with categories in alphabetical order.
Layer, stage and block take two bytes each; steps and values eight.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from resnet_lab.errors import UserError

PLACES = ("layer", "stage", "block")
MOST_ROWS = 20_000_000
"""Most rows of one file, as a small file can encode any number of equal rows."""
MOST_BYTES = 2**31
"""Most bytes of one file's columns in memory."""
GROWTH = 1_000_000
"""Most rows by which a full stack grows, so that a large one is never allocated twice."""


@dataclass(frozen=True)
class Words:
    """A column of words: `codes` are indices into `known`."""

    codes: NDArray[Any]
    known: list[str]


@dataclass(frozen=True)
class Rows:
    """One run's table: `count` rows, columns by name."""

    count: int
    words: dict[str, Words]
    numbers: dict[str, NDArray[Any]]


NO_ROWS = Rows(0, {}, {})


def read_rows(file: Path, schema: pa.Schema) -> Rows:
    """Read a Parquet file of this schema.

    Raises:
        UserError: the file is missing or damaged, has other columns, or empty cells.
    """
    names = _names_of_words(schema)
    table = _read(file, names)
    if not table.schema.equals(_as_read(schema)):
        raise UserError(f"{file.name} has columns {table.schema.names}, not {schema.names}")
    for name in schema.names:
        if table.column(name).null_count:
            raise UserError(f"{file.name} has empty cells in column {name}")
    words = {name: _words(table.column(name)) for name in names}
    for name, column in words.items():
        if column.codes.size and not 0 <= column.codes.min() <= column.codes.max() < len(
            column.known
        ):
            raise UserError(f"{file.name} has codes without words in column {name}")
    for name in PLACES:
        if name in schema.names:
            _check_places(file, name, table.column(name))
    return Rows(
        table.num_rows,
        words,
        {name: table.column(name).to_numpy() for name in schema.names if name not in names},
    )


def _read(file: Path, words: list[str]) -> pa.Table:
    if not file.exists():
        raise UserError(f"{file.name} is missing")
    try:
        if not file.is_file():
            raise OSError("it is no file")
        with pq.ParquetFile(
            file, read_dictionary=words, page_checksum_verification=True
        ) as parquet:
            _check_size(parquet.metadata)
            table = parquet.read(use_threads=False)
            if table.num_rows != parquet.metadata.num_rows:
                raise OSError(f"{table.num_rows} of {parquet.metadata.num_rows} rows are there")
            return table
    except (OSError, ValueError, LookupError, MemoryError, pa.ArrowException) as error:
        raise UserError(f"{file.name} cannot be read: {error}") from error


def _check_size(about: pq.FileMetaData) -> None:
    """Raise OSError for a file that would take more memory than any run needs."""
    size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if about.num_rows > MOST_ROWS or size > MOST_BYTES:
        raise OSError(f"{about.num_rows:,} rows of {size:,} bytes are more than any run has")


def _check_places(file: Path, name: str, column: pa.ChunkedArray) -> None:
    """Raise UserError for a layer, stage or block that does not fit in two bytes."""
    bounds = pc.min_max(column).as_py()
    for place in (bounds["min"], bounds["max"]):
        if place is not None and not 0 <= place <= np.iinfo(np.int16).max:
            raise UserError(f"{file.name} has {place} in column {name}: no network has that many")


def _names_of_words(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]


def _as_read(schema: pa.Schema) -> pa.Schema:
    words = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [(each.name, words if pa.types.is_string(each.type) else each.type) for each in schema]
    )


def _words(column: pa.ChunkedArray) -> Words:
    whole = column.unify_dictionaries().combine_chunks()
    return Words(whole.indices.to_numpy(), whole.dictionary.to_pylist())


class Stack:
    """Rows of many runs, stacked in the order in which they were added.

    Args:
        schema: schema of every run's table.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._names = list(schema.names)
        self._count = 0
        self._runs: list[tuple[str, int]] = []
        self._known: dict[str, dict[str, int]] = {name: {} for name in _names_of_words(schema)}
        self._columns: dict[str, NDArray[Any]] = {
            field.name: np.empty(0, dtype=_kind(field)) for field in schema
        }

    def add(self, run: str, rows: Rows) -> None:
        """Append the rows of a run, named by its identity."""
        start, stop = self._count, self._count + rows.count
        for column in self._columns.values():
            if stop > len(column):
                more = max(rows.count, min(len(column), GROWTH))
                column.resize(len(column) + more, refcheck=False)
        for name, numbers in rows.numbers.items():
            self._columns[name][start:stop] = numbers
        for name, words in rows.words.items():
            known = self._known[name]
            codes = [known.setdefault(word, len(known)) for word in words.known]
            if len(known) > np.iinfo(self._columns[name].dtype).max:
                self._columns[name] = self._columns[name].astype(np.int32)
            kind = self._columns[name].dtype
            self._columns[name][start:stop] = np.array(codes, dtype=kind)[words.codes]
        self._runs.append((run, rows.count))
        self._count = stop

    def remove(self, run: str) -> None:
        """Remove the rows of a run."""
        keep = np.repeat([name != run for name, _ in self._runs], [n for _, n in self._runs])
        for name, column in self._columns.items():
            self._columns[name] = column[: self._count][keep]
        self._runs = [one for one in self._runs if one[0] != run]
        self._count = int(keep.sum())

    def frame(self) -> pd.DataFrame:
        """Return all rows, with the run's identity as first column, and empty the stack."""
        places = {run: place for place, (run, _) in enumerate(self._runs)}
        counts = [count for _, count in self._runs]
        codes = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        found: dict[str, Any] = {"run": _categorical(codes, places)}
        for name in self._names:
            column = self._columns.pop(name)
            column.resize(self._count, refcheck=False)
            known = self._known.get(name)
            found[name] = column if known is None else _categorical(column, known)
        return pd.DataFrame(found, copy=False)


def _kind(field: pa.Field) -> Any:
    """In-memory type of a column: two bytes for `PLACES` and, at first, for codes of words."""
    small = pa.types.is_string(field.type) or field.name in PLACES
    return np.int16 if small else field.type.to_pandas_dtype()


def _categorical(codes: NDArray[Any], known: dict[str, int]) -> pd.Categorical:
    """Return a categorical column, its categories in alphabetical order, in the smallest type."""
    words = sorted(known)
    ranks = np.empty(len(words), dtype=np.min_scalar_type(-max(len(words), 1)))
    ranks[[known[word] for word in words]] = np.arange(len(words))
    return pd.Categorical.from_codes(ranks[codes], categories=pd.Index(words, dtype="str"))
