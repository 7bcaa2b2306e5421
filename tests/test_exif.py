"""EXIF: all orientations, capture times, and what is broken costs no pixels."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from annotate.images import decode
from tests.pictures import FORMATS, HEIGHT, WIDTH, chunk, drawing, encoded, skip_if_absent
from tests.steps import limited_steps

# Orientation ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(kind: str, orientation: int) -> None:
    """Against the drawing, turned by hand, and against Pillow's own reading."""
    skip_if_absent(kind)
    options, tolerance = FORMATS[kind]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(drawing(), kind, exif=exif.tobytes(), **options)
    picture = decode(data)
    if kind != "HEIF":
        with Image.open(io.BytesIO(data)) as image:
            turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(picture.pixels, turned)
    upright = np.asarray(drawing()).astype(int)
    expected = {  # EXIF 2.32: where row 0 and column 0 of the stored picture lie
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright[::-1].swapaxes(0, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright[:, ::-1].swapaxes(0, 1),
    }[orientation]
    assert picture.pixels.shape == expected.shape
    assert (picture.height, picture.width) == expected.shape[:2]
    assert np.abs(picture.pixels - expected).max() <= tolerance


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_means_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    picture = decode(encoded(drawing(), "PNG", exif=exif))
    assert np.array_equal(picture.pixels, np.asarray(drawing()))


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (2, 2, b"6\0\0\0"),  # text
        (1, 1, b"\6\0\0\0"),  # a byte
        (5, 1, struct.pack("<L", 26)),  # a fraction, 6/1
        (12, 1, struct.pack("<L", 26)),  # a floating-point number
        (7, 4, b"\6\0\0\0"),  # undefined
        (99, 1, b"\6\0\0\0"),  # no type at all
    ],
)
def test_an_orientation_of_another_type_means_upright(kind: int, count: int, value: bytes) -> None:
    entry = struct.pack("<HHL", 0x0112, kind, count) + value
    tiff = b"II*\0\x08\0\0\0\1\0" + entry + b"\0\0\0\0" + struct.pack("<LL", 6, 1)
    data = encoded(drawing(), "JPEG", quality=95, exif=b"Exif\0\0" + tiff)
    assert decode(data).pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("kind", "count", "value"), [(4, 1, 6), (3, 2, 6 + 6 * 2**16)])
def test_an_orientation_as_long_or_as_array_counts(kind: int, count: int, value: int) -> None:
    """It should be one SHORT; some programs write others, and viewers take the first number."""
    tiff = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHLLL", 0x0112, kind, count, value, 0)
    data = encoded(drawing(), "JPEG", exif=b"Exif\0\0" + tiff)
    assert decode(data).pixels.shape == (WIDTH, HEIGHT, 3)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_gives_the_orientation_where_exif_gives_none(kind: str) -> None:
    skip_if_absent(kind)
    options: dict[str, Any] = {"xmp": XMP}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert decode(encoded(drawing(), kind, **options)).pixels.shape == (WIDTH, HEIGHT, 3)


