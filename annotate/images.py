"""Images: the bytes of a file in, oriented RGB pixels and what the file says of itself out.

The only room that knows image formats. Everything that a stranger's file can do wrong ends
here as an ImageError with a status; nothing is executed, and no more than `max_pixels` is ever
decoded. Training and inference both come through `face_crop`, so they see the same pixels.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from annotate.errors import one_line
from annotate.records import Status

Pixels = npt.NDArray[np.uint8]

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".gif",
        ".avif",
        ".avifs",
        ".jp2",
        ".j2k",
        ".j2c",
        ".jpc",
        ".jpf",
        ".jpx",
    ]
)
"""Suffixes of the files that are decoded, in lower case."""

RAW_SUFFIXES = frozenset(
    [
        ".3fr",
        ".arw",
        ".cr2",
        ".cr3",
        ".crw",
        ".dcr",
        ".dng",
        ".erf",
        ".fff",
        ".iiq",
        ".kdc",
        ".mef",
        ".mos",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".raw",
        ".rw2",
        ".rwl",
        ".sr2",
        ".srf",
        ".srw",
        ".x3f",
    ]
)
VIDEO_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".webm",
        ".wmv",
    ]
)
HEIF_SUFFIXES = frozenset([".heic", ".heics", ".heif", ".heifs", ".hif"])
UNSUPPORTED_SUFFIXES = RAW_SUFFIXES | VIDEO_SUFFIXES | HEIF_SUFFIXES
"""Suffixes that people keep in archives and that are recorded as `unsupported`."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000")
"""The Pillow parsers that may run (MPO comes with JPEG). An allowlist: Pillow has others, some
of which start programs (EPS)."""

MAX_PIXELS = 150_000_000
"""Pictures of more pixels are `too_large`. Below Pillow's own bomb limit, which stays on."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in brightness. Source: ITU-R BT.601, as in JPEG and Pillow's "L"."""

_ORIENTATIONS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the operation that makes the picture upright. Source: EXIF 2.32, 4.6.4."""


class ImageError(Exception):
    """A file that gives no picture. status: `decode_error` or `too_large`; text: one line."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, upright.

    pixels: uint8 (h, w, 3) RGB, at full size or smaller where the decoder was allowed to reduce.
    width, height: pixels of the full picture after EXIF orientation.
    captured_at: EXIF capture time in the camera's unknown time zone, milliseconds kept.
    """

    pixels: Pixels
    width: int
    height: int
    captured_at: datetime | None


def decode(data: bytes, *, enough_px: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the bytes of one image file.

    enough_px: allow a JPEG to be decoded at 1/2, 1/4 or 1/8 as long as both sides keep at least
    so many pixels; None decodes in full. Of several frames the first is taken; transparency
    shows white.
    Raises ImageError (`decode_error`, `too_large`).
    """
    upright, width, height, captured_at = _decode(data, enough_px, max_pixels)
    return Picture(np.asarray(upright), width, height, captured_at)


def _decode(
    data: bytes, enough_px: int | None, max_pixels: int
) -> tuple[Image.Image, int, int, datetime | None]:
    """The upright RGB image, its full width and height, and its capture time."""
    try:
        # Pillow warns from 89 million pixels on and refuses at 179 million. Between the two our
        # own limit decides, so the warning says nothing new.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _parse(data, enough_px, max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(Status.TOO_LARGE, one_line(error)) from error
    except UnidentifiedImageError as error:
        text = "empty file" if not data else "not an image of a format that annotate reads"
        raise ImageError(Status.DECODE_ERROR, text) from error
    # Parsers of broken files raise nearly every built-in exception (struct.error, SyntaxError,
    # IndexError, MemoryError, ...): at this one border all of them mean the same.
    except Exception as error:
        raise ImageError(Status.DECODE_ERROR, one_line(error)) from error


