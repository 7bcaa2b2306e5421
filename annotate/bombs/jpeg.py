"""JPEG: many scans, and metadata in many pieces."""

from __future__ import annotations

import re

from annotate.bombs.errors import BombError

MAX_JOINING = 2**36
"""Segments of a header times its bytes. Pillow joins EXIF segments one by one, so that its time
grows with this product: 64 G are some ten seconds. 500 segments of 64 KB take half."""

MAX_EXIF_BYTES = 8 * 2**20
"""Pillow looks in EXIF for a resolution as it opens a file, and may find a million fractions, each
an object. A segment has at most 64 KB, and cameras write one."""

MAX_SCANS = 100
"""Each scan of a progressive JPEG goes over all pixels, and may have only some bytes. Usual are
10. Source: libtiff has the same limit, for the same reason."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END, _SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])

_WITHOUT_LENGTH = frozenset([0x01, 0xC8, 0xD8, 0xD9, *range(0x02, 0xC0), *range(0xF0, 0xFE)])
"""Markers that Pillow does not take for the start of a segment, whatever the standard says: what
follows them is read as markers."""


def accepts(data: bytes) -> bool:
    """Whether a file is taken for a JPEG."""
    return data.startswith(b"\xff\xd8")


def check(data: bytes) -> None:
    """Walk over the markers as far as a decoder would. Source: ITU-T T.81, annex B.

    Raises BombError.
    """
    segments = scans = components = exif_bytes = 0
    progressive = False
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == _END and scans:  # before the first scan Pillow passes over it
            return
        if marker in _WITHOUT_LENGTH:
            continue
        # length, and in a frame's header: precision, height, width, number of components
        header = data[position : position + 8]
        if len(header) < 8:
            return
        length = int.from_bytes(header[:2], "big")
        segments += 1
        if scans == 0 and segments * position > MAX_JOINING:
            raise BombError(f"{segments} JPEG segments in {position} bytes before the pixels")
        if marker in _FRAMES:
            components, progressive = header[7], marker in _PROGRESSIVE
        elif marker == _APP1 and header[2:] == b"Exif\0\0":
            exif_bytes += length
            if exif_bytes > MAX_EXIF_BYTES and not scans:
                raise BombError(f"JPEG segments of EXIF with over {MAX_EXIF_BYTES} bytes")
        elif marker == _SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise BombError(f"more than {MAX_SCANS} JPEG scans")
            if header[2] == components and not progressive:
                return  # the only scan: the decoder stops behind it
        position += length
