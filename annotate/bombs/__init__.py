"""Bombs: small files whose structure costs a parser minutes or gigabytes, refused beforehand.

Bytes in, a BombError out where there is one. `images.MAX_PIXELS` bounds what the pixels of a
picture cost; this room bounds what surrounds them. The limits lie far above what cameras and
programs write, and a file below them is parsed in time and memory in proportion to its size.
"""

from __future__ import annotations

import io

from annotate.bombs import avif, bmp, jpeg, jpeg2000, tiff
from annotate.bombs.errors import BombError

__all__ = ["BombError", "BoundedReader", "check"]

MAX_PIECES = 2**20
"""Small reads of a file. A PNG of 2 GB in the usual 8 KB chunks takes as many."""

BLOCK_BYTES = 2**16
"""Reads of so many bytes are worth their cost, and not counted."""

MAX_REREADING = 16
"""Times that a file may be read in all, beside one block: parsers go over it two or three times,
and again and again only where the strips of a TIFF all lie in one place."""


class BoundedReader(io.BytesIO):
    """The bytes of a file for a parser that takes them apart in Python.

    read raises BombError for the small read after MAX_PIECES, since each costs the parser time
    and an object, and once it has given MAX_REREADING times the file.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._pieces = 0
        self._left = MAX_REREADING * (len(data) + BLOCK_BYTES)

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises BombError."""
        piece = super().read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise BombError(f"in pieces that are read more than {MAX_REREADING} times")
        if len(piece) < BLOCK_BYTES:
            self._pieces += 1
            if self._pieces > MAX_PIECES:
                raise BombError(f"in more than {MAX_PIECES} pieces")
        return piece


def check(data: bytes) -> None:
    """Look at the structure of a file; what this does not know needs only the BoundedReader.

    Raises BombError. What is broken is left for the decoder to say.
    """
    for room in (jpeg, tiff, jpeg2000, bmp, avif):
        if room.accepts(data):
            room.check(data)
