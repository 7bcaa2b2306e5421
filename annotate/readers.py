"""Readers: an output of any format in, an Arrow table or a pandas DataFrame out.

Outputs come from strangers too: what is none, or holds what annotate does not write, is an
AnnotateError of one line. Nothing that their metadata says of types is believed.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from annotate.arrow_files import opened, parquet
from annotate.errors import AnnotateError, one_line, shown
from annotate.frames import AGE_BAND, CLOSED, FILE, age_bands, files, to_frame
from annotate.records import COLUMNS, REVIEW_COLUMNS, Column
from annotate.rows import type_of, with_metadata
from annotate.targets import SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

# Recursion: JSON nested too deeply. Overflow: a number that no column can hold.
_UNREADABLE = (OSError, ValueError, OverflowError, RecursionError, pa.ArrowException, csv.Error)

_READ_ROWS = 8192
"""JSON lines that are turned into a record batch at a time."""

_BLOCK_BYTES = 16 * 2**20
"""Of a CSV, parsed at a time: its longest row must fit."""

_HIDDEN = ("_", ".")
"""How the names of files in a data set begin that hold no rows."""

_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name in a Parquet file."""

_NAMES = tuple(column.name for column in COLUMNS)
_LABEL_GENDER = Column("label_gender", "dictionary", "the label, in a report's predictions")
_FIELDS = {
    column.name: pa.field(column.name, type_of(column))
    for column in (*COLUMNS, *REVIEW_COLUMNS, _LABEL_GENDER)
}
"""The columns whose types are known. Others are read from Parquet files alone, as they are."""


