"""Pictures that tests draw, the files they become, and what a file that gives none must say."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from annotate.images import ImageError, Picture, decode

WIDTH, HEIGHT = 40, 24

FORMATS: dict[str, tuple[dict[str, Any], int]] = {
    "JPEG": ({"quality": 95}, 8),
    "PNG": ({}, 0),
    "WEBP": ({"lossless": True}, 0),
    "TIFF": ({}, 0),
    "BMP": ({}, 0),
    "DIB": ({}, 0),
    "JPEG2000": ({"irreversible": False}, 0),
    "AVIF": ({"quality": 95}, 6),
    "MPO": ({"quality": 95}, 8),
    "HEIF": ({"quality": 95, "chroma": 444}, 6),
}
"""What Pillow is asked for, and by how many levels the pixels may differ at most."""


ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation to the operation that stores an upright picture so."""


def drawing(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A smooth picture without any symmetry: red grows to the right, green downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(20, 230, width)[None, :]
    pixels[..., 1] = np.linspace(10, 200, height)[:, None]
    pixels[..., 2] = 90
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file. kind: Pillow's name of the format, or HEIF, which needs pillow-heif."""
    buffer = io.BytesIO()
    if kind == "HEIF":
        import pillow_heif

        frames = pillow_heif.from_pillow(image)
        for other in options.pop("append_images", []):
            frames.add_from_pillow(other)
        frames.save(buffer, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, its check sum right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size: tuple[int, int], depth: int, colours: int, rows: bytes, interlaced: int = 0) -> bytes:
    """A PNG made by hand. colours: 0 gray, 2 RGB, 6 RGBA. rows: with their filter bytes."""
    header = struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF made by hand: its directory lies at 8, `body` behind it.

    entries: (tag, type, number of values, value or offset), ordered by tag. following: the offset
    of the next directory.
    """
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + directory + struct.pack("<L", following) + body


def failure(data: bytes, **options: Any) -> ImageError:
    """The error of a file that gives no picture, its words fit for a table."""
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    text = str(caught.value)
    assert text
    assert text.isprintable()
    assert " at 0x" not in text
    return caught.value


def decoded_or_failure(data: bytes, **options: Any) -> Picture | ImageError:
    """What a file that may be broken gives; anything but an ImageError is raised."""
    try:
        return decode(data, **options)
    except ImageError:
        return failure(data, **options)


def skip_if_absent(kind: str) -> None:
    """Skip the test where this machine cannot write the format."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    needed = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind)
    if needed is not None and not features.check(needed):
        pytest.skip(f"this Pillow has no {kind}")
