"""Broken, foreign and oversized files: each is an ImageError of one line, and nothing else."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from annotate import images
from annotate.errors import one_line
from annotate.images import Picture, decode, face_crop
from annotate.records import Status
from tests.kinds import all_kinds
from tests.pictures import (
    FORMATS,
    HEIGHT,
    WIDTH,
    decoded_or_failure,
    drawing,
    encoded,
    failure,
    png,
    skip_if_absent,
)


def png_that_claims(width: int, height: int) -> bytes:
    return png((width, height), 8, 2, bytes(1000))


@pytest.mark.parametrize("size", [(200_000, 200_000), (16_000, 10_000), (150_000_001, 1)])
def test_pictures_that_claim_too_many_pixels(size: tuple[int, int]) -> None:
    error = failure(png_that_claims(*size))
    assert error.status is Status.TOO_LARGE


def test_between_pillow_s_warning_and_the_limit_nothing_is_said(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """100 million pixels: Pillow warns from 89 million on; the picture itself is cut short."""
    assert failure(png_that_claims(10_000, 10_000)).status is Status.DECODE_ERROR
    assert not recwarn.list


def test_the_limit_on_pixels_is_exact() -> None:
    data = encoded(drawing(), "PNG")
    assert decode(data, max_pixels=WIDTH * HEIGHT).width == WIDTH
    error = failure(data, max_pixels=WIDTH * HEIGHT - 1)
    assert error.status is Status.TOO_LARGE
    assert str(error) == "40 x 24 pixels, the limit is 959"


def test_a_larger_limit_than_pillow_s_own_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as many
    monkeypatch.setattr(images, "PILLOW_MAX_PIXELS", 200)
    data = encoded(drawing(), "PNG")
    error = failure(data, max_pixels=200)
    assert (error.status, str(error)) == (Status.TOO_LARGE, "more pixels than the limit of 200")
    assert decode(data, max_pixels=WIDTH * HEIGHT).width == WIDTH
    assert Image.MAX_IMAGE_PIXELS == 100  # put back


def test_a_text_bomb_in_a_png() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 100_000_000, zip=True)
    assert failure(encoded(drawing(), "PNG", pnginfo=info)).status is Status.DECODE_ERROR


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_anywhere_is_a_failure_or_the_picture(kind: str) -> None:
    """A file that lacks its end may still be whole (padding, an index): then it decodes right."""
    skip_if_absent(kind)
    options, tolerance = FORMATS[kind]
    data = encoded(drawing(), kind, **options)
    for length in sorted({0, 1, 2, 8, *range(12, len(data), max(1, len(data) // 40))}):
        picture = decoded_or_failure(data[:length])
        if isinstance(picture, Picture):
            difference = np.abs(picture.pixels.astype(int) - np.asarray(drawing()))
            assert difference.max() <= tolerance, length
        else:
            assert picture.status is Status.DECODE_ERROR


@given(st.binary(max_size=64))
def test_random_bytes_are_a_decode_error(data: bytes) -> None:
    assert failure(data).status is Status.DECODE_ERROR


GOOD = {name: kind.data for name, kind in all_kinds().items() if kind.status == "ok"}


@given(st.data())
def test_damaged_files_never_raise_anything_else(data: st.DataObject) -> None:
    broken = bytearray(data.draw(st.sampled_from(sorted(GOOD.items())))[1])
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    picture = decoded_or_failure(bytes(broken), max_pixels=10_000)
    if isinstance(picture, Picture):
        assert picture.pixels.ndim == 3
        assert face_crop(bytes(broken), 16).pixels.shape == (16, 16, 3)
        assert picture.width * picture.height <= 10_000
    else:
        assert picture.status in (Status.DECODE_ERROR, Status.TOO_LARGE)


def test_an_empty_file_says_so() -> None:
    assert str(failure(b"")) == "empty file"


PSD = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 4, 8, 3) + b"\0" * 14 + b"\0" * 48


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        PSD,
        b"%PDF-1.4\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"P6\n2 2\n255\n" + b"\0" * 12,
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
    ],
    ids=["EPS", "PSD", "PDF", "SVG", "PPM", "MP4"],
)
def test_formats_outside_the_list_never_run(data: bytes) -> None:
    error = failure(data)
    assert error.status is Status.DECODE_ERROR
    assert str(error) == "not an image of a format that annotate reads"


def test_decoders_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff prints what it finds wrong, and Pillow logs it; the ImageError says it already."""
    packed = encoded(drawing(), "TIFF", compression="tiff_adobe_deflate")
    cases = [bytearray(packed) for _ in range(3)]
    cases[0][20:40] = bytes(20)  # in the pixels
    samples = packed.index(struct.pack("<HHL", 277, 3, 1)) + 8
    cases[1][samples : samples + 2] = b"\xff\xff"
    cases[2][:] = encoded(drawing(), "TIFF", compression="jpeg").replace(b"\xff\xdb", b"\xff\xfe")
    for case in cases:
        assert failure(bytes(case)).status is Status.DECODE_ERROR
    assert capfd.readouterr() == ("", "")


def test_suffix_lists_are_lower_case_and_apart() -> None:
    every = [*images.SUFFIXES, *images.RAW_SUFFIXES, *images.VIDEO_SUFFIXES]
    assert len(every) == len(set(every))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in every)
    assert set(every) >= images.HEIF_SUFFIXES


@given(st.text())
def test_what_an_exception_says_becomes_one_printable_line(text: str) -> None:
    line = one_line(ValueError(text))
    assert line.isprintable()
    assert 0 < len(line) <= 200


def test_addresses_are_taken_out() -> None:
    error = OSError("cannot identify <_io.BytesIO object at 0x7f0123456789>")
    assert one_line(error) == "cannot identify <_io.BytesIO object>"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(ValueError("\n")) == "ValueError"
    assert one_line(ValueError("x" * 500)) == "x" * 199 + "…"
