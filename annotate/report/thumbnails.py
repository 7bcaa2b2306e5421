"""Thumbnails: a row in, a small picture of its face out.

Only bytes that hash to the row's `sha256` are decoded: those that a run has decoded before, within
its limits. What is drawn is what the detector boxed and some of what is around it.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PIL import Image

from annotate.archives import open_input
from annotate.errors import AnnotateError
from annotate.images import ImageError, Picture, decode
from annotate.streams import MAX_FILE_BYTES
from annotate.workers import OrderedMap

SIZE_PX = 128
QUALITY = 82

MARGIN = 0.35
"""Of a face's longer side, what is shown around it. Crops are shown whole."""

TIMEOUT_S = 20.0
"""A picture that takes longer to decode has no thumbnail."""

_CHUNK = 8
_EDGES = ("x_min", "y_min", "x_max", "y_max")

NEEDED = ("source", "path", "sha256", "width", "height", *_EDGES)
"""Columns of a row that a thumbnail takes."""


def thumbnail(row: Mapping[str, Any], size_px: int = SIZE_PX) -> bytes | None:
    """A square JPEG of a row's face, or of the middle of a picture without one.

    row: `source`, `path`, `sha256` and the box of an output's row.
    None where the file is gone, has changed, or cannot be decoded.
    """
    picture = picture_of(row, None if (side := _side(row)) is None else size_px / side)
    return None if picture is None else face_jpeg(picture, row, size_px)


def thumbnails(
    rows: Sequence[Mapping[str, Any]], size_px: int = SIZE_PX, *, workers: int = 1
) -> list[bytes | None]:
    """The thumbnails of many rows, in order, each as `thumbnail` makes it.

    They are made in worker processes: a table may be a stranger's, and what it names may end or
    occupy a process for ever. None where that happens.
    """
    wanted = [{name: row.get(name) for name in NEEDED} for row in rows]
    if not wanted:
        return []
    with OrderedMap(
        partial(thumbnail, size_px=size_px),
        wanted,
        on_crash=lambda row: None,
        timeout_s=TIMEOUT_S,
        workers=workers,
        window=_CHUNK * 2 * workers,
        chunk=_CHUNK,
    ) as made:
        return list(made)


def picture_of(row: Mapping[str, Any], scale: float | None = None) -> Picture | None:
    """The upright picture that a row is about; None where there is none, or another one.

    scale: as much of its full size as is enough; None for all of it. JPEGs are decoded smaller.
    """
    long_px = max(_number(row, name) or 0 for name in ("width", "height"))
    enough = math.ceil(long_px * scale) if long_px and scale is not None else None
    try:
        with open_input(row) as file:
            data = file.read(MAX_FILE_BYTES)
        if hashlib.sha256(data).hexdigest() != row.get("sha256"):
            return None
        return decode(data, enough_long_px=enough)
    except (AnnotateError, ImageError, OSError, MemoryError):
        return None


def face_jpeg(picture: Picture, row: Mapping[str, Any], size_px: int = SIZE_PX) -> bytes:
    """The part of a picture that a row's box names, and some of what is around it, as a square
    JPEG file.
    """
    image = Image.fromarray(picture.pixels)
    face = image.crop(_square(row, picture, image.size))
    data = io.BytesIO()
    face.resize((size_px, size_px), Image.Resampling.LANCZOS).save(
        data, "JPEG", quality=QUALITY, optimize=True
    )
    return data.getvalue()


def _square(
    row: Mapping[str, Any], picture: Picture, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """What is shown, in pixels of a picture decoded at this size: a square around the box that
    lies in the picture, or as much of it as there is.
    """
    box = _box(row) or (0.0, 0.0, float(picture.width), float(picture.height))
    is_whole = box[2] - box[0] >= picture.width and box[3] - box[1] >= picture.height
    side = max(box[2] - box[0], box[3] - box[1]) * (1 if is_whole else 1 + MARGIN)
    scale = size[0] / picture.width
    side_px = max(1, min(round(side * scale), *size))
    middle = scale * (box[0] + box[2]) / 2, scale * (box[1] + box[3]) / 2
    left, top = (
        round(min(max(at - side_px / 2, 0), end - side_px))
        for at, end in zip(middle, size, strict=True)
    )
    return left, top, left + side_px, top + side_px


def _side(row: Mapping[str, Any]) -> float | None:
    """The longer side of a row's box, in pixels of the full picture."""
    box = _box(row)
    return None if box is None else max(box[2] - box[0], box[3] - box[1])


def _box(row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """A row's box, cut to its picture; None where there is none, or nothing of it is in there."""
    edges = [_number(row, name) for name in _EDGES]
    width, height = _number(row, "width"), _number(row, "height")
    if None in edges or width is None or height is None:
        return None
    left, top, right, bottom = (
        min(max(edge or 0.0, 0.0), end)
        for edge, end in zip(edges, (width, height, width, height), strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else None


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """A finite number of a row, or None: a stranger's table may hold anything."""
    value = row.get(name)
    try:
        found = float(value) if value is not None else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
