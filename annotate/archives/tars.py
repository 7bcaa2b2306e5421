"""Tars: a stream of bytes in, the entries of the tar in it out, strictly forward.

Headers are parsed by `tarfile.TarInfo.frombuf`. The walk from one to the next is ours: the tarfile
module ends silently at a damaged header, keeps every member in a list, and reads extension headers
and sparse maps of any length. Source: POSIX.1-2017 pax; the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Protocol

from annotate.archives.entries import ArchiveError, Entry, Kind, MemberError, too_large
from annotate.records import Status, held_ns

BLOCK = tarfile.BLOCKSIZE

MAX_HEADER_BYTES = 2**20
"""Longer extension headers are refused; they hold names, and a few numbers."""

_MAX_PADDING_BLOCKS = 16 * 2**20 // BLOCK
"""Blocks of zeros behind a tar's end after which nothing more is looked for: some tools fill up a
megabyte."""

_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_WITHOUT_DATA = {
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.LINK,
    tarfile.LNKTYPE: Kind.HARD_LINK,
    tarfile.FIFOTYPE: Kind.SPECIAL,
    tarfile.CHRTYPE: Kind.SPECIAL,
    tarfile.BLKTYPE: Kind.SPECIAL,
}
"""All other types have data behind their header; POSIX wants unknown ones taken for files."""

_SPARSE = b"GNU.sparse."
_SPARSE_NAME = b"GNU.sparse.name"
_KEYWORDS = (b"path", b"size", b"mtime", _SPARSE_NAME)

_Records = dict[bytes, bytes]
"""What extension headers say of _KEYWORDS; and _SPARSE, where one begins with that. All others
are dropped, because global headers could bring any number of them."""


class Stream(Protocol):
    """Bytes from front to back."""

    def read(self, size: int, /) -> bytes:
        """So many bytes; fewer only at the end."""

    def skip(self, size: int) -> int:
        """Pass over so many bytes. Returns how many there were."""

    def parsed(self, size: int) -> None:
        """Hear that so many of the bytes read were a header. Raises ArchiveError: too many."""


def entries(stream: Stream) -> Iterator[Entry]:
    """All entries, in order, also those of tars that were joined to the first one by `cat`.

    Raises ArchiveError where the tar is damaged or breaks off.
    """
    block: bytes | None = stream.read(BLOCK)
    while block is not None:
        yield from _one_tar(stream, block)
        block = _behind_end(stream)


def _one_tar(stream: Stream, block: bytes) -> Iterator[Entry]:
    """The entries of a tar whose first block was read, up to the block of zeros that ends it."""
    common: _Records = {}
    own: _Records = {}
    while (header := _header(block)) is not None:
        stream.parsed(BLOCK)
        if header.type in _PAX:
            own |= _pax_records(_extension(stream, header))
        elif header.type == tarfile.XGLTYPE:
            common |= _pax_records(_extension(stream, header))
        elif header.type == tarfile.GNUTYPE_LONGNAME:
            own[b"path"] = _extension(stream, header).partition(b"\0")[0]
        elif header.type == tarfile.GNUTYPE_LONGLINK:
            _extension(stream, header)
        else:
            member = _Member(stream, header, _stored_name(header, block), common | own)
            if header.type == tarfile.GNUTYPE_SPARSE:
                _pass_over_map(stream, block)
            own = {}
            yield member.entry()
            member.pass_over()
        block = stream.read(BLOCK)


def _header(block: bytes) -> tarfile.TarInfo | None:
    """The header that a block is, or None for a block of zeros. Raises ArchiveError."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if len(block) < BLOCK:
            raise _cut_short() from error
        if any(block):
            raise _damaged("a damaged header, or no tar at all") from error
        return None


def _behind_end(stream: Stream) -> bytes | None:
    """The first block behind a tar's end that is not of zeros, or None where there is none."""
    for _ in range(_MAX_PADDING_BLOCKS):
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            return None
        if any(block):
            return block
    return None


def _stored_name(header: tarfile.TarInfo, block: bytes) -> bytes:
    """The name in a header.

    Where ustar has the first part of a long name, GNU's format has times, as `tar --incremental`
    stores them; frombuf takes those for a folder.
    """
    if block[257:265] == tarfile.GNU_MAGIC:
        return block[:100].partition(b"\0")[0]
    return header.name.encode("utf-8", "surrogateescape")


