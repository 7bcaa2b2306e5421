"""BMP: run-length encoding, which Pillow takes apart in Python, pixel by pixel."""

from __future__ import annotations

import struct

from annotate.bombs.errors import BombError

MAX_RUN_PIXELS = 2**24
"""Pixels of a run-length encoded picture: two seconds. Two bytes of it may stand for a row."""

_HEADER = struct.Struct("<LllHHL")  # its size, width, height, planes, bits a pixel, compression
_RUN_LENGTHS = (1, 2)
_HEADER_SIZES = (40, 52, 56, 64, 108, 124)


def accepts(data: bytes) -> bool:
    """Whether a file may be taken for a BMP, or for one without the header of a file (DIB)."""
    return data.startswith(b"BM") or int.from_bytes(data[:4], "little") in _HEADER_SIZES


def check(data: bytes) -> None:
    """Look at the header. Source: Microsoft, BITMAPINFOHEADER. Raises BombError."""
    place = 14 if data.startswith(b"BM") else 0
    if len(data) < place + _HEADER.size:
        return
    _, width, height, _, _, compression = _HEADER.unpack_from(data, place)
    # A height below 0 stands for rows from top to bottom.
    if compression in _RUN_LENGTHS and abs(width * height) > MAX_RUN_PIXELS:
        raise BombError(
            f"{width} x {abs(height)} pixels of a run-length encoded BMP,"
            f" the limit is {MAX_RUN_PIXELS}"
        )
