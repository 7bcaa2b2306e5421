"""Previous: a finished Parquet output in; which inputs it has, and the rows of each, out.

Its index takes about 80 bytes an input. Rows are read when they are asked for, a row group at a
time.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotate.arrow_files import opened
from annotate.digests import DIGEST_BYTES, Digests, content_digest, joined, path_digest
from annotate.errors import AnnotateError, one_line, shown
from annotate.names import MEMBER_MARK, is_archive_name, split_path, unescape
from annotate.plan import Found
from annotate.records import COLUMNS, Cursor, Kept, Sample, Source, Status
from annotate.rows import attributes_of, schema

_INDEXED = ("source", "path", "size_bytes", "modified_at", "sha256", "status", "face_index")
_STATUSES = [str(status) for status in Status]
_FAILED = np.array([status.is_failure for status in Status])
_LABELLED = np.array([status in (Status.OK, Status.NO_FACE) for status in Status])
_NONE = -(2**63)
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, pa.ArrowException)


class Copied(NamedTuple):
    """An input that gets the labels of another one, `ordinal`, since it has its bytes.

    source, path: as written to its rows. modified_us: since 1970, UTC; None where it is not known.
    cursor, is_beside: as of `Kept`.
    """

    ordinal: int
    source: str
    path: str
    modified_us: int | None
    cursor: Cursor
    is_beside: bool = False

    @staticmethod
    def of(sample: Sample, ordinal: int) -> Copied:
        """An input that was read, and found to be known."""
        source, time_ns = sample.source, sample.facts.modified_ns
        time_us = None if time_ns is None else time_ns // 1000
        return Copied(ordinal, source.source, source.path, time_us, source.cursor)


class Previous:
    """A finished output. Its inputs are numbered from 0, in the order of their rows."""

    def __init__(self, path: Path) -> None:
        """Raises AnnotateError where it is no Parquet output of annotate."""
        self._path = path
        self._members: dict[bytes, array[int]] = {}
        self._numbered = 0
        try:
            files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
            self._files = [pq.ParquetFile(opened(file)) for file in files]
            self.attributes = attributes_of(self._files[0].schema_arrow)
            self._build()
        except _UNREADABLE as error:
            raise AnnotateError(
                f"cannot go on from {path}: {one_line(error)}; --overwrite starts again"
            ) from error

    def __len__(self) -> int:
        return len(self._sizes)

    def close(self) -> None:
        """Close its files."""
        for file in self._files:
            file.close(force=True)

    def find(self, source: Source) -> Iterator[int]:
        """The inputs at the path of a source; several only where an archive has several."""
        member = split_path(source.path)[1] if MEMBER_MARK in source.path else None
        return self.find_path(source.location, member)

    def find_path(self, location: bytes, member: bytes | None = None) -> Iterator[int]:
        """The inputs of a file, or of a member's name in an archive."""
        return self._paths.find(path_digest(location, member))

    def members(self, archive: bytes) -> list[int]:
        """The inputs that are members of an archive. archive: the path that opens it."""
        return list(self._members.get(archive, ()))

    def is_same(self, ordinal: int, source: Source) -> bool:
        """Whether an input has the size and the time that a scan has found."""
        time_us = _NONE if source.modified_ns is None else source.modified_ns // 1000
        size = _NONE if source.size_bytes is None else source.size_bytes
        return bool(self._sizes[ordinal] == size and self._times[ordinal] == time_us)

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Which inputs failed, (N,)."""
        failed: npt.NDArray[np.bool_] = _FAILED[self._statuses]
        return failed

    def status(self, ordinal: int) -> Status:
        """What became of an input."""
        return Status(_STATUSES[self._statuses[ordinal]])

    def statuses(self, start: int, stop: int) -> Counter[str]:
        """How many inputs of `start` to `stop` - 1 have which status."""
        counts = np.bincount(self._statuses[start:stop], minlength=len(_STATUSES))
        return Counter({s: int(n) for s, n in zip(_STATUSES, counts, strict=True) if n})

    def content(self, ordinal: int) -> bytes | None:
        """The digest of an input's bytes, None where it is not known."""
        # NumPy takes zeros at the end of bytes for padding.
        digest = bytes(self._contents[ordinal]).ljust(DIGEST_BYTES, b"\0")
        return digest if self._has_content[ordinal] else None

    def labelled(self, digest: bytes) -> int | None:
        """The first input with these bytes that was decoded, None where there is none."""
        return next(self._labelled.find(digest), None)

    @property
    def labelled_contents(self) -> set[bytes]:
        """The digests of the contents that `labelled` knows."""
        return set(self._labelled)

    def mark_in(self, other: Previous, marks: npt.NDArray[np.bool_]) -> None:
        """Mark the inputs of another output that are inputs of this one too. marks: (N,)."""
        for digest in self._paths:
            ordinal = next((q for q in other._paths.find(digest) if not marks[q]), None)
            if ordinal is not None:
                marks[ordinal] = True

    def save_known(self, path: Path) -> None:
        """Write the contents that `labelled` knows, for KnownContents. Raises OSError."""
        self._labelled.save(path)

    def found(self, ordinal: int) -> Found:
        """An input as a scan would find it; of an archive's member, the archive and its name."""
        row = self.rows(ordinal, ordinal + 1)[0].slice(0, 1).select(["source", "path"])
        source, path = (column.to_pylist()[0] for column in row.columns)
        file, member = split_path(path)
        is_archive = member is not None or is_archive_name(file)
        size, time_us = int(self._sizes[ordinal]), int(self._times[ordinal])
        is_known = size != _NONE and time_us != _NONE and not is_archive
        return Found(
            unescape(source),
            file,
            size if is_known else None,
            time_us * 1000 if is_known else None,
            is_archive=is_archive,
            member=member,
        )

    def rows(self, start: int, stop: int) -> list[pa.RecordBatch]:
        """The rows of inputs, `start` to `stop` - 1. Raises AnnotateError."""
        first = int(self._first_row[start])
        last = int(self._first_row[stop])
        found: list[pa.RecordBatch] = []
        while first < last:
            group = int(np.searchsorted(self._group_start, first, "right")) - 1
            begin = int(self._group_start[group])
            end = min(last, int(self._group_start[group + 1]))
            found += self._group(group).slice(first - begin, end - first).to_batches()
            first = end
        return found

    def renamed(self, ordinal: int, other: int, kept: Kept) -> Copied:
        """The labels of an input for another one that has its rows without labels."""
        row = self.rows(other, other + 1)[0].slice(0, 1).select(["source", "path"])
        source, path = (column.to_pylist()[0] for column in row.columns)
        time_us = int(self._times[other])
        known_us = None if time_us == _NONE else time_us
        return Copied(ordinal, source, path, known_us, kept.cursor, kept.is_beside)

    def copy(self, copied: Copied) -> pa.RecordBatch:
        """The rows of an input, under the name of another one that has its bytes."""
        table = pa.Table.from_batches(self.rows(copied.ordinal, copied.ordinal + 1))
        values = {
            "source": copied.source,
            "path": copied.path,
            "modified_at": copied.modified_us,
        }
        for name, value in values.items():
            field = table.schema.field(name)
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            column = pa.array([value] * len(table), kind).cast(field.type)
            table = table.set_column(table.schema.get_field_index(name), field, column)
        return table.combine_chunks().to_batches()[0]

    def _build(self) -> None:
        """Read the columns that tell inputs apart."""
        missing = [c.name for c in COLUMNS if c.name not in self._files[0].schema_arrow.names]
        if missing:
            raise ValueError(f"it has no column {shown(missing[0])}")
        self._groups = [
            (file, index) for file in self._files for index in range(file.num_row_groups)
        ]
        counts = [file.metadata.row_group(index).num_rows for file, index in self._groups]
        self._group_start = np.cumsum([0, *counts], dtype=np.int64)
        self._cached: dict[int, pa.Table] = {}
        parts = [
            self._index(file.read_row_group(group, columns=list(_INDEXED)), first)
            for (file, group), first in zip(self._groups, self._group_start, strict=False)
        ] or [self._index(self._files[0].schema_arrow.empty_table().select(_INDEXED), 0)]
        index = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        total = np.array([self._group_start[-1]])
        self._first_row = np.concatenate([index["first_row"], total])
        self._sizes, self._times = index["size"], index["time"]
        self._statuses, self._contents = index["status"], index["content"]
        self._has_content = index["has_content"]
        ordinals = np.arange(len(self._sizes), dtype=np.int32)
        self._paths = Digests(index["path"], ordinals)
        is_labelled = _LABELLED[self._statuses] & self._has_content
        self._labelled = Digests(self._contents[is_labelled], ordinals[is_labelled])

    def _index(self, table: pa.Table, first_row: int) -> dict[str, npt.NDArray[Any]]:
        """The index of a row group's inputs. An input begins where no row before is of it."""
        begins = pc.fill_null(pc.less_equal(table["face_index"], 0), True).to_numpy()
        first = np.flatnonzero(begins)
        table = table.take(pa.array(first))
        codes = {name: code for code, name in enumerate(_STATUSES)}
        statuses = [codes[status] for status in table["status"].to_pylist()]
        contents = table["sha256"].to_pylist()
        blank = bytes(DIGEST_BYTES)
        times = table["modified_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return {
            "first_row": first + first_row,
            "path": joined(self._path_digests(table)),
            "size": pc.fill_null(table["size_bytes"].cast(pa.int64()), _NONE).to_numpy(),
            "time": pc.fill_null(times, _NONE).to_numpy(),
            "status": np.array(statuses, np.uint8),
            "content": joined(blank if sha is None else content_digest(sha) for sha in contents),
            "has_content": np.array([sha is not None for sha in contents], bool),
        }

    def _path_digests(self, table: pa.Table) -> Iterator[bytes]:
        """Of the paths of the next inputs. Members are noted with their archives."""
        roots: dict[str, bytes] = {}
        for source, path in zip(
            table["source"].to_pylist(), table["path"].to_pylist(), strict=True
        ):
            if source not in roots:
                roots[source] = unescape(source)
            file, member = split_path(path)
            location = os.path.join(roots[source], file)
            if member is not None:
                self._members.setdefault(location, array("I")).append(self._numbered)
            self._numbered += 1
            yield path_digest(location, member)

    def _group(self, number: int) -> pa.Table:
        """A row group's rows. The last ones that were read are kept."""
        if number not in self._cached:
            while len(self._cached) >= 2:
                self._cached.pop(next(iter(self._cached)))
            file, group = self._groups[number]
            try:
                table = file.read_row_group(group).select([column.name for column in COLUMNS])
                self._cached[number] = table.cast(schema()).unify_dictionaries().combine_chunks()
            except _UNREADABLE as error:
                raise AnnotateError(f"cannot read {self._path}: {one_line(error)}") from error
        return self._cached[number]
