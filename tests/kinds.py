"""One file of each kind that an archive holds, and of each fault that a file can have.

`make_kinds(folder)` writes them; `KINDS` tells what each must become. The pictures have one
colour, so that what a reader makes of it can be checked by hand: nothing of them is a face.
"""

from __future__ import annotations

import base64
import functools
import os
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, PngImagePlugin, features

from tests.pictures import encoded, png, tiff

SIZE = WIDTH, HEIGHT = 48, 32
COLOUR = (200, 100, 50)
OVER_WHITE = (227, 177, 152)  # COLOUR at an opacity of 128/255: 255 - (255 - c) * 128 / 255
GRAY = (120, 120, 120)
WHITE = (255, 255, 255)

HAS_HEIF = find_spec("pillow_heif") is not None

TINY_HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAADYAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    "+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm"
    "4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAA"
    "AChjbGFwAAAAEAAAAAEAAAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAA"
    "AAAAAQABBYECAwWEAAAAPm1kYXQAAAAyKAGvBjIWZzSJIPC79f//9jb/ZfgDks1snrhH6GPH5LeQkZ70X3sYUuU8"
    "dCD0nFO5zYA="
)
"""COLOUR, 16 x 16, as pillow-heif writes it: for machines without it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A file. status: of its row. colour: what its picture shows, None where it gives none."""

    data: bytes
    status: str = "ok"
    colour: tuple[int, int, int] | None = None


def plain(mode: str = "RGB") -> Image.Image:
    """COLOUR, or GRAY in the modes without colours."""
    if mode in ("L", "LA", "1"):
        return Image.new("L", SIZE, GRAY[0]).convert(mode)
    return Image.new("RGB", SIZE, COLOUR).convert(mode)


def noise() -> Image.Image:
    """A picture that no format can shorten: half of its file is half of the picture."""
    pixels = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def cut(data: bytes) -> bytes:
    """The first half of a file."""
    return data[: len(data) // 2]


def frames(kind: str, **options: Any) -> bytes:
    """COLOUR first, then two other frames."""
    others = [Image.new("RGB", SIZE, colour) for colour in ("blue", "black")]
    return encoded(plain(), kind, save_all=True, append_images=others, **options)


ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]
"""First column and row, and steps, of the passes of an interlaced PNG. Source: PNG 3rd ed., 8.1."""


