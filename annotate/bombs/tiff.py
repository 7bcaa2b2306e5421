"""TIFF: directories of too many numbers, strips that share their bytes, tiles of any size."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.bombs.errors import BombError

MAX_NUMBERS = 2**20
"""Numbers under one tag; Python needs ten times their bytes. A picture of the most pixels that are
decoded, in tiles of 16 x 16, has half as many offsets."""

MAX_EXIF_NUMBERS = 2**16
"""Numbers in the directories of EXIF together, of which Pillow makes objects, all at once. What
cameras add of their own is bytes."""

MAX_FRACTIONS = 2**16
"""Fractions under one tag. Each becomes an object, in four microseconds."""

MAX_ENTRIES = 2**16
"""Entries of a directory. BigTIFF has 64 bits for their number, TIFF 16."""

MAX_EXIF_DIRECTORIES = 8
"""A picture has three: EXIF itself, GPS, interoperability."""

MAX_SHARING = 16
"""Times the file that its strips or tiles may take together: they lie side by side, but there are
writers that give wrong sizes. The decoder unpacks each of them, however many share their bytes."""

MAX_TILE_PIXELS = 2**24
"""Pixels of a tile, or else one and a quarter of the picture: the decoder unpacks it whole."""

_MARK = re.compile(rb"(II|MM)(\x2a\0|\0\x2a|\x2b\0|\0\x2b)")
_PACKED = frozenset([1, 2, 7])  # BYTE, ASCII, UNDEFINED: Python keeps these packed
_FRACTIONS = frozenset([5, 10])
_DTYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8"}
"""Types of whole numbers. Source: TIFF 6.0, section 2; BigTIFF."""

_WIDTH, _HEIGHT = 256, 257
_STRIP_BYTES, _TILE_BYTES = 279, 325
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_EXIF_DIRECTORIES = frozenset([34665, 34853, 40965])


@dataclass(frozen=True, slots=True)
class _Entry:
    """Of a directory. count: of its numbers. place: of the first one, from the file's start."""

    tag: int
    kind: int
    count: int
    place: int


class _Reader:
    """A TIFF file, read as one of 32 or of 64 bits."""

    def __init__(self, data: bytes, *, is_64: bool) -> None:
        order = "<" if data.startswith(b"II") else ">"
        self._data = data
        self._order = order
        self._entry = struct.Struct(order + ("HHQ8x" if is_64 else "HHL4x"))
        self._offset = struct.Struct(order + ("Q" if is_64 else "L"))
        self._count = struct.Struct(order + ("Q" if is_64 else "H"))
        self._first_at = 8 if is_64 else 4

    def first(self) -> list[_Entry]:
        """The entries of the first directory."""
        return list(self._entries(self._unpack(self._offset, self._first_at)))

    def directories(self, entries: list[_Entry]) -> Iterator[list[_Entry]]:
        """Those of EXIF that a directory leads to, each once."""
        seen: set[int] = set()
        ahead = [entries]
        while ahead:
            pointers = [e for e in ahead.pop() if e.tag in _EXIF_DIRECTORIES]
            for place in {int(n) for e in pointers for n in self.numbers(e)[:1]} - seen:
                seen.add(place)
                if len(seen) > MAX_EXIF_DIRECTORIES:
                    raise BombError(f"more than {MAX_EXIF_DIRECTORIES} directories of EXIF")
                found = list(self._entries(place))
                ahead.append(found)
                yield found

    def numbers(self, entry: _Entry) -> np.ndarray:
        """The whole numbers of an entry, as many as the file has of them; none of other types."""
        kind = _DTYPES.get(entry.kind)
        if kind is None:
            return np.empty(0, np.uint8)
        dtype = np.dtype(self._order + kind)
        place = entry.place
        if entry.count * dtype.itemsize > self._offset.size:
            place = self._unpack(self._offset, place)
        there = max(0, len(self._data) - place) // dtype.itemsize
        count = min(entry.count, there)
        return np.frombuffer(self._data, dtype, count, place if count else 0)

    def _entries(self, place: int) -> Iterator[_Entry]:
        """The entries of the directory at a place; those that the file has."""
        count = self._unpack(self._count, place)
        place += self._count.size
        count = min(count, max(0, len(self._data) - place) // self._entry.size)
        if count > MAX_ENTRIES:
            raise BombError(f"a TIFF directory of {count} entries, the limit is 2**16")
        for at in range(place, place + count * self._entry.size, self._entry.size):
            tag, kind, numbers = self._entry.unpack_from(self._data, at)
            yield _Entry(tag, kind, numbers, at + self._entry.size - self._offset.size)

    def _unpack(self, field: struct.Struct, place: int) -> int:
        """A number at a place, 0 where the file has none."""
        if place + field.size > len(self._data):
            return 0
        (number,) = field.unpack_from(self._data, place)
        return int(number)


def accepts(data: bytes) -> bool:
    """Whether a file is taken for a TIFF."""
    return _MARK.match(data) is not None


def check(data: bytes) -> None:
    """Look over the first directory, which is that of the picture, and those of its EXIF.

    Raises BombError.
    """
    # Of a big-endian BigTIFF Pillow reads the directory as if it were of 32 bits.
    for is_64 in {False, 0x2B in data[2:4]}:
        reader = _Reader(data, is_64=is_64)
        entries = reader.first()
        _check_counts(entries)
        _check_exif(reader, entries)
        # Of several entries with one tag, the decoder takes the first.
        picture = {entry.tag: entry for entry in reversed(entries)}
        _check_pieces(reader, picture, len(data))
        _check_tiles(reader, picture)


def _check_counts(entries: list[_Entry]) -> None:
    for entry in entries:
        if entry.kind not in _PACKED and entry.count > MAX_NUMBERS:
            raise BombError(f"{entry.count} numbers under TIFF tag {entry.tag}, the limit is 2**20")
        if entry.kind in _FRACTIONS and entry.count > MAX_FRACTIONS:
            raise BombError(
                f"{entry.count} fractions under TIFF tag {entry.tag}, the limit is 2**16"
            )


def _check_exif(reader: _Reader, entries: list[_Entry]) -> None:
    numbers = sum(
        entry.count
        for directory in reader.directories(entries)
        for entry in directory
        if entry.kind not in _PACKED
    )
    if numbers > MAX_EXIF_NUMBERS:
        raise BombError(f"{numbers} numbers in the EXIF of a TIFF, the limit is 2**16")


def _check_pieces(reader: _Reader, picture: dict[int, _Entry], size_bytes: int) -> None:
    for tag in (_STRIP_BYTES, _TILE_BYTES):
        if tag not in picture:
            continue
        sizes = reader.numbers(picture[tag]).astype(np.uint64)
        together = int(np.minimum(sizes, size_bytes).sum())
        if together > MAX_SHARING * size_bytes:
            raise BombError(
                f"a TIFF of {size_bytes} bytes in {len(sizes)} pieces of {together} bytes together"
            )


def _check_tiles(reader: _Reader, picture: dict[int, _Entry]) -> None:
    def side(tag: int) -> int:
        numbers = [] if tag not in picture else reader.numbers(picture[tag])[:1].tolist()
        return int(numbers[0]) if numbers else 0

    width, height = side(_TILE_WIDTH), side(_TILE_HEIGHT)
    of_picture = side(_WIDTH) * side(_HEIGHT)
    if width * height > max(MAX_TILE_PIXELS, of_picture * 5 // 4):
        raise BombError(
            f"a TIFF tile of {width} x {height} pixels, the limit is {MAX_TILE_PIXELS} or a"
            " quarter more than the picture"
        )
