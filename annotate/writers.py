"""Writers: Arrow record batches in, a Parquet, CSV or JSON lines output out.

An output appears at its final name only when it is complete: it is written in a work folder
`.NAME.annotate` beside the target, flushed to disk, and renamed. CSV on stdout is the exception.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotate import durable
from annotate.arrow_files import created
from annotate.errors import shown
from annotate.records import COLUMNS
from annotate.targets import check_target, explained, located, work_folder

ROW_GROUP_ROWS = 8192
"""Rows held in memory before they are written as one Parquet row group."""

PART_ROWS = 131_072
"""Rows of one file in a data-set folder."""

_RUN_BY_SPREADSHEETS = tuple("=+-@\t\r\n＝＋－＠")
_QUOTE = "'"


class Writer(Protocol):
    """Takes batches in order. `commit` makes the output appear, `abort` leaves nothing behind."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""

    def commit(self) -> None:
        """Finish, and put the output at its final name."""

    def abort(self) -> None:
        """Drop what was written."""


@contextlib.contextmanager
def open_output(target: str, described: pa.Schema, *, overwrite: bool = False) -> Iterator[Writer]:
    """A writer for OUT, committed where the block ends well and aborted where it does not.

    target: `.parquet`, `.csv`, `.jsonl`, a folder, or `-` for CSV on stdout.
    Raises AnnotateError where the target exists and overwrite is False, or cannot be written.
    """
    if target == "-" and isinstance(sys.stdout, io.TextIOWrapper):
        # As in a file, whatever the locale: a path may hold any character.
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    writer: Writer
    if target == "-":
        writer = _CsvWriter(sys.stdout, is_terminal=sys.stdout.isatty())
    else:
        writer = _FileOutput(target, described, overwrite)
    try:
        yield writer
        writer.commit()
    except BaseException:
        writer.abort()
        raise


def write_batches(
    kind: str, file: BinaryIO, described: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> None:
    """Write rows to an open file. kind: "parquet", "csv" or "jsonl". Raises OSError."""
    if kind == "parquet":
        writer: Writer = _ParquetWriter(file, described)
        text = None
    else:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = _CsvWriter(text) if kind == "csv" else _JsonLinesWriter(text)
    for batch in batches:
        writer.write(batch)
    writer.commit()
    if text is not None:
        text.detach()  # the file is closed by whoever opened it


class _FileOutput:
    """An output on disk: a format's writer over a file in the work folder, then a rename."""

    def __init__(self, target: str, described: pa.Schema, overwrite: bool) -> None:
        kind = check_target(target, overwrite=overwrite)
        self._target = located(target)
        self._work = work_folder(self._target)
        self._temporary = self._work / self._target.name
        self._file: IO[str] | None = None
        with explained(target):
            # What lies there is of a run that was killed before it could commit.
            shutil.rmtree(self._work, ignore_errors=True)
            self._work.mkdir()
            self._writer = self._open(kind, described)

    def _open(self, kind: str, described: pa.Schema) -> Writer:
        if kind == "parquet":
            return _ParquetWriter(self._temporary, described)
        if kind == "folder":
            self._temporary.mkdir()
            return _PartsWriter(self._temporary, described)
        self._file = self._temporary.open("w", encoding="utf-8", newline="")
        return _CsvWriter(self._file) if kind == "csv" else _JsonLinesWriter(self._file)

    def write(self, batch: pa.RecordBatch) -> None:
        with explained(str(self._target)):
            self._writer.write(batch)

    def commit(self) -> None:
        with explained(str(self._target)):
            self._writer.commit()
            if self._file is not None:
                self._file.close()
            durable.flush_tree(self._temporary)
            if self._target.is_dir():  # which no rename replaces
                os.replace(self._target, self._work / "replaced")
            os.replace(self._temporary, self._target)
            shutil.rmtree(self._work, ignore_errors=True)
            durable.flush_folder(self._target.parent)

    def abort(self) -> None:
        with contextlib.suppress(Exception):
            self._writer.abort()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        shutil.rmtree(self._work, ignore_errors=True)


class _ParquetWriter:
    """One Parquet file, in row groups of ROW_GROUP_ROWS."""

    def __init__(self, where: Path | BinaryIO, described: pa.Schema) -> None:
        self._schema = described
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        self._file = created(where) if isinstance(where, Path) else None
        sink = where if self._file is None else self._file
        self._writer = pq.ParquetWriter(sink, described, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch)
        self._rows += batch.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._pending, self._schema)
            # One row group, whose categories are those of all its batches.
            self._writer.write_table(table.unify_dictionaries().combine_chunks(), self._rows)
        self._pending, self._rows = [], 0

    def commit(self) -> None:
        self._flush()
        self._writer.close()
        if self._file is not None:
            self._file.close()

    def abort(self) -> None:
        try:
            self._writer.close()
        finally:
            if self._file is not None:
                self._file.close()


