"""Zips: a zip file in, its entries out, in the order of its directory.

Not by the zipfile module, which holds the whole directory in memory, about a kilobyte a member.
Source: APPNOTE 6.3.10, the section numbers below are its.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

from annotate.archives.entries import ArchiveError, Budget, Entry, Kind, MemberError, too_large
from annotate.records import Status, held_ns

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END_64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_RECORD = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
_MAX_COMMENT = 0xFFFF
_MAX_RECORD = _RECORD.size + 3 * 0xFFFF
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF

_ENCRYPTED = 1 << 0
_HAS_END_MARK = 1 << 1
_UNIX = 3

_READ_BYTES = 2**20
_LZMA_BYTES = 256 * 2**20
"""Memory that an LZMA member may ask for; its header could claim 4 GiB."""

_MAX_PLACES = 1024
"""Places that are tried for a member of a zip of over 4 GiB whose offsets have 32 bits."""

_LARGE_FIELD, _NTFS_FIELD, _UNIX_TIME_FIELD = 0x0001, 0x000A, 0x5455
_NTFS_TIMES = b"\x01\x00\x18\x00"  # 4.5.5: the only attribute there is, of 24 bytes
_TICKS_TO_1970 = 116_444_736 * 10**9
"""From 1601 to 1970 in the 100 ns that Windows counts."""

_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where a zip's directory lies. start, stop: bytes from the file's start. shift: bytes that
    stand before the zip, as in one that unpacks itself. count: entries that it claims, modulo
    65,536 where the zip is of the old kind.
    """

    start: int
    stop: int
    shift: int
    count: int
    is_64: bool