def interlaced_png(image: Image.Image) -> bytes:
    """As a scanner writes it: Pillow cannot."""
    pixels = np.asarray(image)
    passes = [pixels[y::down, x::right] for x, y, right, down in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    return png(image.size, 8, 2, rows, interlaced=1)


def png_of_16_bits(colours: int, values: tuple[int, ...]) -> bytes:
    """Each of COLOUR's channels as 257 times its value, which is the same share of 65535."""
    row = b"\0" + struct.pack(f">{len(values)}H", *(257 * value for value in values)) * WIDTH
    return png(SIZE, 16, colours, row * HEIGHT)


def cmyk() -> Image.Image:
    """COLOUR without black ink: cyan, magenta and yellow are what is missing to white."""
    return Image.new("CMYK", SIZE, (255 - COLOUR[0], 255 - COLOUR[1], 255 - COLOUR[2], 0))


def ycck() -> bytes:
    """A CMYK JPEG as Photoshop writes it: the inks as YCbCr, inverted, an Adobe marker with 2.

    The decoder takes ink = 255 - RGB(YCbCr) and the marker inverts it: RGB(YCbCr) are the inks.
    """
    inks = cmyk().split()
    ycc = Image.merge("RGB", inks[:3]).convert("YCbCr").split()
    stored = Image.merge("CMYK", [*(ImageChops.invert(band) for band in ycc), inks[3]])
    data = encoded(stored, "JPEG", quality=100, subsampling=0)
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    return data[:transform] + b"\2" + data[transform + 1 :]


def palette() -> Image.Image:
    """Colour 0 is COLOUR, colour 1 is black; the picture has the first."""
    image = Image.new("P", SIZE, 0)
    image.putpalette([*COLOUR, 0, 0, 0])
    return image


def sixteen(top: int = 65535) -> Image.Image:
    """GRAY in 16 bits."""
    return Image.fromarray(np.full((HEIGHT, WIDTH), GRAY[0] * top // 255, np.uint16))


def tiff_rgb_of_16_bits() -> bytes:
    """One strip of little-endian RGB; Pillow cannot write it."""
    pixels = struct.pack("<3H", *(257 * value for value in COLOUR)) * (WIDTH * HEIGHT)
    depths = 14 + 9 * 12  # the first byte behind nine entries
    entries = [
        (256, 3, 1, WIDTH), (257, 3, 1, HEIGHT), (258, 3, 3, depths), (259, 3, 1, 1),
        (262, 3, 1, 2), (273, 4, 1, depths + 6), (277, 3, 1, 3), (278, 3, 1, HEIGHT),
        (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    return tiff(entries, struct.pack("<3H", 16, 16, 16) + pixels)


def scan_bomb() -> bytes:
    """A progressive JPEG whose second scan comes a thousand times."""
    data = encoded(plain(), "JPEG", progressive=True)
    first = data.index(b"\xff\xda") + 2
    start = data.index(b"\xff\xda", first)
    end = data.index(b"\xff\xda", start + 2)
    end = min(end, data.index(b"\xff\xc4", start))
    return data[:start] + data[start:end] * 1000 + data[start:]


def text_bomb() -> bytes:
    """A PNG whose comment is 20 MB once it is unpacked."""
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 20_000_000, zip=True)
    return encoded(plain(), "PNG", pnginfo=info)


def _good() -> dict[str, Kind]:
    """Every format and pixel type, by the name of the file."""

    def ok(data: bytes, colour: tuple[int, int, int] = COLOUR) -> Kind:
        return Kind(data, "ok", colour)

    exif = Image.Exif()
    exif[0x0112] = 6
    good = {
        "baseline.jpg": ok(encoded(plain(), "JPEG", quality=95)),
        "progressive.JPG": ok(encoded(plain(), "JPEG", quality=95, progressive=True)),
        "gray.jpeg": ok(encoded(plain("L"), "JPEG"), GRAY),
        "turned.jpe": ok(encoded(plain(), "JPEG", exif=exif)),
        "broken-exif.jfif": ok(encoded(plain(), "JPEG", exif=b"Exif\0\0garbage")),
        "cmyk.jpg": ok(encoded(cmyk(), "JPEG", quality=95)),
        "ycck.jpg": ok(ycck()),
        "two-pictures.mpo": ok(frames("MPO", quality=95)),
        "rgb.png": ok(encoded(plain(), "PNG")),
        "gray.png": ok(encoded(plain("L"), "PNG"), GRAY),
        "bits.png": ok(encoded(Image.new("1", SIZE, 1), "PNG"), WHITE),
        "palette.png": ok(encoded(palette(), "PNG")),
        "palette-transparent.png": ok(encoded(palette(), "PNG", transparency=0), WHITE),
        "palette-half.png": ok(encoded(palette(), "PNG", transparency=b"\x80"), OVER_WHITE),
        "colour-transparent.png": ok(encoded(plain(), "PNG", transparency=COLOUR), WHITE),
        "alpha.png": ok(encoded(Image.new("RGBA", SIZE, (*COLOUR, 128)), "PNG"), OVER_WHITE),
        "gray-alpha.png": ok(encoded(Image.new("LA", SIZE, (120, 0)), "PNG"), WHITE),
        "gray16.png": ok(encoded(sixteen(), "PNG"), GRAY),
        "rgb16.png": ok(png_of_16_bits(2, COLOUR)),
        "alpha16.png": ok(png_of_16_bits(6, (*COLOUR, 128)), OVER_WHITE),
        "interlaced.png": ok(interlaced_png(plain())),
        "animated.png": ok(frames("PNG")),
        "lossy.webp": ok(encoded(plain(), "WEBP", quality=95)),
        "lossless.webp": ok(encoded(plain(), "WEBP", lossless=True)),
        "alpha.webp": ok(
            encoded(Image.new("RGBA", SIZE, (*COLOUR, 128)), "WEBP", lossless=True), OVER_WHITE
        ),
        "animated.webp": ok(frames("WEBP", lossless=True)),
        "plain.tif": ok(encoded(plain(), "TIFF")),
        "lzw.tiff": ok(encoded(plain(), "TIFF", compression="tiff_lzw")),
        "deflate.tif": ok(encoded(plain(), "TIFF", compression="tiff_adobe_deflate")),
        "jpeg.tif": ok(encoded(plain(), "TIFF", compression="jpeg", quality=95)),
        "fax.tif": ok(encoded(Image.new("1", SIZE, 1), "TIFF", compression="group4"), WHITE),
        "cmyk.tif": ok(encoded(cmyk(), "TIFF")),
        "alpha.tif": ok(encoded(Image.new("RGBA", SIZE, (*COLOUR, 128)), "TIFF"), OVER_WHITE),
        "gray16.tif": ok(encoded(sixteen(), "TIFF"), GRAY),
        "rgb16.tif": ok(tiff_rgb_of_16_bits()),
        "float.tif": ok(
            encoded(Image.new("F", SIZE, GRAY[0] / 255), "TIFF"), GRAY
        ),
        "pages.tif": ok(frames("TIFF")),
        "plain.bmp": ok(encoded(plain(), "BMP")),
        "palette.bmp": ok(encoded(palette(), "BMP")),
        "plain.dib": ok(encoded(plain(), "DIB")),
        "plain.gif": ok(encoded(palette(), "GIF")),
        "transparent.gif": ok(encoded(palette(), "GIF", transparency=0), WHITE),
        "animated.gif": ok(frames("GIF")),
        "plain.avif": ok(encoded(plain(), "AVIF", quality=95)),
        "plain.jp2": ok(encoded(plain(), "JPEG2000")),
        "stream.j2k": ok(encoded(plain(), "JPEG2000", no_jp2=True)),
        "png-named.jpg": ok(encoded(plain(), "PNG")),
        "webp-named.jpg": ok(encoded(plain(), "WEBP", lossless=True)),
        "jpeg-named.heic": ok(encoded(plain(), "JPEG", quality=95)),
    }  # fmt: skip
    return {name: kind for name, kind in good.items() if _can_be_read(name)}


def _can_be_read(name: str) -> bool:
    """Whether this Pillow was built with what the file needs."""
    if name.endswith(".avif"):
        return bool(features.check("avif"))
    if name.endswith((".jp2", ".j2k")):
        return bool(features.check("jpg_2000"))
    return True


def _heif() -> dict[str, Kind]:
    """HEIF files, `unsupported` where the extra is not installed."""
    if not HAS_HEIF:
        return {
            "phone.heic": Kind(TINY_HEIC, "unsupported"),
            "heic-named.jpg": Kind(TINY_HEIC, "unsupported"),
        }
    half = Image.new("RGBA", SIZE, (*COLOUR, 128))
    return {
        "phone.heic": Kind(encoded(plain(), "HEIF", quality=95), "ok", COLOUR),
        "tiny.HEIC": Kind(TINY_HEIC, "ok", COLOUR),
        "alpha.heif": Kind(encoded(half, "HEIF", quality=95), "ok", OVER_WHITE),
        "gray10.hif": Kind(encoded(sixteen(), "HEIF", quality=95), "ok", GRAY),
        "heic-named.jpg": Kind(encoded(plain(), "HEIF", quality=95), "ok", COLOUR),
        "cut.heic": Kind(cut(encoded(noise(), "HEIF")), "decode_error"),
    }


def _faults() -> dict[str, Kind]:
    """Files that give no picture, by the name of the file."""
    whole = {
        "jpg": encoded(noise(), "JPEG"),
        "png": encoded(noise(), "PNG"),
        "webp": encoded(noise(), "WEBP", lossless=True),
        "tif": encoded(noise(), "TIFF"),
        "bmp": encoded(noise(), "BMP"),
        "gif": encoded(noise(), "GIF"),
        "avif": encoded(noise(), "AVIF"),
        "jp2": encoded(noise(), "JPEG2000"),
    }
    flipped = bytearray(whole["png"])
    flipped[len(flipped) // 2] ^= 0xFF
    huge = bytearray(encoded(plain(), "BMP"))
    huge[18:26] = struct.pack("<ii", 60_000, 60_000)
    lying = bytearray(encoded(plain(), "BMP"))
    lying[18:26] = struct.pack("<ii", 600, 600)
    bad = {
        "empty.jpg": b"",
        "zeros.png": bytes(5000),
        "text.jpg": b"Dear diary\n",
        "page.png": b"<!DOCTYPE html><title>404 Not Found</title>",
        "header.jpg": whole["jpg"][:20],
        "flipped.png": bytes(flipped),
        "lying.bmp": bytes(lying),
        "text-bomb.png": text_bomb(),
        "scan-bomb.jpg": scan_bomb(),
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "layers.tif": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 4, 8, 3) + bytes(62),
        "film.jpg": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(100),
        "text.heic": b"Dear diary\n",
    } | {f"cut.{suffix}": cut(data) for suffix, data in whole.items()}
    large = {
        "huge.png": png((60_000, 60_000), 8, 2, bytes(1000)),
        "huge.bmp": bytes(huge),
    }
    return {name: Kind(data, "decode_error") for name, data in bad.items()} | {
        name: Kind(data, "too_large") for name, data in large.items()
    }


def _unsupported() -> dict[str, Kind]:
    names = ["a.nef", "b.NEF", "c.cr2", "d.dng", "e.mov", "f.mp4"]
    return {name: Kind(b"whatever", "unsupported") for name in names}


@functools.cache
def all_kinds() -> dict[str, Kind]:
    """Every file, by its name."""
    return _good() | _heif() | _faults() | _unsupported()


def make_kinds(folder: Path) -> dict[str, str]:
    """Write every file, and what is no file. Returns the status of each row, by its name.

    A folder and a pipe with a picture's name have no row; a link to nothing is `unreadable`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = all_kinds()
    for name, kind in kinds.items():
        (folder / name).write_bytes(kind.data)
    (folder / "folder.jpg").mkdir()
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return {name: kind.status for name, kind in kinds.items()} | {"gone.jpg": "unreadable"}
