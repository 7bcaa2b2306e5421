"""Listing: a list of inputs on stdin or in a table in, its entries out, one at a time.

An entry is an `Entry`, or the reason why there is none. Names are taken as they are: nothing in
a list is a pattern.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from annotate.errors import AnnotateError, one_line, shown
from annotate.names import split_archive, split_path, unescape
from annotate.writers import restore

MAX_ENTRY_BYTES = 2**20
"""A longer entry of a list means that it is no list of paths; no system has such paths."""

MAX_LINE_BYTES = 64 * 2**20
"""The same for a line of a JSON lines table."""

_READ_BYTES = 2**16
_READ_ROWS = 4096

EMPTY_ENTRY = "empty entry in a list"
MISSING_VALUE = "missing value in the table"


class Entry(NamedTuple):
    """What a list names: `path` alone, or as a row of an output does: a path below `root`, and
    the member of the archive at that path, if it is not the file itself that is meant.
    """

    path: bytes
    root: bytes | None = None
    member: bytes | None = None


def on_stdin(*, null_separated: bool) -> Iterator[Entry | str]:
    """The entries of the list on stdin. Raises AnnotateError where it is no list of paths."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise AnnotateError(
            "no list on stdin: it is closed, or no stream of bytes; pipe one into -"
        )
    return in_stream(stream, null_separated=null_separated)


def in_stream(stream: BinaryIO, *, null_separated: bool) -> Iterator[Entry | str]:
    """The entries of a list: a line each, or up to a NUL each.

    A carriage return at the end of a line is part of the name where a file of that name exists,
    and of the line end where none does. Raises AnnotateError.
    """
    for name in _split(stream, b"\0" if null_separated else b"\n"):
        if not null_separated and name.endswith(b"\r") and not os.path.lexists(name):
            name = name[:-1]
        yield Entry(name) if name else EMPTY_ENTRY


def _split(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    """What lies between separators. One at the end ends the last name, and starts no other."""
    rest = b""
    try:
        while block := stream.read(_READ_BYTES):
            *whole, rest = (rest + block).split(separator)
            yield from whole
            if len(rest) > MAX_ENTRY_BYTES:
                what = "a NUL after each path" if separator == b"\0" else "a path on each line"
                raise AnnotateError(
                    f"the list on stdin has an entry of over {MAX_ENTRY_BYTES} bytes: expected"
                    f" {what} (-0 says that NULs separate them)"
                )
    except OSError as error:
        raise AnnotateError(f"cannot read the list on stdin: {error.strerror}") from error
    if rest:
        yield rest


def in_table(path: str | os.PathLike[str], column: str) -> Iterator[Entry | str]:
    """The entries of a table: CSV with a header, Parquet (a file or a folder) or JSON lines.

    column: the one with the paths. A relative path is looked up from the current folder, then
    from the table's. Where the column is `path` and a row's `source` is an absolute path, the row
    is taken for one of an output of annotate, names escaped as they are there.
    Raises AnnotateError where the table cannot be read or has no such column.
    """
    table = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(os.fsencode(table)))
    columns = [column, "source"] if column == "path" else [column]
    try:
        for number, cells in enumerate(_READERS[_kind(table)](table, columns), 1):
            try:
                yield _entry(cells, folder)
            except TypeError as error:
                raise AnnotateError(
                    f"table {shown(table)}, row {number}: {column} is {error}, expected a path"
                ) from error
    except AnnotateError:
        raise
    # Recursion: JSON nested too deeply. What pyarrow raises is a ValueError or an OSError too.
    except (OSError, ValueError, RecursionError, csv.Error, _arrow_error()) as error:
        raise AnnotateError(
            f"cannot read the table {shown(table)}: {one_line(error)};"
            " expected CSV in UTF-8 with a header, Parquet, or JSON lines"
        ) from error


def _kind(table: str) -> str:
    """A table's format: Parquet by its content, JSON lines by its name, else CSV."""
    if os.path.isdir(table):
        return "parquet"
    if not os.path.isfile(table):
        what = "no table at" if not os.path.exists(table) else "no regular file at"
        raise AnnotateError(
            f"{what} {shown(table)}: expected CSV, Parquet or JSON lines; a list of paths on stdin"
            " is named -"
        )
    with open(table, "rb") as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    return "json" if table.lower().endswith((".jsonl", ".ndjson")) else "csv"


def _entry(cells: Sequence[Any], folder: bytes) -> Entry | str:
    """The entry of a row. cells: its path and, if there is one, its source.

    folder: the table's. Raises TypeError where the path is no text.
    """
    path, source = cells[0], cells[1] if len(cells) > 1 else None
    if path in (None, "", b""):
        return MISSING_VALUE
    if isinstance(path, bytes):
        return Entry(_placed(path, folder))
    if not isinstance(path, str):
        raise TypeError(shown(path))
    if isinstance(source, str) and os.path.isabs(source):
        file, member = split_path(path)
        return Entry(file, unescape(source), member)
    return Entry(_placed(_encoded(path), folder))


def _placed(path: bytes, folder: bytes) -> bytes:
    """A path that is relative to the current folder, or where nothing is there to another."""
    beside = os.path.join(folder, path)
    for place in (path, beside):
        if os.path.lexists(place) or split_archive(place) is not None:
            return place
    return path


def _encoded(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # half of a surrogate pair, from JSON: no file has such a name
        return path.encode("utf-8", "surrogatepass")


def _csv_rows(table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    # Paths that are not UTF-8 may stand in a table as they are.
    with open(table, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        places = _places([name.strip() for name in next(reader, [])], columns, table)
        for cells in reader:
            if not cells:
                continue
            row = [cells[place] if place < len(cells) else None for place in places]
            if len(row) > 1 and row[0] and row[1] and os.path.isabs(row[1]):
                row[0] = restore(row[0])  # it is of an output, whose text cells were made safe
            yield row


def _json_rows(table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    with open(table, "rb") as file:
        lines = iter(lambda: file.readline(MAX_LINE_BYTES), b"")
        rows = (_json_row(line, number) for number, line in enumerate(lines, 1) if line.strip())
        first = next(rows, {})
        _places(list(first), columns, table)
        for row in chain([first], rows):
            yield [row.get(name) for name in columns]


def _json_row(line: bytes, number: int) -> Mapping[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not a JSON object")
    return row


def _parquet_rows(table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    import pyarrow.dataset as ds

    found = ds.dataset(table, format="parquet")
    names = found.schema.names
    chosen = [names[place] for place in _places(names, columns, table)]
    read = {"batch_size": _READ_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
    for batch in found.to_batches(columns=chosen, **read):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


_READERS = {"csv": _csv_rows, "json": _json_rows, "parquet": _parquet_rows}


def _places(names: Sequence[str], columns: Sequence[str], table: str) -> list[int]:
    """Where the columns stand among a table's names; the first has to be there.

    Raises AnnotateError.
    """
    wanted = columns[0]
    if wanted not in names:
        has = shown(", ".join(names), 300, quote=False) or "none"
        raise AnnotateError(
            f"table {shown(table)} has no column {shown(wanted)}: its columns are {has};"
            " name one with --column"
        )
    for column in columns:
        if names.count(column) > 1:
            raise AnnotateError(f"table {shown(table)} has two columns {shown(column)}: remove one")
    return [names.index(column) for column in columns if column in names]


def _arrow_error() -> type[Exception]:
    """What pyarrow raises, which is only imported where a table is read."""
    import pyarrow as pa

    error: type[Exception] = pa.ArrowException
    return error