@dataclass(frozen=True, slots=True)
class _Record:
    """What the directory says of a member: 4.3.12."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class Zip:
    """A zip file that is open for reading at any place. Raises ArchiveError.

    budget: of what it unpacks to.
    """

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._size = file.seek(0, os.SEEK_END)
        self._directory = self._find_directory()

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of the directory. Raises ArchiveError where it is damaged."""
        place, stop = self._directory.start, self._directory.stop
        count = 0
        buffer, at = b"", 0
        while place < stop:
            ahead = len(buffer) - at
            if ahead < _MAX_RECORD and place + ahead < stop:
                # Reading members has moved the file's position.
                self._file.seek(place)
                buffer, at = self._file.read(min(_READ_BYTES, stop - place)), 0
            entry, length = self._entry(buffer, at)
            place, at, count = place + length, at + length, count + 1
            yield entry
        claimed = self._directory.count
        if claimed != (count if self._directory.is_64 else count & _FULL_16):
            raise _damaged(f"its directory has {count} entries and claims {claimed}")

    def _find_directory(self) -> _Directory:
        tail_at = max(0, self._size - _END.size - _MAX_COMMENT)
        self._file.seek(tail_at)
        tail = self._file.read()
        at = _end_of_directory(tail)
        if at is None:
            raise _damaged("no directory at its end: cut short, or no zip")
        _, disk, _, _, count, length, offset, _ = _END.unpack_from(tail, at)
        end, is_64 = tail_at + at, False
        large = self._find_end_64(end)
        if large is not None:
            if large[2] < count != _FULL_16:  # entries would be lost
                raise _damaged(f"it claims {count} entries, and {large[2]} where it is large")
            end, disk, count, length, offset = large
            is_64 = True
        # What stands before the zip is not counted in its offsets.
        start, shift = end - length, end - length - offset
        if shift < 0 or (length and self._at(start, 4) != b"PK\x01\x02"):
            if disk:
                raise ArchiveError(Status.UNREADABLE, "one part of a zip that was split: join them")
            raise _damaged("its directory does not lie where its end says")
        return _Directory(start, end, shift, count, is_64)

    def _find_end_64(self, end: int) -> tuple[int, int, int, int, int] | None:
        """Of the end record of a large zip, if there is one: its place, the number of this disk,
        of entries, the directory's length and its offset.
        """
        locator = self._at(end - _LOCATOR.size, _LOCATOR.size)
        if locator[:4] != b"PK\x06\x07":
            return None
        _, _, stated, _ = _LOCATOR.unpack(locator)
        for place in (stated, end - _LOCATOR.size - _END_64.size):
            record = self._at(place, _END_64.size)
            if record[:4] == b"PK\x06\x06":
                _, _, _, _, disk, _, _, count, length, offset = _END_64.unpack(record)
                return place, disk, count, length, offset
        raise _damaged("its end says that it is large, and does not say how large")

    def _at(self, place: int, length: int) -> bytes:
        """Bytes at a place; fewer, or none, where the file has none there."""
        if not 0 <= place < self._size:
            return b""
        self._file.seek(place)
        return self._file.read(length)

    def _entry(self, buffer: bytes, at: int) -> tuple[Entry, int]:
        """The entry whose record stands in a buffer, and the record's length."""
        if len(buffer) - at < _RECORD.size or buffer[at : at + 4] != b"PK\x01\x02":
            raise _damaged("its directory is damaged")
        fields = _RECORD.unpack_from(buffer, at)
        _, made_by, _, flags, method, time, date, crc, packed, size = fields[:10]
        name_length, extra_length, comment_length, _, _, attributes, offset = fields[10:]
        name_at = at + _RECORD.size
        extra_at = name_at + name_length
        length = _RECORD.size + name_length + extra_length + comment_length
        if at + length > len(buffer):
            raise _damaged("its directory is damaged")
        name = buffer[name_at:extra_at]
        extra = _extra_fields(buffer[extra_at : extra_at + extra_length])
        size, packed, offset = _large(extra, size, packed, offset)
        record = _Record(name, flags, method, crc, packed, size, offset)
        entry = Entry(
            name=name,
            kind=_kind(name, made_by >> 8, attributes >> 16),
            size=size,
            modified_ns=_time_ns(extra, date, time),
            read=lambda limit: self._read(record, limit),
        )
        return entry, length

    def _read(self, record: _Record, limit: int) -> bytes:
        """A member's bytes, checked. Raises MemberError."""
        if record.flags & _ENCRYPTED:
            raise MemberError(Status.UNREADABLE, "encrypted: unpack it, annotate takes no password")
        if record.size > limit:
            raise too_large(record.size, limit)
        try:
            data = self._unpacked(record, limit)
        except (zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
            raise _bad_member(f"damaged in the archive: {error}") from error
        except OSError as error:
            if error.errno is None:  # what bz2 raises for bad data
                raise _bad_member(f"damaged in the archive: {error}") from error
            raise MemberError(Status.UNREADABLE, error.strerror or str(error)) from error
        if len(data) != record.size or zlib.crc32(data) != record.crc:
            raise _bad_member("damaged in the archive: its checksum or size is wrong")
        return data

    def _unpacked(self, record: _Record, limit: int) -> bytes:
        start = self._start(record)
        self._file.seek(start)
        if record.method == _STORED:
            data = self._file.read(min(record.packed, limit + 1))
            self._budget.spend(len(data))
            return data
        make = _DECOMPRESSORS.get(record.method)
        if make is None:
            raise _bad_member(f"compressed by method {record.method}, which annotate does not read")
        decompressor, head = make(self._file, record)
        left = start + record.packed - self._file.tell()
        return self._inflated(decompressor, head, left, limit)

    def _start(self, record: _Record) -> int:
        """Where a member's data start."""
        shift = self._directory.shift
        first = shift + record.offset
        if shift % 2**32 == 0:
            # So zips of over 4 GiB look that macOS makes: it stores offsets modulo 2**32.
            first = max(record.offset, first - (_MAX_PLACES - 1) * 2**32)
        for place in range(first, shift + record.offset + 1, 2**32):
            local = self._at(place, _LOCAL.size)
            if len(local) == _LOCAL.size and local[:4] == b"PK\x03\x04":
                name_length, extra_length = _LOCAL.unpack(local)[-2:]
                return place + _LOCAL.size + int(name_length) + int(extra_length)
        raise _bad_member("not where the archive's directory says")

    def _inflated(self, decompressor: Any, head: bytes, left: int, limit: int) -> bytes:
        """What a decompressor makes of some bytes and of the next `left` ones of the file."""
        out = bytearray()
        while not decompressor.eof and len(out) <= limit:
            packed = head or getattr(decompressor, "unconsumed_tail", b"")
            if not packed and getattr(decompressor, "needs_input", True):
                packed = self._file.read(max(0, min(left, _READ_BYTES)))
                left -= len(packed)
            head = b""
            made = decompressor.decompress(packed, min(_READ_BYTES, limit + 1 - len(out)))
            if not packed and not made:
                raise EOFError("cut short")
            self._budget.spend(len(made))
            out += made
        if len(out) > limit:
            raise too_large(f"over {limit}", limit)
        return bytes(out)


def _inflater(file: BinaryIO, record: _Record) -> tuple[Any, bytes]:
    return zlib.decompressobj(-zlib.MAX_WBITS), b""


def _bzip2(file: BinaryIO, record: _Record) -> tuple[Any, bytes]:
    return bz2.BZ2Decompressor(), b""


def _lzma(file: BinaryIO, record: _Record) -> tuple[Any, bytes]:
    """A decompressor, and the header that it wants before the data: 5.8.8."""
    properties = file.read(9)
    if len(properties) < 9 or properties[2:4] != b"\x05\x00":
        raise ValueError("no LZMA properties")
    size = b"\xff" * 8 if record.flags & _HAS_END_MARK else struct.pack("<Q", record.size)
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_BYTES)
    return decompressor, properties[4:] + size


