"""Images: the bytes of a file in, oriented RGB pixels and what the file says of itself out.

The only room that knows image formats. Everything that a stranger's file can do wrong ends
here as an ImageError with a status; nothing is executed, and no more than `max_pixels` is ever
decoded. Training and inference both come through `face_crop`, so they see the same pixels.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, _imaging

from annotate import bombs, exif
from annotate.errors import one_line
from annotate.records import Status

Pixels = npt.NDArray[np.uint8]


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


HEIF_SUFFIXES = _suffixes("heic heics heif heifs hif")
SUFFIXES = HEIF_SUFFIXES | _suffixes(
    "jpg jpeg jpe jfif mpo png webp tif tiff bmp dib gif avif avifs jp2 j2k j2c jpc jpf jpx"
)
"""Suffixes of the files that are opened, in lower case. What a file is, its content decides."""

RAW_SUFFIXES = _suffixes(
    "3fr arw cr2 cr3 crw dcr dng erf fff iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2"
    " srf srw x3f"
)
VIDEO_SUFFIXES = _suffixes("3g2 3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv")
UNSUPPORTED_SUFFIXES = RAW_SUFFIXES | VIDEO_SUFFIXES
"""Suffixes that people keep in archives and that are recorded as `unsupported`, unopened."""


def is_unsupported(path: str) -> bool:
    """Whether a file of this name is not to be decoded, whatever is in it."""
    return os.path.splitext(path)[1].lower() in UNSUPPORTED_SUFFIXES


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000")
"""The Pillow parsers that may run (MPO comes with JPEG). An allowlist: Pillow has others, some
of which start programs (EPS). HEIF comes beside them, from the extra `[heif]`."""

HEIF_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])
AVIF_BRANDS = frozenset([b"avif", b"avis"])

MAX_PIXELS = 150_000_000
"""Pictures of more pixels are `too_large`. Pillow's own limit lies above, and stays on."""

PILLOW_MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
"""That limit, 178,956,970: Pillow refuses twice of what it warns of."""

_limit_raised = threading.Lock()

MAX_SIDE_PX = 2**20
"""Pictures with a longer side are `too_large`: no panorama has a tenth of it, and each row and each
column costs time and memory of its own."""

STRIP_PIXELS = 2**22
"""Larger pictures are converted in strips of so many pixels, to spare memory."""

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


Enough = tuple[int | None, int | None]
"""Pixels that both sides, and that the long side of a picture must keep; None: no less."""


class ImageError(Exception):
    """A file that gives no picture. status: `decode_error`, `too_large`, or `unsupported` for a
    HEIF file without the extra that decodes it; text: one line.
    """

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


