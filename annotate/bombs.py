"""Bombs: small files whose structure costs a parser minutes or gigabytes, refused beforehand.

Bytes in, a BombError out where there is one. `images.MAX_PIXELS` bounds what the pixels of a
picture cost; this room bounds what surrounds them. The limits lie far above what cameras and
programs write, and a file below them is parsed in time and memory in proportion to its size.
"""

from __future__ import annotations

import io
import re
import struct

MAX_PIECES = 2**20
"""Small reads of a file. A PNG of 2 GB in the usual 8 KB chunks takes as many."""

BLOCK_BYTES = 2**16
"""Reads of so many bytes are worth their cost, and not counted."""

MAX_JPEG_JOINING = 2**36
"""Segments of a JPEG's header times its bytes. Pillow joins EXIF segments one by one, so that its
time grows with this product: 64 G are some ten seconds. 500 segments of 64 KB take half."""

MAX_JPEG_SCANS = 100
"""Each scan of a progressive JPEG goes over all pixels, and may have only some bytes. Usual are
10. Source: libtiff has the same limit, for the same reason."""

MAX_TIFF_NUMBERS = 2**20
"""Numbers under one TIFF tag; Python needs ten times their bytes. A picture of the most pixels
that are decoded, in tiles of 16 x 16, has half as many offsets."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END, _SCAN, _START, _TEMPORARY = 0xD9, 0xDA, 0xD8, 0x01
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])

_TIFF = re.compile(rb"(II|MM)(\x2a\0|\0\x2a|\x2b\0|\0\x2b)")
_BYTE_TYPES = frozenset([1, 2, 6, 7])  # BYTE, ASCII, SBYTE, UNDEFINED: Python keeps these packed


class BombError(Exception):
    """A file that is refused. The message: one line, what was found and what the limit is."""


class BoundedReader(io.BytesIO):
    """The bytes of a file for a parser that takes them apart in Python.

    read raises BombError for the small read after MAX_PIECES, since each costs the parser time
    and an object.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._pieces = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises BombError."""
        piece = super().read(size)
        if len(piece) < BLOCK_BYTES:
            self._pieces += 1
            if self._pieces > MAX_PIECES:
                raise BombError(f"in more than {MAX_PIECES} pieces")
        return piece


def check(data: bytes) -> None:
    """Look at the structure of a JPEG or TIFF file; others need only the BoundedReader.

    Raises BombError. What is broken is left for the decoder to say.
    """
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    elif _TIFF.match(data):
        _check_tiff(data)


def _check_jpeg(data: bytes) -> None:
    """Walk over the markers as far as a decoder would. Source: ITU-T T.81, annex B."""
    segments = scans = components = 0
    progressive = False
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == _END:
            return
        if marker in (_START, _TEMPORARY):  # these two have no length
            continue
        # length, and in a frame's header: precision, height, width, number of components
        header = data[position : position + 8]
        if len(header) < 8:
            return
        segments += 1
        if scans == 0 and segments * position > MAX_JPEG_JOINING:
            raise BombError(f"{segments} JPEG segments in {position} bytes before the pixels")
        if marker in _FRAMES:
            components, progressive = header[7], marker in _PROGRESSIVE
        elif marker == _SCAN:
            scans += 1
            if scans > MAX_JPEG_SCANS:
                raise BombError(f"more than {MAX_JPEG_SCANS} JPEG scans")
            if header[2] == components and not progressive:
                return  # the only scan: the decoder stops behind it
        position += int.from_bytes(header[:2], "big")


def _check_tiff(data: bytes) -> None:
    """Look over the first directory. Source: TIFF 6.0, section 2; BigTIFF has 64-bit fields."""
    order = "<" if data.startswith(b"II") else ">"
    big = 0x2B in data[2:4]
    entry = struct.Struct(order + ("HHQ8x" if big else "HHL4x"))
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
        start += 8 if big else 2
        for i in range(min(count, MAX_PIECES)):
            tag, kind, numbers = entry.unpack_from(data, start + i * entry.size)
            if kind not in _BYTE_TYPES and numbers > MAX_TIFF_NUMBERS:
                raise BombError(f"{numbers} numbers under TIFF tag {tag}, the limit is 2**20")
    except (struct.error, OverflowError):
        return