def read(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    age_bands: bool | Iterable[float] = False,
    resolve: bool = False,
) -> pd.DataFrame:
    """Read an output of `annotate run` into pandas: Parquet, CSV, JSON lines or a folder.

    columns: those to read, in this order; None for all. age_bands: adds `age_band`, an ordered
    category: True for the bands of reports, or the first age of each band in whole years, such as
    [0, 18, 65] for `0-17`, `18-64` and `65+`. resolve: adds `file`, the path that opens each row's
    input; of an archive's member it is `ARCHIVE!/MEMBER`, which `annotate.open_input(row)` opens.
    Returns a DataFrame with the columns of records.COLUMNS, and those that others added to a
    Parquet file: categories for `source`, `status` and `gender`, the latter two with all that they
    may hold; nullable integers; UTC times, but for `captured_at`, whose zone no camera says.
    `.attrs` holds the metadata of a Parquet output.
    Raises AnnotateError where the file cannot be read or is no output of annotate.
    """
    wanted = None if columns is None else _checked_columns(columns)
    made = [name for name, asked in ((AGE_BAND, age_bands is not False), (FILE, resolve)) if asked]
    needed = {AGE_BAND: ("age",), FILE: ("source", "path")}
    also = [] if wanted is None else [column for name in made for column in needed[name]]
    table = read_table(path, None if wanted is None else list(dict.fromkeys(wanted + also)))
    try:
        frame = to_frame(table)
    except (*_UNREADABLE, TypeError) as error:
        # A column that someone added may be of a type that pandas does not have.
        raise _unreadable(Path(path), error) from error
    for name in made:
        frame[name] = _made(name, frame, age_bands)
    return frame if wanted is None else frame[wanted + made]


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Read an output of any format, with the columns' types and, for Parquet, its metadata.

    columns: those to read, in this order; None for all.
    Raises AnnotateError where it cannot be read, or is not an output of annotate.
    """
    target = Path(path)
    if not os.path.exists(target):
        raise AnnotateError(f"no output at {shown(str(target), 300)}")
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines}
    reader = readers.get("" if target.is_dir() else target.suffix.lower(), _read_parquet)
    try:
        return reader(target, columns).unify_dictionaries()
    except _UNREADABLE as error:
        if reader is _read_parquet and target.is_file() and target.suffix.lower() not in SUFFIXES:
            raise AnnotateError(
                f"{_name(target)} is no output of annotate: those are {', '.join(SUFFIXES)} files,"
                " or folders of Parquet files"
            ) from error
        raise _unreadable(target, error) from error


def _made(
    name: str, frame: pd.DataFrame, edges: bool | Iterable[float]
) -> pd.Categorical | pd.Series[Any]:
    """A column that was asked for. Raises AnnotateError."""
    if name == FILE:
        return files(frame)
    return age_bands(frame["age"].to_numpy(), None if isinstance(edges, bool) else edges)


def _checked_columns(columns: Sequence[str]) -> list[str]:
    found = list(columns)
    if isinstance(columns, str) or not found or not all(isinstance(name, str) for name in found):
        raise AnnotateError(
            f"columns={shown(columns)}: expected a list of names, such as ['path', 'age']"
        )
    return list(dict.fromkeys(found))


def _chosen(path: Path, there: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    """The columns to read of those that are there. Raises AnnotateError."""
    if len(set(there)) < len(there):
        twice = next(name for name in there if there.count(name) > 1)
        raise AnnotateError(f"{_name(path)} has two columns {shown(twice)}: remove one")
    missing = [name for name in _NAMES if name not in there]
    if missing:
        raise AnnotateError(f"{_name(path)} is not an output of annotate: no column {missing[0]!r}")
    if columns is None:
        return [name for name in there if not _INDEX.fullmatch(name)]
    absent = [name for name in columns if name not in there]
    if absent:
        more = [name for name in there if name not in _NAMES]
        beside = f" and {shown(', '.join(more), 200, quote=False)}" if more else ""
        raise AnnotateError(
            f"{_name(path)} has no column {shown(absent[0])}: it has those of every output"
            f"{beside}; age_band comes with age_bands=True, file with resolve=True"
        )
    return list(columns)


def _read_parquet(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """A Parquet file, or a folder of them in the order of their names; the first says what is
    in all of them.
    """
    parts = _parts(path) if path.is_dir() else [path]
    if not parts:
        raise ValueError("no Parquet file in the folder")
    tables: list[pa.Table] = []
    for part in parts:
        with parquet(part) as file:
            columns = _chosen(path, file.schema_arrow.names, columns)
            rows, size = file.metadata.num_rows, os.path.getsize(part)
            if rows > size:
                # Every row has a name or a box of its own; nulls take no room on disk, only here.
                raise ValueError(f"{rows:,} rows in {size:,} bytes: more than an output can hold")
            tables.append(_typed(file.read(columns).select(columns), path))
    return pa.concat_tables(tables)


def _parts(folder: Path) -> list[Path]:
    """The files of a data set, in the order of their names; what hides is none of it."""
    found: list[Path] = []
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        found += [Path(above, name) for name in names if not name.startswith(_HIDDEN)]
    return sorted(found, key=os.fsencode)


def _read_csv(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    chosen = _chosen(path, [name for name in header if name in _FIELDS], columns)
    table = arrow_csv.read_csv(
        opened(path),
        arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
        arrow_csv.ParseOptions(newlines_in_values=True),
        arrow_csv.ConvertOptions(
            column_types={name: _plain(_FIELDS[name].type) for name in chosen},
            include_columns=chosen,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    for place, name in enumerate(chosen):
        if pa.types.is_string(table.column(name).type):
            # As writers.restore does it, for all cells at once.
            whole = pc.replace_substring_regex(table.column(name), r"\A'", "", max_replacements=1)
            table = table.set_column(place, name, whole)
    return _typed(table, path)


def _read_json_lines(path: Path, columns: Sequence[str] | None) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows: list[dict[str, Any]] = []
    fields: list[pa.Field] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line is not a JSON object")
            fields = fields or _json_fields(path, row, columns)
            rows.append(row)
            if len(rows) == _READ_ROWS:
                batches.append(_batch(rows, fields))
                rows = []
    batches.append(_batch(rows, fields or _json_fields(path, {}, columns)))
    return _typed(pa.Table.from_batches(batches), path)


def _json_fields(
    path: Path, first: dict[str, Any], columns: Sequence[str] | None
) -> list[pa.Field]:
    """The columns to read, with the types in which JSON has them. first: the first row."""
    more = [name for name in _FIELDS if name in first and name not in _NAMES]
    kinds = {name: _plain(_FIELDS[name].type) for name in _chosen(path, [*_NAMES, *more], columns)}
    return [
        pa.field(name, pa.string() if pa.types.is_timestamp(kind) else kind)
        for name, kind in kinds.items()
    ]


def _batch(rows: list[dict[str, Any]], fields: list[pa.Field]) -> pa.RecordBatch:
    """JSON objects as columns; what a row lacks is null, what it has beside them is left out."""
    return pa.RecordBatch.from_struct_array(pa.array(rows, pa.struct(fields)))


def _typed(table: pa.Table, path: Path) -> pa.Table:
    """The table with the types of the schema, as far as they are known, and its own attributes.

    Raises AnnotateError where a column holds what annotate does not write.
    """
    for place, name in enumerate(table.schema.names):
        if name in _FIELDS:
            try:
                column = _column(table.column(place), _FIELDS[name].type)
            except pa.ArrowException as error:
                raise AnnotateError(
                    f"{_name(path)}: the column {name!r} is not what annotate writes:"
                    f" {one_line(error)}; expected an output of annotate"
                ) from error
            _check_closed(path, name, column)
            table = table.set_column(place, _FIELDS[name], column)
    known = pa.schema([field for field in table.schema if field.name in _FIELDS])
    metadata = dict(table.schema.metadata or {})
    metadata[b"pandas"] = with_metadata(known, {}).metadata[b"pandas"]
    return table.replace_schema_metadata(metadata)


def _column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as a type. Raises pa.ArrowException where its values have none of this type."""
    if column.type != kind:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        column = column.cast(_plain(kind))
    # A Parquet file may say of any bytes that they are UTF-8, and Arrow trusts it.
    column.validate(full=True)
    if column.type != kind:
        column = column.dictionary_encode()
    return column


def _check_closed(path: Path, name: str, column: pa.ChunkedArray) -> None:
    """Raise AnnotateError where a column of CLOSED holds anything else."""
    if name in CLOSED:
        unknown = set(column.unify_dictionaries().unique().to_pylist()) - {None, *CLOSED[name]}
        if unknown:
            raise AnnotateError(
                f"{_name(path)}: the column {name!r} holds {shown(min(unknown))}, which this"
                f" version of annotate does not write: expected {', '.join(CLOSED[name])}"
            )


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _name(path: Path) -> str:
    return shown(str(path), 300, quote=False)


def _unreadable(path: Path, error: Exception) -> AnnotateError:
    return AnnotateError(f"cannot read {_name(path)}: {one_line(error)}")
