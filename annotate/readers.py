"""Readers: an output of any format in, an Arrow table or a pandas DataFrame out."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from annotate.errors import AnnotateError, one_line, shown
from annotate.records import COLUMNS
from annotate.rows import attributes_of, schema
from annotate.writers import restore

if TYPE_CHECKING:
    import pandas as pd

# Recursion: JSON nested too deeply. Overflow: a number that no column can hold.
_UNREADABLE = (OSError, ValueError, OverflowError, RecursionError, pa.ArrowException, csv.Error)

_READ_ROWS = 8192
"""Text rows that are turned into a record batch at a time."""


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read an output of `annotate run` into pandas: Parquet, CSV, JSON lines or a folder.

    Returns a DataFrame with the columns of records.COLUMNS: categories for `source`, `status` and
    `gender`, nullable integers, UTC times. `.attrs` holds the metadata of a Parquet output.
    Raises AnnotateError where the file cannot be read or is no output of annotate.
    """
    return to_frame(read_table(path))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table of rows as a DataFrame, as `pandas.read_parquet` would give it."""
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs.update(attributes_of(table.schema))
    return frame


def read_table(path: str | os.PathLike[str]) -> pa.Table:
    """Read an output of any format, with the columns' types and, for Parquet, its metadata.

    Raises AnnotateError where it cannot be read, or is not an output of annotate.
    """
    target = Path(path)
    if not target.exists():
        raise AnnotateError(f"no output at {shown(str(target))}")
    try:
        if target.is_dir():
            table = ds.dataset(target, format="parquet").to_table()
        elif target.suffix.lower() == ".csv":
            table = _read_csv(target)
        elif target.suffix.lower() == ".jsonl":
            table = _read_json_lines(target)
        else:
            table = pq.read_table(target)
    except _UNREADABLE as error:
        raise AnnotateError(f"cannot read {target}: {one_line(error)}") from error
    missing = [column.name for column in COLUMNS if column.name not in table.schema.names]
    if missing:
        raise AnnotateError(f"{target} is not an output of annotate: no column {missing[0]!r}")
    return table


def _read_csv(path: Path) -> pa.Table:
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        text = {
            f.name for f in schema() if pa.types.is_string(f.type) or pa.types.is_dictionary(f.type)
        }
        is_text = [name in text for name in names]
        rows: list[dict[str, Any]] = []
        batches: list[pa.RecordBatch] = []
        for cells in lines:
            values = [
                None if cell == "" else restore(cell) if as_text else cell
                for cell, as_text in zip(cells, is_text, strict=True)
            ]
            rows.append(dict(zip(names, values, strict=True)))
            if len(rows) == _READ_ROWS:
                batches.append(_typed(rows, names))
                rows = []
        batches.append(_typed(rows, names))
    return pa.Table.from_batches(batches).unify_dictionaries()


def _read_json_lines(path: Path) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows: list[dict[str, Any]] = []
    names = [column.name for column in COLUMNS]
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line is not a JSON object")
            rows.append(row)
            if len(rows) == _READ_ROWS:
                batches.append(_typed(rows, names))
                rows = []
    batches.append(_typed(rows, names))
    return pa.Table.from_batches(batches).unify_dictionaries()


def _typed(rows: list[dict[str, Any]], names: list[str]) -> pa.RecordBatch:
    """Rows of text or JSON values with the types of the schema; unknown columns are left out."""
    bare = schema()
    fields = [field for field in bare if field.name in names]
    arrays = []
    for field in fields:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        values = [row.get(field.name) for row in rows]
        if any(isinstance(value, str) for value in values):
            array = pa.array(values, pa.string()).cast(kind)
        else:
            array = pa.array(values, kind)
        arrays.append(array.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, bare.metadata))
