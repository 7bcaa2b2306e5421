"""Joining: an earlier output and a folder's inputs in, the output's rows for those inputs out.

The join is by SHA-256 first, so that moved and renamed files find their rows, then by path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from annotate.errors import AnnotateError, shown
from annotate.labels import Fault
from annotate.records import Source, Status
from annotate.rows import schema


@dataclass(frozen=True)
class Joined:
    """Rows of the inputs that have any, in plan order, and what went otherwise than by hash.

    table: the columns of records.COLUMNS, with `source`, `path`, `size_bytes` and `modified_at`
    of the input. by_sha256, by_path: inputs found in either way. faults: "no_prediction" and
    "other_content".
    """

    table: pa.Table
    by_sha256: int
    by_path: int
    faults: tuple[Fault, ...]


def typed(table: pa.Table, name: str = "the predictions") -> pa.Table:
    """The columns of records.COLUMNS with their types, metadata kept.

    name: what messages call the table. Raises AnnotateError where a column is missing or holds
    something else.
    """
    columns = []
    for field in schema():
        try:
            column = table.column(field.name)
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            kind = field.type
            plain = kind.value_type if pa.types.is_dictionary(kind) else kind
            column = column.cast(plain)
            columns.append(column.dictionary_encode() if plain != kind else column)
        except (KeyError, pa.ArrowException) as error:
            raise AnnotateError(
                f"column {field.name!r} of {name} is not what annotate writes:"
                f" {shown(str(error), 200, quote=False)}; expected an output of annotate run"
            ) from error
    rows = pa.table(columns, schema=schema().with_metadata(table.schema.metadata))
    _check_texts(rows, name)
    unknown = set(rows.column("status").unique().to_pylist()) - {str(s) for s in Status}
    if unknown:
        raise AnnotateError(
            f"{name}: the status {shown(unknown.pop())} is none that annotate writes; expected an"
            " output of annotate run"
        )
    return rows


def _check_texts(table: pa.Table, name: str) -> None:
    """Raise AnnotateError where a text is not UTF-8, though its file says so: Arrow trusts it."""
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise AnnotateError(
            f"{name}: {shown(str(error), 200, quote=False)}; expected an output of annotate run"
        ) from error


def join(table: pa.Table, plan: Iterable[Source]) -> Joined:
    """The rows of `table` that belong to the inputs of a plan.

    table: as `typed` gives it; rows of any number of SOURCEs. Each input is read once for its
    hash; one that cannot be read is looked up by its path alone.
    """
    index = _Index(table)
    taken: list[int] = []
    owners: list[tuple[Source, int]] = []
    faults: list[Fault] = []
    by_path = 0
    for source in plan:
        sha256 = _sha256(source)
        found = index.by_sha256(sha256, source)
        if found is None:
            found = index.by_path(source)
            by_path += found is not None
            if found is not None and sha256 is not None and index.sha256[found[0]] is not None:
                detail = "found by its path; the prediction was made from other bytes"
                faults.append(Fault("other_content", source.path, detail))
        if found is None:
            faults.append(Fault("no_prediction", source.path, "not in the given predictions"))
            continue
        taken += found
        owners.append((source, len(found)))
    joined = _owned(table.take(pa.array(taken, pa.int64())), owners)
    return Joined(joined, len(owners) - by_path, by_path, tuple(faults))


def _sha256(source: Source) -> str | None:
    """Hexadecimal, or None where the file cannot be read."""
    try:
        with open(source.location, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


class _Index:
    """Row numbers of an output's inputs, by hash and by path."""

    def __init__(self, table: pa.Table) -> None:
        self.sha256: list[str | None] = table.column("sha256").to_pylist()
        self._status: list[str | None] = table.column("status").to_pylist()
        self._path: list[str | None] = table.column("path").to_pylist()
        self._source: list[str | None] = table.column("source").to_pylist()
        self._by_sha256: dict[str, list[list[int]]] = {}
        self._by_path: dict[str | None, list[list[int]]] = {}
        for rows in self._inputs(table.column("face_index").to_pylist()):
            self._by_path.setdefault(self._path[rows[0]], []).append(rows)
            digest = self.sha256[rows[0]]
            if digest is not None:
                self._by_sha256.setdefault(digest, []).append(rows)

    def _inputs(self, face_index: list[int | None]) -> list[list[int]]:
        """The rows of each input. An output that was put together from several may tell of an
        input twice: where its first face comes again, another telling begins.
        """
        latest: dict[tuple[str | None, ...], list[int]] = {}
        inputs: list[list[int]] = []
        for row, key in enumerate(zip(self._source, self._path, self.sha256, strict=True)):
            rows = latest.get(key)
            if rows is None or face_index[row] == face_index[rows[0]]:
                rows = latest[key] = []
                inputs.append(rows)
            rows.append(row)
        return inputs

    def by_sha256(self, sha256: str | None, source: Source) -> list[int] | None:
        """Rows of the faces in the same bytes. If there are several such inputs: labelled ones
        before failures and duplicates, then of the same path, then of the same SOURCE.
        """
        found = self._by_sha256.get(sha256 or "")
        if not found:
            return None
        labelled = {str(Status.OK), str(Status.NO_FACE)}
        return min(
            found,
            key=lambda rows: (
                self._status[rows[0]] not in labelled,
                self._path[rows[0]] != source.path,
                self._source[rows[0]] != source.source,
            ),
        )

    def by_path(self, source: Source) -> list[int] | None:
        """Rows of the same path: of the same SOURCE, or of the only one that has the path."""
        found = self._by_path.get(source.path, [])
        same = [rows for rows in found if self._source[rows[0]] == source.source]
        return next((rows[0] for rows in (same, found) if len(rows) == 1), None)


def _owned(table: pa.Table, owners: list[tuple[Source, int]]) -> pa.Table:
    """The rows with the place, size and time of the inputs that they now belong to.

    owners: each input and how many of the rows, in order, are its.
    """
    each = [source for source, count in owners for _ in range(count)]
    columns = {
        "source": pa.array([source.source for source in each], pa.string()),
        "path": pa.array([source.path for source in each], pa.string()),
        "size_bytes": pa.array([source.size_bytes for source in each], pa.int64()),
        "modified_at": pa.array([_microseconds(source) for source in each], pa.int64()),
    }
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, column.cast(field.type))
    return table


def _microseconds(source: Source) -> int | None:
    """Modification time as rows hold it: microseconds since 1970, UTC."""
    return None if source.modified_ns is None else source.modified_ns // 1000
