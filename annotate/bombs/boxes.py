"""Boxes: what files of JPEG 2000 and of ISO media are made of. Source: ISO 14496-12, 4.2."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from annotate.bombs.errors import BombError

MAX_BOXES = 2**16
"""Boxes side by side. A picture of 1,000 tiles has as many entries in one of its boxes."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box. start, stop: of its content, bytes from the file's start."""

    kind: bytes
    start: int
    stop: int


def boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Box]:
    """The boxes between two places of a file, up to the first that is none. Raises BombError."""
    stop = len(data) if stop is None else min(stop, len(data))
    count = 0
    while start + 8 <= stop:
        count += 1
        if count > MAX_BOXES:
            raise BombError(f"more than {MAX_BOXES} boxes")
        length, kind = struct.unpack_from(">L4s", data, start)
        head = 8
        if length == 1 and start + 16 <= stop:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif length == 0:  # to the end of the file
            length = stop - start
        if length < head:
            return
        yield Box(kind, start + head, min(start + length, stop))
        start += length