def test_the_pixels_of_a_heif_file_are_turned_by_its_own_properties_alone() -> None:
    """ISO 23008-12: where a file has an EXIF orientation and no irot or imir, it is upright."""
    skip_if_absent("HEIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(drawing(), "HEIF", exif=exif.tobytes())
    assert decode(turned).pixels.shape == (WIDTH, HEIGHT, 3)
    upright = turned.replace(b"irot\3", b"irot\0")  # a rotation by nothing
    assert upright != turned
    assert decode(upright).pixels.shape == (HEIGHT, WIDTH, 3)


def test_orientation_from_an_exif_chunk_behind_the_pixels_of_a_png() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    data = encoded(drawing(), "PNG")
    end = data.index(b"IEND") - 4
    data = data[:end] + chunk(b"eXIf", body) + data[end:]
    assert np.array_equal(decode(data).pixels, np.asarray(drawing())[::-1, ::-1])


# Capture time -----------------------------------------------------------------------------


def with_times(original: object, subsecond: object = None) -> bytes:
    exif = Image.Exif()
    details = exif.get_ifd(0x8769)
    if original is not None:
        details[0x9003] = original
    if subsecond is not None:
        details[0x9291] = subsecond
    return encoded(drawing(), "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("original", "subsecond", "expected"),
    [
        ("2019:07:04 12:34:56", None, datetime(2019, 7, 4, 12, 34, 56)),
        ("2019:07:04 12:34:56", "7", datetime(2019, 7, 4, 12, 34, 56, 700_000)),
        ("2019:07:04 12:34:56", "123456", datetime(2019, 7, 4, 12, 34, 56, 123_000)),
        ("2019:07:04 12:34:56", "no", datetime(2019, 7, 4, 12, 34, 56)),
        ("0000:00:00 00:00:00", None, None),
        ("2019:02:30 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("yesterday", None, None),
        ("", None, None),
        (None, "123", None),
    ],
)
def test_capture_time(original: object, subsecond: object, expected: datetime | None) -> None:
    assert decode(with_times(original, subsecond)).captured_at == expected


def test_capture_time_of_a_tiff() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:04 12:34:56"
    data = encoded(drawing(), "TIFF", exif=exif.tobytes())
    assert decode(data).captured_at == datetime(2019, 7, 4, 12, 34, 56)


def test_capture_time_of_a_heif() -> None:
    skip_if_absent("HEIF")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:04 12:34:56"
    data = encoded(drawing(), "HEIF", exif=exif.tobytes())
    assert decode(data).captured_at == datetime(2019, 7, 4, 12, 34, 56)


def test_numbers_beside_the_capture_time_are_never_made() -> None:
    """A million fractions in the same directory: 4 s where all of it is taken apart."""
    time = b"2019:07:04 12:34:56\0"
    count = 1_000_000
    entries = [(0x829A, 5, count, 64 + len(time)), (0x9003, 2, len(time), 64)]
    details = struct.pack("<H", 2) + b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    exif = b"II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x8769, 4, 1, 26, 0)
    exif = (exif + details).ljust(64, b"\0") + time + struct.pack("<LL", 1, 3) * count
    data = encoded(drawing(), "PNG", exif=exif)
    with limited_steps(100_000):
        picture = decode(data)
    assert picture.captured_at == datetime(2019, 7, 4, 12, 34, 56)


@pytest.mark.parametrize("kind", [1, 7, 3, 5])
def test_a_capture_time_that_is_no_text_is_none(kind: int) -> None:
    time = b"2019:07:04 12:34:56\0"
    exif = b"II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x8769, 4, 1, 26, 0)
    exif += struct.pack("<HHHLLL", 1, 0x9003, kind, 2, 44, 0) + time
    assert decode(encoded(drawing(), "PNG", exif=exif)).captured_at is None


# Broken EXIF ------------------------------------------------------------------------------


def test_a_broken_part_of_exif_costs_only_that_part() -> None:
    """The orientation is right, the pointer to the capture time leads nowhere."""
    entries = struct.pack("<HHLL", 0x0112, 3, 1, 6) + struct.pack("<HHLL", 0x8769, 4, 1, 10**9)
    tiff = b"II*\0\x08\0\0\0\2\0" + entries + b"\0\0\0\0"
    picture = decode(encoded(drawing(), "JPEG", exif=b"Exif\0\0" + tiff))
    assert picture.pixels.shape == (WIDTH, HEIGHT, 3)
    assert picture.captured_at is None


def test_exif_of_many_megabytes_counts_as_absent() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    small, large = (exif.tobytes() + bytes(n) for n in (2**20, 2**23))
    assert decode(encoded(drawing(), "PNG", exif=small)).pixels.shape == (WIDTH, HEIGHT, 3)
    assert decode(encoded(drawing(), "PNG", exif=large)).pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0garbage" * 9,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    ],
)
def test_broken_exif_costs_only_the_exif(exif: bytes) -> None:
    picture = decode(encoded(drawing(), "JPEG", exif=exif, quality=95))
    assert picture.captured_at is None
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)


@given(st.binary(max_size=200))
def test_any_exif_costs_at_most_the_exif(exif: bytes) -> None:
    picture = decode(encoded(drawing(8, 8), "JPEG", exif=b"Exif\0\0" + exif))
    assert picture.pixels.shape == (8, 8, 3)
