"""AVIF: EXIF of many megabytes, which Pillow takes apart and writes anew as it opens a file."""

from __future__ import annotations

from annotate.bombs.boxes import boxes
from annotate.bombs.errors import BombError

MAX_EXIF_BYTES = 2**20
"""Half a second. What is in it comes from the 64 KB of a JPEG, or is as long."""


def accepts(data: bytes) -> bool:
    """Whether a file is of ISO media, as AVIF is."""
    return data[4:8] == b"ftyp"


def check(data: bytes) -> None:
    """Add up the lengths of all items that are EXIF. Raises BombError."""
    exif_bytes = 0
    for box in boxes(data):
        if box.kind == b"meta":
            exif_bytes += _exif_bytes(data, box.start + 4, box.stop)
    if exif_bytes > MAX_EXIF_BYTES:
        raise BombError(f"{exif_bytes} bytes of EXIF in an AVIF, the limit is 2**20")


def _exif_bytes(data: bytes, start: int, stop: int) -> int:
    """Source: ISO 14496-12, 8.11.3 (iloc) and 8.11.6 (iinf)."""
    exif: set[int] = set()
    lengths: dict[int, int] = {}
    for box in boxes(data, start, stop):
        content = data[box.start : box.stop]
        if box.kind == b"iinf":
            exif |= _exif_items(content)
        elif box.kind == b"iloc":
            lengths |= _lengths(content, len(data))
    return sum(lengths.get(item, 0) for item in exif)


def _exif_items(content: bytes) -> set[int]:
    """Numbers of the items of type EXIF."""
    wide = content[:1] != b"\0"  # from version 1 on, 32 bits for how many there are
    found = set()
    for box in boxes(content, 8 if wide else 6):
        entry = content[box.start : box.stop]
        number_bytes = 4 if entry[:1] == b"\x03" else 2
        if entry[6 + number_bytes : 10 + number_bytes] == b"Exif":
            found.add(int.from_bytes(entry[4 : 4 + number_bytes]))
    return found


def _lengths(content: bytes, size_bytes: int) -> dict[int, int]:
    """Bytes of each item. One without a length goes to the end of the file."""
    version = content[0] if content else 0
    sizes = int.from_bytes(content[4:6])
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    if version == 0:
        of_index = 0
    number_bytes = 4 if version == 2 else 2
    reader = _Numbers(content, 6)
    lengths: dict[int, int] = {}
    items = reader.next(number_bytes)
    while items and not reader.has_ended:
        items -= 1
        item = reader.next(number_bytes)
        reader.next((2 if version else 0) + 2 + of_base)  # how it is stored, in which file, base
        extents = reader.next(2)
        if not of_length:
            lengths[item] = size_bytes
            reader.next(extents * (of_index + of_offset))
            continue
        while extents and not reader.has_ended:
            extents -= 1
            reader.next(of_index + of_offset)
            length = reader.next(of_length) or size_bytes
            lengths[item] = lengths.get(item, 0) + length
    return lengths


class _Numbers:
    """Big-endian numbers, one after the other; 0 behind the end."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self._place = place

    @property
    def has_ended(self) -> bool:
        return self._place >= len(self._data)

    def next(self, size: int) -> int:
        """The next number, of so many bytes."""
        number = int.from_bytes(self._data[self._place : self._place + size])
        self._place += size
        return number