def _extension(stream: Stream, header: tarfile.TarInfo) -> bytes:
    """What stands behind an extension header."""
    if not 0 <= header.size <= MAX_HEADER_BYTES:
        raise _damaged(f"a header of {header.size} bytes, the limit is {MAX_HEADER_BYTES}")
    padded = _padded(header.size)
    data = stream.read(padded)
    if len(data) < padded:
        raise _cut_short()
    stream.parsed(padded)
    return data[: header.size]


def _pass_over_map(stream: Stream, header: bytes) -> None:
    """Pass over the blocks that go on with the map of a sparse file in GNU's old format."""
    has_more = header[482]
    while has_more:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise _cut_short()
        has_more = block[504]


def _pax_records(data: bytes) -> _Records:
    """The records `LENGTH KEYWORD=VALUE` of a pax header; LENGTH counts all of its record."""
    records: _Records = {}
    at = 0
    while at < len(data) and data[at] != 0:
        digits = data[at : at + 8].partition(b" ")[0]
        stop = at + int(digits) if digits.isdigit() else at
        keyword, mark, value = data[at + len(digits) + 1 : stop].partition(b"=")
        if not mark or stop > len(data) or not value.endswith(b"\n"):
            raise _damaged("a damaged pax header")
        if keyword in _KEYWORDS:
            records[keyword] = value[:-1]
        if keyword.startswith(_SPARSE):
            records[_SPARSE] = b""
        at = stop
    return records


class _Member:
    """One member of a tar: its header, its extension records, and the data that follow."""

    def __init__(
        self, stream: Stream, header: tarfile.TarInfo, stored: bytes, records: _Records
    ) -> None:
        self._stream = stream
        self._kind = _WITHOUT_DATA.get(header.type, Kind.FILE)
        self._is_sparse = header.type == tarfile.GNUTYPE_SPARSE or _SPARSE in records
        self._name = records.get(_SPARSE_NAME) or records.get(b"path") or stored
        self._size = _size(records.get(b"size"), header.size)
        self._time_ns = _time_ns(records.get(b"mtime"), int(header.mtime))
        self._left = _padded(self._size) if self._kind is Kind.FILE else 0

    def entry(self) -> Entry:
        """The member as the rest of the program sees it."""
        return Entry(self._name, self._kind, self._size, self._time_ns, self._read)

    def pass_over(self) -> None:
        """Go to where the next header is. Raises ArchiveError where the tar ends before."""
        if self._stream.skip(self._left) < self._left:
            raise _cut_short()

    def _read(self, limit: int) -> bytes:
        """The member's bytes. Raises MemberError."""
        if self._is_sparse:
            text = "stored as a sparse file, which annotate does not read: pack it without --sparse"
            raise MemberError(Status.UNREADABLE, text)
        if self._size > limit:
            raise too_large(self._size, limit)
        data = self._stream.read(self._size)
        self._left -= len(data)
        if len(data) < self._size:
            raise MemberError(Status.DECODE_ERROR, "the archive is cut short in this member")
        return data


def _padded(size: int) -> int:
    """The bytes that data take in a tar: whole blocks."""
    return size + -size % BLOCK


def _size(record: bytes | None, stored: int) -> int:
    """A member's size in bytes, of its pax record or else of its header."""
    if record is not None and (not record.isdigit() or len(record) > 18):
        raise _damaged("a size that is no number of bytes")
    size = stored if record is None else int(record)
    if not 0 <= size < 2**63:
        raise _damaged(f"a member of {size} bytes")
    return size


def _time_ns(record: bytes | None, stored: int) -> int | None:
    """Modification time, ns since 1970, of the pax record in seconds, or else of the header."""
    if record is None:
        return held_ns(stored * 10**9)
    try:
        seconds = Decimal(record[:40].decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    # A number such as 1e999999999 would fill memory with digits.
    is_time = seconds.is_finite() and seconds.adjusted() <= 12
    return held_ns(int(seconds * 10**9)) if is_time else None


def _cut_short() -> ArchiveError:
    return _damaged("cut short")


def _damaged(text: str) -> ArchiveError:
    return ArchiveError(Status.DECODE_ERROR, text)
