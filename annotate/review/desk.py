"""The desk: where pictures are drawn, in a process that a stranger's file may end.

Imports little, so that the process starts quickly.
"""

from __future__ import annotations

import contextlib
import io
import math
import signal
from collections import OrderedDict
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from PIL import Image

from annotate.images import Picture
from annotate.report.thumbnails import face_jpeg, picture_of

FACE_PX = 192
PHOTOGRAPH_PX = 1600
"""Sides of a face, and the longer side of a photograph."""

KEPT_PICTURES, KEPT_BYTES = 2, 48 * 2**20
"""Pictures that stay decoded, and how large one of them may be: of a photograph with many faces,
each of them is asked for."""

_QUALITY = 85

Row = Mapping[str, Any]
"""The columns thumbnails.NEEDED."""


def serve(pipe: Connection) -> None:
    """Draw what is asked for until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked
    desk = Desk()
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, row = pipe.recv()
            pipe.send(desk.face(row) if what == "face" else desk.photograph(row))


class Desk:
    """Draws faces and photographs, from bytes of the row's SHA-256 alone."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Picture] = OrderedDict()

    def face(self, row: Row) -> bytes | None:
        """A JPEG of a row's face, a square of FACE_PX; None where there is no picture."""
        picture = self._picture(row, _face_scale(row))
        return None if picture is None else face_jpeg(picture, row, FACE_PX)

    def photograph(self, row: Row) -> bytes | None:
        """A JPEG of a row's picture, PHOTOGRAPH_PX at most; None where there is none."""
        long_px = max(row["width"] or 0, row["height"] or 0)
        picture = self._picture(row, min(1.0, PHOTOGRAPH_PX / max(1, long_px)))
        if picture is None:
            return None
        image = Image.fromarray(picture.pixels)
        image.thumbnail((PHOTOGRAPH_PX, PHOTOGRAPH_PX), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=_QUALITY)
        return data.getvalue()

    def _picture(self, row: Row, scale: float) -> Picture | None:
        """The decoded picture of a row, at least at a scale of its full size."""
        key = row["source"], row["path"], row["sha256"]
        known = self._kept.get(key)
        if known is not None and known.pixels.shape[1] >= math.floor(known.width * scale):
            self._kept.move_to_end(key)
            return known
        picture = picture_of(row, scale)
        if picture is not None and picture.pixels.size <= KEPT_BYTES:
            self._kept[key] = picture
            while len(self._kept) > KEPT_PICTURES:
                self._kept.popitem(last=False)
        return picture


def _face_scale(row: Row) -> float:
    """How much of its full size a picture needs for a face to have FACE_PX, at most 1."""
    left, top, right, bottom = (
        math.nan if row[name] is None else row[name]
        for name in ("x_min", "y_min", "x_max", "y_max")
    )
    side = max(right - left, bottom - top)
    return min(1.0, FACE_PX / side) if side > 0 else 1.0
