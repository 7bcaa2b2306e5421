"""Hostile pictures: of any size and shape, and larger than memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate import images, read
from annotate.decoding import DecodeOptions, decode_source
from annotate.face_options import FaceOptions
from annotate.images import MAX_SIDE_PX
from annotate.records import Source, Status
from tests.conftest import ROOT, Invoke, draw
from tests.kinds import plain
from tests.pictures import drawing, encoded, failure, png, skip_if_absent
from torture.seeds import seeds

CROP = DecodeOptions(size_px=16)
DETECT = DecodeOptions(size_px=16, faces=FaceOptions())


def source_of(data: bytes) -> Source:
    return Source(0, "/in", "a.jpg", b"/in/a.jpg", len(data), 1, data=data)


@pytest.mark.parametrize("kind", [*images.FORMATS, "MPO", "HEIF"])
def test_the_limit_on_pixels_holds_for_every_format(kind: str) -> None:
    """To the pixel, and before any of them is decoded."""
    skip_if_absent(kind)
    for data in seeds()[kind]:
        sample = decode_source(source_of(data), CROP)
        if sample.failure is not None:
            continue
        pixels = (sample.facts.width or 0) * (sample.facts.height or 0)
        assert decode_source(source_of(data), DecodeOptions(16, max_pixels=pixels)).faces
        error = failure(data, max_pixels=pixels - 1)
        assert error.status is Status.TOO_LARGE
        assert str(error).endswith(f"the limit is {pixels - 1}")


def patched_after(data: bytes, mark: bytes, value: bytes) -> bytes:
    place = data.index(mark) + len(mark)
    return data[:place] + value + data[place + len(value) :]


BIG_ENDIAN = struct.pack(">LL", 12_500, 12_001)
LARGE: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": lambda data: patched_after(data, b"\xff\xc0\0\x11\x08", b"\x30\xd4\x30\xd4"),
    "GIF": lambda data: patched_after(data, b"GIF87a", struct.pack("<HH", 12_500, 12_001)),
    "BMP": lambda data: data[:18] + struct.pack("<ll", 12_500, 12_001) + data[26:],
    "DIB": lambda data: data[:4] + struct.pack("<ll", 12_500, 12_001) + data[12:],
    "TIFF": lambda data: patched_after(data, struct.pack("<HHL", 256, 4, 1), b"\1\xc4\x23\0"),
    "WEBP": lambda data: patched_after(data, b"\x2f", struct.pack("<L", 12_499 | 12_000 << 14)),
    "JPEG2000": lambda data: patched_after(data, b"ihdr", BIG_ENDIAN),
    "AVIF": lambda data: patched_after(data, b"ispe\0\0\0\0", BIG_ENDIAN),
    "HEIF": lambda data: patched_after(data, b"ispe\0\0\0\0", BIG_ENDIAN),
}
"""What makes a picture of 64 x 64 one whose header says just over 150 million pixels."""


@pytest.mark.parametrize("kind", LARGE)
def test_pictures_of_just_over_150_million_pixels_are_refused_by_their_header(kind: str) -> None:
    skip_if_absent(kind)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = drawing(64, 64).convert("P" if kind == "GIF" else "RGB")
    data = encoded(picture, kind, **options)
    large = LARGE[kind](data)
    assert large != data
    error = failure(large)
    assert error.status is Status.TOO_LARGE
    assert str(error).endswith("pixels, the limit is 150000000")


def test_the_limit_on_pixels_is_an_option(tmp_path: Path, invoke: Invoke, crop: list[str]) -> None:
    draw(tmp_path / "in" / "a.png", (1, 2, 3), (40, 25))
    output = str(tmp_path / "x.csv")
    for limit, code in (("1000", 0), ("999", 3)):
        words = ("run", str(tmp_path / "in"), "-o", output, "--max-pixels", limit, "--overwrite")
        assert invoke(*words, *crop)[0] == code
    (row,) = read(output).to_dict("records")
    assert (row["status"], row["error"]) == ("too_large", "40 x 25 pixels, the limit is 999")
    code, _, err = invoke("run", str(tmp_path), "-o", output, "--max-pixels", "0", *crop)
    assert code == 2
    assert "max-pixels" in err


THIN = [(1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1), (3, 70_000), (70_000, 3)]


@pytest.mark.parametrize("size", THIN)
@pytest.mark.parametrize("options", [CROP, DETECT], ids=["crop", "detect"])
def test_thin_and_tiny_pictures(size: tuple[int, int], options: DecodeOptions) -> None:
    sample = decode_source(source_of(encoded(Image.new("RGB", size, "red"), "PNG")), options)
    assert sample.failure is None
    assert (sample.facts.width, sample.facts.height) == size
    if options is CROP:
        assert (sample.pixels == [255, 0, 0]).all()
    else:
        assert sample.faces == ()


@pytest.mark.parametrize("turned", [False, True])
def test_a_side_has_a_million_pixels_at_most(turned: bool) -> None:
    """A picture of 1 x 150,000,000 took 15 s and 4 GB."""

    def thin(length: int) -> bytes:
        size = (length, 1) if turned else (1, length)
        rows = np.zeros((size[1], 1 + size[0]), np.uint8)
        return png(size, 8, 0, rows.tobytes())

    sample = decode_source(source_of(thin(MAX_SIDE_PX)), CROP)
    assert sample.failure is None
    assert not sample.pixels.any()
    error = failure(thin(MAX_SIDE_PX + 1))
    assert error.status is Status.TOO_LARGE
    assert str(error).endswith("1048577 pixels, the limit of a side is 1048576") or turned
    assert failure(thin(150_000_000)[:100_000]).status is Status.TOO_LARGE


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_pictures_of_no_pixels_are_failures(size: tuple[int, int]) -> None:
    gif = encoded(plain("P"), "GIF")
    frame = gif.index(b",") + 5
    bmp = encoded(plain(), "BMP")
    for data in (
        png(size, 8, 2, b""),
        gif[:6] + struct.pack("<HH", *size) + gif[10:frame] + struct.pack("<HH", *size)
        + gif[frame + 4 :],
        bmp[:18] + struct.pack("<ll", *size) + bmp[26:],
    ):  # fmt: skip
        assert failure(data).status is Status.DECODE_ERROR


def test_a_picture_for_which_there_is_no_memory_is_a_failure(tmp_path: Path) -> None:
    """Of 8000 x 8000, in a process that may have some 100 MB more than it has."""
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (8000, 8000)), "PNG"))
    program = (
        "import resource, sys; from annotate.images import ImageError, decode, load_parsers\n"
        "load_parsers(); data = open(sys.argv[1], 'rb').read()\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try: decode(data)\n"
        "except ImageError as error: print(error.status, error)"
    )
    if sys.platform != "linux":
        pytest.skip("limits the address space by what Linux says of it")
    for more in (100_000_000, 350_000_000):  # Pillow's copy does not fit, then that does alone
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "a.png"), str(more)],
            capture_output=True, text=True, cwd=ROOT, timeout=300,
        )  # fmt: skip
        assert done.stdout == "decode_error there is not enough memory to decode it\n", done.stderr