def _parse(
    data: bytes, enough_px: int | None, max_pixels: int
) -> tuple[Image.Image, int, int, datetime | None]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                Status.TOO_LARGE, f"{width} x {height} pixels, the limit is {max_pixels}"
            )
        if enough_px is not None:
            image.draft(None, (enough_px, enough_px))
        upright: Image.Image = _to_rgb(image)
        # Only now: a PNG may have its EXIF behind the pixels, and Pillow turns a TIFF upright as
        # it loads it, then drops the orientation.
        orientation, captured_at = _exif(image)
    operation = _ORIENTATIONS.get(orientation)
    if operation is not None:
        upright = upright.transpose(operation)
        if orientation >= 5:
            width, height = height, width
    return upright, width, height, captured_at


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16-bit and float grey scaled, transparency put over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith(("I", "F")):
        return _gray_to_8_bit(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _gray_to_8_bit(values: npt.NDArray[Any]) -> Image.Image:
    """Grey of 16 or 32 bits, or float, to 8 bits; Pillow's own convert would clip at 255."""
    if values.dtype.kind == "f":
        finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
        top = 1.0 if finite.max(initial=0.0) <= 1.0 else 255.0
        scaled = finite / top * 255.0
    else:
        top = 255 if values.max(initial=0) <= 255 else 65535
        scaled = values.astype(np.float64) / top * 255.0
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _exif(image: Image.Image) -> tuple[int, datetime | None]:
    """EXIF (orientation 1 to 8, capture time); what cannot be read counts as absent."""
    if not any(key in image.info for key in ("exif", "Raw profile type exif", "xmp")) and (
        image.format not in ("TIFF", "MPO")
    ):
        return 1, None
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        details = exif.get_ifd(ExifTags.IFD.Exif)
        captured_at = _capture_time(
            details.get(ExifTags.Base.DateTimeOriginal),
            details.get(ExifTags.Base.SubsecTimeOriginal),
        )
    except Exception:  # a stranger's EXIF may break the parser in any way; the pixels are fine
        return 1, None
    return orientation if orientation in range(1, 9) else 1, captured_at


def _capture_time(text: object, subsecond: object) -> datetime | None:
    """`YYYY:MM:DD HH:MM:SS` and digits after the second, or None where that is not a time."""
    digits = re.match(r"\d{1,3}", str(subsecond), re.ASCII)
    milliseconds = int(digits[0].ljust(3, "0")) if digits else 0
    try:
        second = datetime.strptime(str(text)[:19], "%Y:%m:%d %H:%M:%S")
        return second.replace(microsecond=milliseconds * 1000)
    except ValueError:
        return None


def luma(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Brightness of a picture. pixels: uint8 (h, w, 3) RGB. Returns float32 (h, w), 0 to 255."""
    red, green, blue = np.asarray(LUMA, np.float32)
    return np.asarray(pixels[..., 0] * red + pixels[..., 1] * green + pixels[..., 2] * blue)


def resize_square(pixels: Pixels, size_px: int) -> Pixels:
    """Scale a picture to a square; other shapes are squeezed, not cut.

    pixels: uint8 (h, w, 3). Returns uint8 (size_px, size_px, 3), bilinear over the whole
    footprint of each new pixel, so that shrinking does not alias.
    """
    return np.asarray(_square(Image.fromarray(pixels), size_px))


def _square(image: Image.Image, size_px: int) -> Image.Image:
    if image.size == (size_px, size_px):
        return image
    return image.resize((size_px, size_px), Image.Resampling.BILINEAR)


def face_crop(data: bytes, size_px: int, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The bytes of a face crop to a network's input: the step shared by training and inference.

    Returns the picture, its pixels uint8 (size_px, size_px, 3) RGB, 0 to 255. Scaling to the
    network's value range, and graying where it wants gray, are layers of the network.
    Raises ImageError.
    """
    upright, width, height, captured_at = _decode(data, size_px, max_pixels)
    return Picture(np.asarray(_square(upright, size_px)), width, height, captured_at)
