"""Archives: a zip or tar in, the inputs in it out, one at a time, and never a file on disk.

Read as streams: of an archive no more than one member is in memory, and no more of a member than
may be held, whatever the archive claims. What is wrong with a member is that member's failure;
where an archive is damaged or breaks off, what was read stands, and a last input says why.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO, cast

from annotate.archives import tars
from annotate.archives.entries import (
    HEADER_COST,
    ArchiveError,
    Budget,
    Entry,
    Kind,
    MemberError,
)
from annotate.archives.zips import Zip
from annotate.errors import AnnotateError, one_line, shown
from annotate.names import locate, member_path, resolve
from annotate.records import Failure, Source, Status, modified_ns
from annotate.selection import Selection
from annotate.streams import MAX_FILE_BYTES, open_file

_PART_BYTES = 16 * 2**20
"""Bytes of a tar that are read at a time: between two such parts a reader can be stopped."""

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""What files of these formats start with. A zip may also have something else before it."""

_MAX_GZIP_NAME = 2**16

_PASSED_OVER = {
    Kind.FOLDER: "folder entry of an archive",
    Kind.LINK: "link in an archive",
    Kind.SPECIAL: "not a regular file",
}


class _StoppedError(Exception):
    """Nobody waits for the archive any more."""


class Archive:
    """The inputs of one archive. Iterate once.

    wanted: names of the members to read; None for all that are images by their name. is_unread:
    whether a member, whose bytes are not there yet, does not need them; asked once of each.
    is_stopped: asked now and then; once it says yes, the iteration ends. skip: leave out the first
    so many inputs, which an earlier run had; done: their names, where some are wanted. `ahead`:
    inputs that are known to come, all of them if `is_ahead_known`; `skipped`: what was passed over,
    by reason.
    """

    def __init__(
        self,
        source: Source,
        selection: Selection,
        *,
        wanted: Mapping[bytes, None] | None = None,
        is_unread: Callable[[Source], bool] = lambda source: False,
        is_stopped: Callable[[], bool] = lambda: False,
        skip: int = 0,
        done: Collection[bytes] = (),
    ) -> None:
        self.ahead = len(wanted or ())
        self._skip = skip
        self._done = done
        self._read_before = 0
        self.is_ahead_known = wanted is not None
        self.skipped: Counter[str] = Counter()
        self._source = source
        self._selection = selection
        self._wanted = wanted
        self._is_unread = is_unread
        self._is_stopped = is_stopped
        self._missing = dict(wanted or {})

    def __iter__(self) -> Iterator[Source]:
        for number, source in enumerate(self._all()):
            if number >= self._skip:
                yield source

    def _all(self) -> Iterator[Source]:
        failure = Failure(Status.UNREADABLE, "the archive has no such member")
        try:
            yield from self._inputs()
        except _StoppedError:
            return
        except ArchiveError as error:
            failure = Failure(error.status, f"archive: {error}")
        except (OSError, ValueError) as error:
            failure = Failure(Status.UNREADABLE, f"archive: {_reason(error)}")
        else:
            if self._wanted is None:
                return
        # No earlier run had the row of the archive: it would have been its last.
        self._skip = 0
        if self._wanted is None:
            yield replace(self._source, is_archive=False, failure=failure)
        for name in self._missing:
            if name not in self._done:
                yield self._member(name, failure=failure)

    def _inputs(self) -> Iterator[Source]:
        """The inputs in the archive. Raises ArchiveError, OSError, ValueError."""
        with _Reader(self._source.location, self._is_stopped) as reader:
            if self._skip and reader.state != self._planned_state:
                raise ArchiveError(Status.CHANGED, "changed since the run began")
            if self._wanted is None and reader.has_directory:
                self._look_ahead(reader)
            for entry in reader.entries():
                if self._is_input(entry):
                    self.ahead = max(0, self.ahead - 1)
                    yield from self._read(entry, reader)
            reader.check_unchanged()

    @property
    def _planned_state(self) -> tuple[int | None, int | None]:
        return self._source.size_bytes, self._source.modified_ns

    def _look_ahead(self, reader: _Reader) -> None:
        """Count the inputs to come."""
        with contextlib.suppress(ArchiveError):  # reading comes to the same fault
            for entry in reader.entries():
                self.ahead += self._why_not(entry) is None
        self.is_ahead_known = True

    def _is_input(self, entry: Entry) -> bool:
        """Whether a row is to be made of an entry; if it is passed over, that is counted."""
        if self._wanted is not None:
            return entry.name in self._wanted and entry.kind in (Kind.FILE, Kind.HARD_LINK)
        reason = self._why_not(entry)
        if reason is not None:
            self.skipped[reason] += 1
        return reason is None

    def _why_not(self, entry: Entry) -> str | None:
        return _PASSED_OVER.get(entry.kind) or self._selection.why_not_member(entry.name)

    def _read(self, entry: Entry, reader: _Reader) -> Iterator[Source]:
        """The input that an entry is, its bytes read. Raises ArchiveError behind it."""
        self._read_before += 1
        self._missing.pop(entry.name, None)
        if entry.kind is Kind.HARD_LINK:
            text = "a hard link to another member of the archive, which has the bytes"
            yield self._member(entry.name, entry, failure=Failure(Status.UNREADABLE, text))
            return
        try:
            if self._is_left(entry):
                reader.leave(entry)
                data = b""
            else:
                data = entry.read(MAX_FILE_BYTES)
        except MemberError as error:
            yield self._member(entry.name, entry, failure=Failure(error.status, str(error)))
            if isinstance(error, ArchiveError):
                raise
        else:
            yield self._member(entry.name, entry, data=data)

    def _is_left(self, entry: Entry) -> bool:
        """Whether the bytes of an input are not needed."""
        if self._read_before <= self._skip:
            # The last one that is left out is read: it may be where the archive breaks off.
            return self._read_before < self._skip
        return self._is_unread(self._member(entry.name, entry))

    def _member(
        self,
        name: bytes,
        entry: Entry | None = None,
        *,
        data: bytes | None = None,
        failure: Failure | None = None,
    ) -> Source:
        claimed = None if entry is None or entry.size >= 2**63 else entry.size
        return replace(
            self._source,
            path=member_path(self._source.path, name),
            size_bytes=claimed,
            modified_ns=None if entry is None else entry.modified_ns,
            failure=failure,
            data=data,
            is_archive=False,
        )


