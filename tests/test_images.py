"""Images: every format and pixel type, and pictures at less than their full size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from annotate import images
from annotate.images import decode, face_crop, resize_square
from annotate.records import Status
from tests.conftest import ROOT
from tests.kinds import TINY_HEIC
from tests.pictures import FORMATS, HEIGHT, WIDTH, drawing, encoded, failure, png, skip_if_absent

# Formats ----------------------------------------------------------------------------------


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
    data = png((1, 1), 8, 2, b"\0\x0a\x14\x1e", interlaced=1)
    assert decode(data).pixels.tolist() == [[[10, 20, 30]]]


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


@pytest.mark.parametrize("values", [[0, 128, 255], [0, 32896, 65535], [0, 2**30, 2**31 - 1]])
def test_gray_of_32_bits(values: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], np.int32)), "TIFF")
    assert decode(data).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_infinite_gray_is_white_or_black() -> None:
    values = np.array([[np.inf, -np.inf, 0.6]], np.float32)
    assert decode(encoded(Image.fromarray(values), "TIFF")).pixels[0, :, 0].tolist() == [
        255,
        0,
        153,
    ]


def test_large_pictures_are_converted_by_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pixels, whatever the strips: of one row, of some, of more than there are."""
    colour, gray = encoded(drawing(), "PNG"), encoded(drawing().convert("I"), "TIFF")
    for pixels in (1, WIDTH, 7 * WIDTH, 10**6):
        monkeypatch.setattr(images, "STRIP_PIXELS", pixels)
        assert np.array_equal(decode(colour).pixels, np.asarray(drawing()))
        assert np.array_equal(decode(gray).pixels[..., 2], np.asarray(drawing().convert("L")))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "F"])
def test_decoding_takes_no_more_than_13_bytes_a_pixel(mode: str, tmp_path: Path) -> None:
    """Pillow's own copy takes 4; 16 million pixels, so that the interpreter does not count."""
    image = Image.new(mode, (4000, 4000))
    kind = "TIFF" if mode == "F" else "PNG"
    options = {"transparency": 0} if mode == "P" else {}
    (tmp_path / "picture").write_bytes(encoded(image, kind, **options))
    program = (
        "import resource, sys; from annotate.images import decode\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "decode(data)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print((after - before) * 1024 / 16_000_000 - len(data) / 16_000_000)"
    )
    assert float(python(program, str(tmp_path / "picture"))) <= 13


def python(program: str, *arguments: str) -> str:
    """What a program prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=300, cwd=ROOT, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


# HEIF -------------------------------------------------------------------------------------


def test_heif_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # its import fails
    images._heif_decoder.cache_clear()
    error = failure(TINY_HEIC)
    assert error.status is Status.UNSUPPORTED
    assert str(error) == "HEIC and HEIF pictures need an extra: pip install 'annotate[heif]'"


def test_heif_support_is_loaded_for_heif_alone_and_not_registered() -> None:
    pytest.importorskip("pillow_heif")
    program = (
        "import sys; from annotate.images import decode; from tests.kinds import TINY_HEIC, plain\n"
        "from tests.pictures import encoded; decode(encoded(plain(), 'JPEG'))\n"
        "before = 'pillow_heif' in sys.modules; decode(TINY_HEIC)\n"
        "from PIL import Image\n"
        "print(before, 'pillow_heif' in sys.modules, 'HEIF' in Image.OPEN)"
    )
    assert python(program).split() == ["False", "True", "False"]


def test_the_primary_picture_of_a_heif_file_counts() -> None:
    skip_if_absent("HEIF")
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    data = encoded(red, "HEIF", append_images=[blue], primary_index=1)
    assert np.abs(decode(data).pixels.astype(int) - [0, 0, 255]).max() <= 3


def test_a_heif_file_in_tiles_is_put_together() -> None:
    skip_if_absent("HEIF")
    picture = decode(encoded(drawing(300, 200), "HEIF", quality=95, tile_size=128))
    assert picture.pixels.shape == (200, 300, 3)
    assert np.abs(picture.pixels.astype(int) - np.asarray(drawing(300, 200))).max() <= 6


def test_a_heif_picture_is_decoded_itself_and_not_its_thumbnail() -> None:
    skip_if_absent("HEIF")
    data = encoded(drawing(640, 480), "HEIF", thumbnails=[320])
    assert decode(data, enough_px=32, enough_long_px=32).pixels.shape == (480, 640, 3)


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_avif_stays_with_pillow(brand: bytes) -> None:
    skip_if_absent("AVIF")
    data = encoded(drawing(), "AVIF", quality=95)
    assert data[8:12] == b"avif"
    picture = decode(data[:8] + brand + data[12:])
    assert np.abs(picture.pixels.astype(int) - np.asarray(drawing())).max() <= 6


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


@pytest.mark.parametrize(
    ("size", "long_px", "expected"),
    [
        ((1200, 800), 256, (300, 200)),
        ((800, 1200), 256, (200, 300)),
        ((1201, 803), 150, (151, 101)),  # an eighth, rounded up
        ((1200, 800), 600, (600, 400)),
        ((1200, 800), 601, (1200, 800)),
        ((1200, 800), 5000, (1200, 800)),
        ((2400, 9), 100, (300, 2)),
        ((500, 500), 100, (125, 125)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_long_side_of_a_photograph_keeps_what_is_needed(
    size: tuple[int, int], long_px: int, expected: tuple[int, int], options: Any, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(drawing(*size), "JPEG", exif=exif, **options)
    picture = decode(data, enough_long_px=long_px)
    turned = slice(None, None, -1 if orientation == 6 else 1)
    assert (picture.width, picture.height) == size[turned]
    assert picture.pixels.shape == (*expected[turned][::-1], 3)
    # Red grows to the right of the stored picture: the reduced one shows all of it.
    red = picture.pixels[..., 0].T if orientation == 6 else picture.pixels[..., 0]
    assert abs(int(red[0, 0]) - 20) <= 8
    assert abs(int(red[0, -1]) - 230) <= 8


def test_a_reduced_cmyk_jpeg_has_the_same_colours() -> None:
    image = Image.new("CMYK", (640, 480), (0, 128, 255, 0))  # red 255, green 127, blue 0
    picture = decode(encoded(image, "JPEG", quality=95), enough_long_px=160)
    assert picture.pixels.shape == (120, 160, 3)
    assert np.abs(picture.pixels.astype(int) - [255, 127, 0]).max() <= 3


def test_both_limits_hold_together() -> None:
    data = encoded(drawing(1200, 400), "JPEG")
    assert decode(data, enough_px=200, enough_long_px=150).pixels.shape == (200, 600, 3)
    assert decode(data, enough_px=50, enough_long_px=600).pixels.shape == (200, 600, 3)


def test_the_first_picture_of_an_mpo_is_reduced_too() -> None:
    others = [Image.new("RGB", (640, 480), "blue")]
    data = encoded(drawing(640, 480), "MPO", save_all=True, append_images=others)
    picture = decode(data, enough_long_px=160)
    assert picture.pixels.shape == (120, 160, 3)
    assert abs(int(picture.pixels[60, -1, 0]) - 230) <= 8


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG2000", "AVIF"])
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    skip_if_absent(kind)
    assert decode(encoded(drawing(), kind), enough_px=1, enough_long_px=1).pixels.shape == (
        HEIGHT, WIDTH, 3,
    )  # fmt: skip
