"""EXIF: what a picture's file says of its orientation and its capture time.

A Pillow image in, plain values out. EXIF is written by cameras, phones and thirty years of
programs, and by strangers: what cannot be read counts as absent and never costs the pixels.
"""

from __future__ import annotations

import re
from datetime import datetime

from PIL import ExifTags, Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

MAX_BYTES = 8 * 2**20
"""More than this is no EXIF that a camera wrote, and counts as absent."""

_KEYS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
_OWN_STRUCTURE = ("TIFF", "MPO")  # these have EXIF without a key in `info`


def read(image: Image.Image) -> tuple[int, datetime | None]:
    """Orientation, 1 to 8, from EXIF or else XMP, and capture time, of an image that is loaded.

    Orientation is 1, which is upright, and the time None where there is none.
    """
    if not any(key in image.info for key in _KEYS) and image.format not in _OWN_STRUCTURE:
        return 1, None
    if len(image.info.get("exif") or b"") > MAX_BYTES:
        return 1, None
    return _orientation(image), _captured_at(image)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a stranger's EXIF may break the parser in any way
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _captured_at(image: Image.Image) -> datetime | None:
    try:
        original, subsecond = _texts(
            image.getexif(), ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal
        )
    except Exception:  # as above
        return None
    return _time(original, subsecond)


def _texts(exif: Image.Exif, *tags: int) -> list[str | None]:
    """What the directory of EXIF says under tags, where that is text.

    Not by get_ifd, which makes an object of each number under each tag.
    """
    directory = ImageFileDirectory_v2(exif.head, group=ExifTags.IFD.Exif)
    exif.fp.seek(exif[ExifTags.Base.ExifOffset])
    directory.load(exif.fp)
    is_text = {tag for tag, kind in directory.tagtype.items() if kind == TiffTags.ASCII}
    return [directory[tag] if tag in is_text else None for tag in tags]


def _time(text: object, subsecond: object) -> datetime | None:
    """`YYYY:MM:DD HH:MM:SS` and digits after the second, or None where that is not a time."""
    digits = re.match(r"\d{1,3}", str(subsecond)[:3], re.ASCII)
    milliseconds = int(digits[0].ljust(3, "0")) if digits else 0
    try:
        second = datetime.strptime(str(text)[:19], "%Y:%m:%d %H:%M:%S")
        return second.replace(microsecond=milliseconds * 1000)
    except ValueError:
        return None