class _Reader:
    """An archive that is open. A context manager. Raises OSError, ArchiveError."""

    def __init__(self, location: bytes, is_stopped: Callable[[], bool]) -> None:
        self._file = open_file(location)
        self._is_stopped = is_stopped
        self._state = os.fstat(self._file.fileno())
        self._zip: Zip | None = None
        try:
            if not stat.S_ISREG(self._state.st_mode):
                raise ArchiveError(Status.UNREADABLE, "not a regular file")
            self._budget = Budget(self._state.st_size)
            start = self._file.read(4) or b""  # None where it would have to be waited for
            self._is_packed = start.startswith(_GZIP)
            is_named_zip = location.lower().endswith(b".zip") and not self._is_packed
            if is_named_zip or start.startswith(_ZIP):
                self._zip = Zip(self._file, self._budget)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def state(self) -> tuple[int, int]:
        """Size in bytes and time of modification, ns since 1970, of the archive."""
        return self._state.st_size, modified_ns(self._state)

    @property
    def has_directory(self) -> bool:
        """Whether all entries can be known before any is read."""
        return self._zip is not None

    def entries(self) -> Iterator[Entry]:
        """All entries, in order."""
        for entry in self._tar_entries() if self._zip is None else self._zip.entries():
            if self._is_stopped():
                raise _StoppedError
            yield entry

    def leave(self, entry: Entry) -> None:
        """Count an entry that is not read, so that what is given up does not hang on what was kept.

        Raises ArchiveError.
        """
        if self._zip is not None:  # what is left of a tar is unpacked all the same
            self._budget.spend(min(entry.size, MAX_FILE_BYTES))

    def check_unchanged(self) -> None:
        """Raise ArchiveError where the archive is not the one that was opened."""
        now = os.fstat(self._file.fileno())
        was = self._state
        if (now.st_size, now.st_mtime_ns) != (was.st_size, was.st_mtime_ns):
            raise ArchiveError(Status.CHANGED, "changed while it was read")

    def _tar_entries(self) -> Iterator[Entry]:
        self._file.seek(0)
        if not self._is_packed:
            return tars.entries(_FileStream(self._file, self._is_stopped))
        return tars.entries(_GzipStream(self._file, self._is_stopped, self._budget))