class _PartsWriter:
    """A folder of Parquet files, `part-00000.parquet` and so on."""

    def __init__(self, folder: Path, described: pa.Schema) -> None:
        self._folder = folder
        self._schema = described
        self._count = 0
        self._rows = 0
        self._part: _ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        self._open_part().write(batch)
        self._rows += batch.num_rows
        if self._rows >= PART_ROWS:
            self._close_part()

    def _open_part(self) -> _ParquetWriter:
        if self._part is None:
            path = self._folder / f"part-{self._count:05d}.parquet"
            self._part = _ParquetWriter(path, self._schema)
            self._count += 1
        return self._part

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.commit()
        self._part, self._rows = None, 0

    def commit(self) -> None:
        if not self._count:
            self._open_part()
        self._close_part()

    def abort(self) -> None:
        if self._part is not None:
            self._part.abort()


class _LineFeeds:
    """What a CSV writer writes into: rows that end in CR LF reach the file with LF alone."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


class _CsvWriter:
    """CSV with a header, LF line ends, nulls as empty cells and strings made safe.

    is_terminal: characters that steer a terminal, which names may hold, are shown as escapes.
    """

    def __init__(self, file: IO[str], *, is_terminal: bool = False) -> None:
        self._file = file
        self._is_terminal = is_terminal
        # Python before 3.13 quotes no cell for a carriage return alone, and a reader would take
        # that for the end of the line; as part of the line end it is quoted.
        self._csv = csv.writer(_LineFeeds(file), lineterminator="\r\n")
        self._has_header = False

    def write(self, batch: pa.RecordBatch) -> None:
        self._write_header(batch.schema.names)
        columns = [_csv_cells(column) for column in batch.columns]
        if self._is_terminal:
            columns = [[shown(cell, len(cell), quote=False) for cell in each] for each in columns]
        self._csv.writerows(zip(*columns, strict=True))
        # A reader at the other end of a pipe gets whole batches as they are made.
        self._file.flush()

    def _write_header(self, names: list[str]) -> None:
        if not self._has_header:
            self._csv.writerow(names)
            self._has_header = True

    def commit(self) -> None:
        self._write_header([column.name for column in COLUMNS])
        self._file.flush()

    def abort(self) -> None:
        """Nothing to undo: the file is the owner's."""


class _JsonLinesWriter:
    """One JSON object a line, with every column, nulls included."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, batch: pa.RecordBatch) -> None:
        names = batch.schema.names
        columns = [_json_values(column) for column in batch.columns]
        for values in zip(*columns, strict=True):
            row = dict(zip(names, values, strict=True))
            self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def commit(self) -> None:
        self._file.flush()

    def abort(self) -> None:
        """Nothing to undo: the file is the owner's."""


def neutralise(cell: str) -> str:
    """A CSV cell that no spreadsheet runs: an apostrophe before what would start a formula.

    A cell that begins with an apostrophe gets one more, so that `restore` is exact.
    """
    return _QUOTE + cell if cell.startswith((*_RUN_BY_SPREADSHEETS, _QUOTE)) else cell


def restore(cell: str) -> str:
    """The cell that `neutralise` was given."""
    return cell.removeprefix(_QUOTE)


def _texts(column: pa.Array) -> list[str | None]:
    """Values as text: the shortest digits that give the same float32, ISO 8601 times."""
    texts: list[str | None] = pc.cast(column, pa.string()).to_pylist()
    if pa.types.is_timestamp(column.type):
        return [None if text is None else text.replace(" ", "T", 1) for text in texts]
    return texts


def _csv_cells(column: pa.Array) -> list[str]:
    texts = _texts(column)
    if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        return ["" if text is None else neutralise(text) for text in texts]
    return ["" if text is None else text for text in texts]


def _json_values(column: pa.Array) -> list[Any]:
    if pa.types.is_floating(column.type):
        return [None if text is None else float(text) for text in _texts(column)]
    if pa.types.is_integer(column.type):
        return list(column.to_pylist())
    return _texts(column)


def write_parquet(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table as one Parquet file, complete or not at all. Its metadata is kept."""
    with open_output(os.fspath(path), table.schema, overwrite=True) as writer:
        for batch in table.to_batches(max_chunksize=ROW_GROUP_ROWS):
            writer.write(batch)