_DECOMPRESSORS: dict[int, Callable[[BinaryIO, _Record], tuple[Any, bytes]]] = {
    _DEFLATED: _inflater,
    _BZIP2: _bzip2,
    _LZMA: _lzma,
}


def _end_of_directory(tail: bytes) -> int | None:
    """Where the end record stands: the last that the file ends with, else the last."""
    last = at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if at + _END.size <= len(tail):
            (comment,) = struct.unpack_from("<H", tail, at + _END.size - 2)
            if at + _END.size + comment == len(tail):
                return at
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return last if 0 <= last <= len(tail) - _END.size else None


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    """What stands in a member's extra field, by the numbers of its parts: 4.5.1."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        fields.setdefault(kind, extra[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _large(extra: dict[int, bytes], size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset, with those that need 64 bits taken from the extra field: 4.5.3."""
    field = extra.get(_LARGE_FIELD, b"")
    large = struct.iter_unpack("<Q", field[: len(field) // 8 * 8])
    values = [next(large, (v,))[0] if v == _FULL_32 else v for v in (size, packed, offset)]
    return values[0], values[1], values[2]


def _kind(name: bytes, system: int, mode: int) -> Kind:
    if name.endswith(b"/"):
        return Kind.FOLDER
    kind = stat.S_IFMT(mode) if system == _UNIX else 0
    if kind in (0, stat.S_IFREG):
        return Kind.FILE
    if kind == stat.S_IFDIR:
        return Kind.FOLDER
    return Kind.LINK if kind == stat.S_IFLNK else Kind.SPECIAL


def _time_ns(extra: dict[int, bytes], date: int, time: int) -> int | None:
    """When a member was modified, ns since 1970: UTC where an extra field says it, as most tools
    write one. MS-DOS date and time have no time zone and are taken for UTC.
    """
    windows = extra.get(_NTFS_FIELD, b"")
    if windows[4:8] == _NTFS_TIMES and len(windows) >= 16:
        (ticks,) = struct.unpack_from("<Q", windows, 8)
        return held_ns((ticks - _TICKS_TO_1970) * 100)
    unix = extra.get(_UNIX_TIME_FIELD, b"")
    if len(unix) >= 5 and unix[0] & 1:
        return int(struct.unpack_from("<i", unix, 1)[0]) * 10**9
    try:
        second = datetime(
            1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63,
            (time & 31) * 2, tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
    return int(second.timestamp()) * 10**9


def _damaged(text: str) -> ArchiveError:
    return ArchiveError(Status.DECODE_ERROR, text)


def _bad_member(text: str) -> MemberError:
    return MemberError(Status.DECODE_ERROR, text)