def decode(
    data: bytes,
    *,
    enough_px: int | None = None,
    enough_long_px: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Decode the bytes of one image file.

    A JPEG may be decoded at 1/2, 1/4 or 1/8, so that its other pixels are never made, as long as
    both sides keep at least enough_px pixels (for a face) and its long side enough_long_px (for
    a photograph): 6000 x 4000 and enough_long_px=1280 give 1500 x 1000. Where both are None, and
    in every other format, all pixels are decoded. Of several frames the first is taken, of a
    HEIF file the primary one; transparency shows white; colour profiles are not applied.
    Raises ImageError.
    """
    return _decode(data, (enough_px, enough_long_px), max_pixels, _to_array)


def _decode(
    data: bytes, enough: Enough, max_pixels: int, to_pixels: Callable[[Image.Image], Pixels]
) -> Picture:
    """The picture; to_pixels makes its pixels of the upright RGB image. Raises ImageError."""
    with _image_errors(data, max_pixels):
        upright, width, height, captured_at = _parse(data, enough, max_pixels)
        return Picture(to_pixels(upright), width, height, captured_at)


@contextlib.contextmanager
def _image_errors(data: bytes, max_pixels: int) -> Iterator[None]:
    """Let Pillow work on a file meanwhile, and turn all that may go wrong into an ImageError."""
    try:
        _silence_decoders()
        # Pillow warns at half its limit. Our own limit decides, so the warning says nothing new.
        with warnings.catch_warnings(), _pillow_allows(max_pixels):
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        text = f"more pixels than the limit of {max_pixels}"
        raise ImageError(Status.TOO_LARGE, text) from error
    except UnidentifiedImageError as error:
        text = "empty file" if not data else "not an image of a format that annotate reads"
        raise ImageError(Status.DECODE_ERROR, text) from error
    except MemoryError as error:
        raise ImageError(Status.DECODE_ERROR, "there is not enough memory to decode it") from error
    # Parsers of broken files raise nearly every built-in exception (struct.error, SyntaxError,
    # IndexError, OverflowError, ...): at this one border all of them mean the same.
    except Exception as error:
        raise ImageError(Status.DECODE_ERROR, one_line(error)) from error


def load_parsers() -> None:
    """Import the parsers of FORMATS. With the first file that is of none of the common formats,
    Pillow would import those that may not run, too.
    """
    Image.preinit()
    for name in ("Mpo", "WebP", "Tiff", "Avif", "Jpeg2K"):
        importlib.import_module(f"PIL.{name}ImagePlugin")


@functools.cache
def _silence_decoders() -> None:
    """Keep what Pillow logs and libtiff prints off stderr: the ImageError says it."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # libtiff is linked to Pillow's extension module, by which the loader finds it. Where it is
    # linked so that its names are hidden, a broken TIFF may print a line.
    with contextlib.suppress(OSError, AttributeError):
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


@contextlib.contextmanager
def _pillow_allows(max_pixels: int) -> Iterator[None]:
    """Let Pillow decode pictures of max_pixels meanwhile.

    Its limit is a setting of the whole process, and touched only where the user asks for more; by
    one thread at a time, so that it is always put back.
    """
    if max_pixels <= PILLOW_MAX_PIXELS:
        yield
        return
    with _limit_raised:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _parse(
    data: bytes, enough: Enough, max_pixels: int
) -> tuple[Image.Image, int, int, datetime | None]:
    with _open(data) as image:
        width, height = _checked_size(image, max_pixels)
        # Pillow's draft mode; that of HEIF would take an embedded thumbnail for the picture.
        if any(enough) and image.format in ("JPEG", "MPO"):
            image.draft(None, _enough_size(width, height, *enough))
        upright: Image.Image = _to_rgb(image)
        # Only now: a PNG may have its EXIF behind the pixels, and Pillow turns a TIFF upright as
        # it loads it, then drops the orientation.
        orientation, captured_at = exif.read(image)
        if image.format == "HEIF":  # its decoder has turned it: ISO 23008-12 has EXIF ignored
            orientation = 1
    operation = _ORIENTATIONS.get(orientation)
    if operation is not None:
        upright = upright.transpose(operation)
        if orientation >= 5:
            width, height = height, width
    return upright, width, height, captured_at


def stored_orientation(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """EXIF orientation, 1 to 8, of the picture that a file stores, as other programs go by it.

    What `decode` undoes, but for HEIF and AVIF, whose decoders turn their pixels themselves: of
    HEIF it is what EXIF says all the same, as in the files of phones, of AVIF 1. Pixels are only
    decoded where EXIF may lie behind them. Raises ImageError.
    """
    with _image_errors(data, max_pixels), _open(data) as image:
        _checked_size(image, max_pixels)
        if image.format == "HEIF":
            said = image.info.get("original_orientation")
            return said if isinstance(said, int) and 1 <= said <= 8 else 1
        if image.format == "PNG":
            image.load()
        return 1 if image.format == "AVIF" else exif.read(image)[0]


def _checked_size(image: Image.Image, max_pixels: int) -> tuple[int, int]:
    """Width and height of an image that is not too large. Raises ImageError."""
    width, height = image.size
    text = f"{width} x {height} pixels, the limit"
    if width * height > max_pixels:
        raise ImageError(Status.TOO_LARGE, f"{text} is {max_pixels}")
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(Status.TOO_LARGE, f"{text} of a side is {MAX_SIDE_PX}")
    return width, height


def _open(data: bytes) -> Image.Image:
    """The image, its pixels not decoded yet."""
    if not _is_heif(data):
        bombs.check(data)
        return Image.open(bombs.BoundedReader(data), formats=FORMATS)
    try:
        heif_image_file = _heif_decoder()
    except ImportError as error:
        text = "HEIC and HEIF pictures need an extra: pip install 'annotate[heif]'"
        raise ImageError(Status.UNSUPPORTED, text) from error
    return heif_image_file(bombs.BoundedReader(data))


def _is_heif(data: bytes) -> bool:
    """Whether the file begins with the brands of HEVC pictures. Source: ISO 23008-12, annex B.

    AVIF has the same container and shares the general brands.
    """
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    return not brands.isdisjoint(HEIF_BRANDS) and brands.isdisjoint(AVIF_BRANDS)


@functools.cache
def _heif_decoder() -> Callable[[io.BytesIO], Image.Image]:
    """pillow-heif's image class, set to decode the picture itself, in this thread.

    Imported only once a HEIF file comes, and not registered with Pillow, which is the process's.
    Raises ImportError.
    """
    from pillow_heif import HeifImageFile, options

    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    decoder: Callable[[io.BytesIO], Image.Image] = HeifImageFile
    return decoder


def _enough_size(
    width: int, height: int, enough_px: int | None, enough_long_px: int | None
) -> tuple[int, int]:
    """The width and height that the decoder must not go below."""
    short, long = enough_px or 1, max(enough_px or 1, enough_long_px or 1)
    return (long, short) if width >= height else (short, long)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16-bit and float grey scaled, transparency put over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith(("I", "F")):
        return _gray_to_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image.convert("RGB")


def _gray_to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or float, to 8 bits; Pillow's own convert would clip at 255.

    No format says which value is white, so the largest one decides: 1, 255, 65535 or 2^31 - 1.
    """
    values = np.asarray(image)
    highest = np.nanmax(values, initial=0, where=np.isfinite(values))
    tops = (1.0, 255.0) if values.dtype.kind == "f" else (255, 65535, 2**31 - 1)
    top = next((top for top in tops if highest <= top), tops[-1])
    gray = np.empty(values.shape, np.uint8)
    for rows in _strips(*image.size):
        strip = np.nan_to_num(values[rows].astype(np.float64), posinf=top, neginf=0)
        gray[rows] = np.rint(np.clip(strip / top, 0, 1) * 255)
    return Image.fromarray(gray)


def _to_array(image: Image.Image) -> Pixels:
    """The pixels of an RGB image; a large one by strips, or there would be two copies at once."""
    if image.width * image.height <= STRIP_PIXELS:
        return np.asarray(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows in _strips(*image.size):
        pixels[rows] = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
    return pixels


def _strips(width: int, height: int) -> Iterator[slice]:
    """The rows of a picture, about STRIP_PIXELS at a time."""
    step = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


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
    return _decode(
        data, (size_px, None), max_pixels, lambda image: np.asarray(_square(image, size_px))
    )
