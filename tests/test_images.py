"""Images: every format, orientation and pixel type, and everything that a file can do wrong."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps, PngImagePlugin, features

from annotate import images
from annotate.errors import one_line
from annotate.images import ImageError, Picture, decode, face_crop, resize_square
from annotate.records import Status

WIDTH, HEIGHT = 40, 24


def drawing(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A smooth picture without any symmetry: red grows to the right, green downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(20, 230, width)[None, :]
    pixels[..., 1] = np.linspace(10, 200, height)[:, None]
    pixels[..., 2] = 90
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def failure(data: bytes, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    text = str(caught.value)
    assert text
    assert text.isprintable()
    assert "0x" not in text
    return caught.value


def decoded_or_failure(data: bytes, **options: Any) -> Picture | ImageError:
    """What a file that may be broken gives; anything but an ImageError is raised."""
    try:
        return decode(data, **options)
    except ImageError:
        return failure(data, **options)


# Formats ----------------------------------------------------------------------------------

FORMATS = {
    "JPEG": ({"quality": 95}, 8),
    "PNG": ({}, 0),
    "WEBP": ({"lossless": True}, 0),
    "TIFF": ({}, 0),
    "BMP": ({}, 0),
    "DIB": ({}, 0),
    "JPEG2000": ({"irreversible": False}, 0),
    "AVIF": ({"quality": 95}, 6),
    "MPO": ({"quality": 95}, 8),
}
"""What Pillow is asked for, and by how many levels the pixels may differ at most."""


def skip_if_absent(kind: str) -> None:
    needed = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind)
    if needed is not None and not features.check(needed):
        pytest.skip(f"this Pillow has no {kind}")


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind: str) -> None:
    skip_if_absent(kind)
    options, tolerance = FORMATS[kind]
    picture = decode(encoded(drawing(), kind, **options))
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert (picture.width, picture.height, picture.captured_at) == (WIDTH, HEIGHT, None)
    difference = np.abs(picture.pixels.astype(int) - np.asarray(drawing()).astype(int))
    assert difference.max() <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(kind: str, orientation: int) -> None:
    """Against Pillow's own turning of the picture without the tag, and against its reading."""
    skip_if_absent(kind)
    options, tolerance = FORMATS[kind]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(drawing(), kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = decode(data)
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


def test_orientation_from_an_exif_chunk_behind_the_pixels_of_a_png() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    data = encoded(drawing(), "PNG")
    end = data.index(b"IEND") - 4
    data = data[:end] + chunk(b"eXIf", body) + data[end:]
    assert np.array_equal(decode(data).pixels, np.asarray(drawing())[::-1, ::-1])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        skip_if_absent(kind)
        lossless = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
        assert np.array_equal(decode(data).pixels, np.asarray(frames[0])), kind


def test_gif_palette_and_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    data = encoded(image, "GIF", transparency=1)
    assert decode(data).pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_modes(mode: str, progressive: bool) -> None:
    image = drawing().convert(mode)
    data = encoded(image, "JPEG", quality=95, progressive=progressive)
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(decode(data).pixels - expected).max() <= 6


def test_interlaced_png_as_others_write_it() -> None:
    """Adam7 of a 1 x 1 picture in true colour has one pass of one pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)
    pixels = zlib.compress(b"\0\x0a\x14\x1e")
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
    assert decode(data + chunk(b"IEND", b"")).pixels.tolist() == [[[10, 20, 30]]]


def test_alpha_shows_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 0, 0, 255), (0, 0, 0, 0), (0, 0, 0, 127)])
    # 255 (1 - 127/255) = 128
    assert decode(encoded(image, "PNG")).pixels.tolist() == [
        [[255, 0, 0], [255, 255, 255], [128, 128, 128]]
    ]
    gray = Image.new("LA", (2, 1))
    gray.putdata([(0, 0), (90, 255)])
    assert decode(encoded(gray, "PNG")).pixels.tolist() == [[[255] * 3, [90] * 3]]


def test_a_transparent_colour_shows_white() -> None:
    image = Image.new("RGB", (2, 1))
    image.putdata([(1, 2, 3), (4, 5, 6)])
    data = encoded(image, "PNG", transparency=(1, 2, 3))
    assert decode(data).pixels.tolist() == [[[255, 255, 255], [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_16_bits_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)  # 0, 1, 128 and 255 times 257
    data = encoded(Image.fromarray(values), kind)
    assert decode(data).pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_gray_in_floating_point(top: float) -> None:
    values = np.array([[0.0, 0.2, 1.0, np.nan]], np.float32) * top
    assert decode(encoded(Image.fromarray(values), "TIFF")).pixels[0, :, 0].tolist() == [
        0, 51, 255, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["1", "P"])
def test_other_pixel_types(mode: str) -> None:
    image = drawing().convert(mode)
    assert np.array_equal(decode(encoded(image, "PNG")).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2)])
def test_tiny_and_thin_pictures(size: tuple[int, int]) -> None:
    picture = face_crop(encoded(Image.new("RGB", size, (9, 8, 7)), "PNG"), 16)
    crop = picture.pixels
    assert (picture.width, picture.height) == size
    assert crop.shape == (16, 16, 3)
    assert (crop == [9, 8, 7]).all()


# Resizing and the reduced path ------------------------------------------------------------


def test_resize_averages_the_footprint_of_each_pixel() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255  # a checkerboard aliases if only sampled
    pixels = np.repeat(board.astype(np.uint8)[..., None], 3, axis=2)
    inner = resize_square(pixels, 8)[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127.5).max() <= 6


def test_resize_squeezes_other_shapes_and_leaves_the_right_size_alone() -> None:
    halves = np.zeros((10, 40, 3), np.uint8)
    halves[:, 20:] = 255
    squeezed = resize_square(halves, 8)
    assert squeezed[:, :3].max() == 0
    assert squeezed[:, 5:].min() == 255
    same = np.asarray(drawing(8, 8))
    assert np.array_equal(resize_square(same, 8), same)


def scene(size: int) -> Image.Image:
    image = drawing(size, size)
    draw = ImageDraw.Draw(image)
    draw.ellipse((size * 0.2, size * 0.15, size * 0.8, size * 0.9), fill=(220, 180, 150))
    draw.ellipse((size * 0.32, size * 0.4, size * 0.42, size * 0.46), fill=(20, 20, 60))
    draw.rectangle((size * 0.4, size * 0.7, size * 0.6, size * 0.75), fill=(160, 40, 40))
    return image


@pytest.mark.parametrize("size", [200, 512, 1600])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_reduced_jpeg_path_gives_nearly_the_same_crop(size: int, orientation: int) -> None:
    """Reducing while decoding against decoding in full: 2 levels on average, 32 at edges."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(size), "JPEG", quality=92, exif=exif)
    picture = face_crop(data, 96)
    reduced = picture.pixels
    full = resize_square(decode(data).pixels, 96)
    assert (picture.width, picture.height) == (size, size)
    # The decoder halves up to three times, while 96 px are left.
    decoded = decode(data, enough_px=96)
    assert decoded.pixels.shape[0] == {200: 100, 512: 128, 1600: 200}[size]
    assert np.array_equal(reduced, resize_square(decoded.pixels, 96))
    difference = np.abs(reduced.astype(int) - full)
    assert difference.mean() <= 2
    assert difference.max() <= 32


def test_thin_jpegs_are_not_reduced_below_what_is_needed() -> None:
    picture = decode(encoded(drawing(1600, 100), "JPEG"), enough_px=96)
    assert picture.pixels.shape == (100, 1600, 3)


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


# Bombs, broken and foreign files ----------------------------------------------------------


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


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


@given(st.data())
def test_damaged_files_never_raise_anything_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]))
    broken = bytearray(encoded(drawing(12, 9), kind))
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
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    ],
    ids=["EPS", "PSD", "PDF", "SVG", "PPM", "HEIC"],
)
def test_formats_outside_the_list_never_run(data: bytes) -> None:
    error = failure(data)
    assert error.status is Status.DECODE_ERROR
    assert str(error) == "not an image of a format that annotate reads"


def test_suffix_lists_are_lower_case_and_apart() -> None:
    every = [*images.SUFFIXES, *images.RAW_SUFFIXES, *images.VIDEO_SUFFIXES, *images.HEIF_SUFFIXES]
    assert len(every) == len(set(every))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in every)


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