class _FileStream:
    """A tars.Stream of a file."""

    def __init__(self, file: BinaryIO, is_stopped: Callable[[], bool]) -> None:
        self._file = file
        self._is_stopped = is_stopped

    def read(self, size: int, /) -> bytes:
        """So many bytes; fewer only at the end. Raises ArchiveError."""
        parts = []
        while size > 0 and (part := self._part(min(size, _PART_BYTES))):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, size: int) -> int:
        """Pass over so many bytes. Returns how many there were."""
        place = self._file.tell()
        stop = min(place + size, max(place, os.fstat(self._file.fileno()).st_size))
        return self._file.seek(stop) - place

    def parsed(self, size: int) -> None:
        """Hear that so many of the bytes read were a header."""

    def _part(self, size: int) -> bytes:
        if self._is_stopped():
            raise _StoppedError
        return self._file.read(size) or b""


class _GzipFile(_FileStream):
    """What a gzip reader reads: the names in headers a byte at a time, however far their end is."""

    _single = 0

    def read(self, size: int, /) -> bytes:
        """So many bytes; fewer only at the end. Raises ArchiveError."""
        self._single = self._single + 1 if size == 1 else 0
        if self._single > _MAX_GZIP_NAME:
            text = f"damaged: a name of over {_MAX_GZIP_NAME} bytes in its header"
            raise ArchiveError(Status.DECODE_ERROR, text)
        return super().read(size)


class _GzipStream(_FileStream):
    """A tars.Stream of what a gzip file unpacks to, within a budget."""

    def __init__(self, file: BinaryIO, is_stopped: Callable[[], bool], budget: Budget) -> None:
        super().__init__(file, is_stopped)
        # It reads by way of this class, and so can be stopped where nothing comes out for long.
        packed = cast(BinaryIO, _GzipFile(file, is_stopped))
        self._unpacked = gzip.GzipFile(fileobj=packed, mode="rb")
        self._budget = budget

    def skip(self, size: int) -> int:
        """Pass over so many bytes. Returns how many there were."""
        passed = 0
        while passed < size and (part := self._part(min(size - passed, _PART_BYTES))):
            passed += len(part)
        return passed

    def parsed(self, size: int) -> None:
        """Hear that so many of the bytes read were a header. Raises ArchiveError: too many."""
        self._budget.spend(HEADER_COST * size)

    def _part(self, size: int) -> bytes:
        if self._is_stopped():
            raise _StoppedError
        try:
            part = self._unpacked.read(size)
        except EOFError as error:
            raise ArchiveError(Status.DECODE_ERROR, "cut short") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            if self._unpacked.tell() and str(error).startswith("Not a gzipped file"):
                return b""  # what follows a whole gzip file is no part of it, as gzip has it
            text = f"damaged: {one_line(error)}"
            raise ArchiveError(Status.DECODE_ERROR, text) from error
        self._budget.spend(len(part))
        return part


def names_in(archive: bytes) -> set[bytes] | None:
    """The names of all entries of an archive; None where it cannot be read to its end."""
    try:
        with _Reader(archive, lambda: False) as reader:
            return {entry.name for entry in reader.entries()}
    except (OSError, ValueError, ArchiveError):
        return None


def open_input(row: Mapping[str, Any]) -> BinaryIO:
    """The bytes of a row's input, a file or an archive's member, as a stream to read.

    row: anything with `source` and `path`, such as a dict or a row of a DataFrame; a `sha256`
    tells members of one name apart. Members are checked, and held in memory.
    Raises AnnotateError where the input is not there any more, or cannot be read.
    """
    location, member = locate(row)
    try:
        if member is None:
            return open_file(location)
        return io.BytesIO(_bytes_of(location, member, row.get("sha256")))
    except (OSError, ValueError, MemberError) as error:
        reason = str(error) if isinstance(error, MemberError) else _reason(error)
        raise AnnotateError(f"cannot open {shown(resolve(row), 300)}: {reason}") from error


def _bytes_of(archive: bytes, member: bytes, sha256: object) -> bytes:
    """A member's bytes: of several of its name, those of this hash, else the first."""
    first: bytes | None = None
    with _Reader(archive, lambda: False) as reader:
        for entry in reader.entries():
            if entry.name != member or entry.kind is not Kind.FILE:
                continue
            data = entry.read(MAX_FILE_BYTES)
            if not isinstance(sha256, str) or hashlib.sha256(data).hexdigest() == sha256:
                return data
            first = data if first is None else first
    if first is None:
        raise ArchiveError(Status.UNREADABLE, "the archive has no such member")
    return first


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)
