"""Bombs: files of a few megabytes that would cost minutes or gigabytes, and files that only look
like them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotate import bombs
from annotate.bombs import BombError, BoundedReader, check
from annotate.images import ImageError, decode
from annotate.records import Status
from tests.pictures import chunk, drawing, encoded, failure, segment, skip_if_absent, tiff
from tests.steps import limited_steps

EXIF, XMP, ICC, DQT, COMMENT = 0xE1, 0xE1, 0xE2, 0xDB, 0xFE
STEPS_PER_BYTE = 10
"""No file of this page may cost more; without the room, some took minutes."""


def jpeg_with(middle: bytes) -> bytes:
    data = encoded(drawing(), "JPEG")
    return data[:2] + middle + data[2:]


def png_with(middle: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    data = encoded(drawing(), "PNG")
    return data[:33] + middle + data[33:]


def gif_with(middle: bytes) -> bytes:
    """A GIF with more extensions before its picture."""
    data = encoded(drawing().convert("L"), "GIF")
    start = data.index(b",")
    return data[:start] + middle + data[start:]


def tiff_with(pieces: int) -> bytes:
    """A gray TIFF of 64 x 64 pixels in ever the same strip, `pieces` times."""
    entries = [
        (256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, pieces, 122), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, pieces, 122),
    ]  # fmt: skip
    return tiff(entries, struct.pack("<L", 8) * pieces)


def jpeg_whose_segments_hide(marker: bytes) -> bytes:
    """A JPEG with 700,000 segments of EXIF behind a marker that is said to end, or to hold them."""
    hidden = segment(EXIF, b"Exif\0\0aaaa") * 700_000
    data = encoded(drawing(), "JPEG")
    return data[:2] + marker + hidden + data[2:]


def jpeg_with_exif_without_resolution(size: int) -> bytes:
    """Behind no JFIF header, so that Pillow looks for the resolution: `size` / 8 fractions."""
    count = size // 8
    exif = tiff([(0x011A, 5, count, 38), (0x0128, 3, 1, 2)], struct.pack("<LL", 72, 1) * count)
    pieces = (exif[i : i + 60_000] for i in range(0, len(exif), 60_000))
    data = encoded(drawing(), "JPEG")
    return data[:2] + b"".join(segment(EXIF, b"Exif\0\0" + piece) for piece in pieces) + data[20:]


def bmp_of_runs(
    width: int, height: int, compression: int = 1, body: bytes = b"\1\1\0\0\0\1"
) -> bytes:
    """One pixel and an end of line, which fills up the row; colour i is (7, 255 - i, i)."""
    header = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, compression, 6, 0, 0, 0, 0)
    palette = b"".join(bytes([i, 255 - i, 7, 0]) for i in range(256))
    file = struct.pack("<2sLHHL", b"BM", 1078 + len(body), 0, 0, 1078)
    return file + header + palette + body


BOMBS: dict[str, Callable[[], bytes]] = {
    "EXIF in pieces": lambda: jpeg_with(segment(EXIF, b"Exif\0\0aaaa") * 700_000),
    "EXIF, long": lambda: jpeg_with(segment(EXIF, b"Exif\0\0" + bytes(60_000)) * 3000),
    "profile in pieces": lambda: jpeg_with(segment(ICC, b"ICC_PROFILE\0\1\1") * 500_000),
    "comments": lambda: jpeg_with(segment(COMMENT, b"") * 2_500_000),
    "fill bytes": lambda: jpeg_with(b"\xff" * 10_000_000),
    "EXIF behind an end": lambda: jpeg_whose_segments_hide(b"\xff\xd9"),
    "EXIF in an extension": lambda: jpeg_whose_segments_hide(b"\xff\xf0\xff\xff"),
    "EXIF in a reserved segment": lambda: jpeg_whose_segments_hide(b"\xff\xc8\xff\xff"),
    "fractions in EXIF": lambda: jpeg_with_exif_without_resolution(20_000_000),
    "runs of a BMP": lambda: bmp_of_runs(150_000_000, 1),
    "runs of a BMP, rows downwards": lambda: bmp_of_runs(12_000, -12_000, 2),
    "runs of a DIB": lambda: bmp_of_runs(12_000, 12_000)[14:],
    "PNG texts": lambda: png_with(chunk(b"tEXt", b"a\0b") * 600_000),
    "PNG chunks": lambda: png_with(chunk(b"prVt", b"") * 800_000),
    "GIF comments": lambda: gif_with(b"!\xfe\1a\0" * 2_000_000),
    "GIF comment": lambda: gif_with(b"!\xfe" + b"\1a" * 2_000_000 + b"\0"),
    "TIFF strips": lambda: tiff_with(2_000_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str) -> None:
    data = BOMBS[name]()
    with limited_steps(10_000 + STEPS_PER_BYTE * len(data)):
        error = failure(data)
    assert error.status is Status.DECODE_ERROR
    words = ("pieces", "segments", "numbers", "run-length")
    assert any(word in str(error) for word in words), str(error)


def test_what_a_bomb_unpacks_to_is_not_unpacked() -> None:
    """A colour profile of 200 MB, and pixels for a million times the picture."""
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000)))
    assert failure(png_with(profile)).status is Status.DECODE_ERROR
    data = encoded(drawing(), "PNG")
    start = data.index(b"IDAT") - 4
    pixels = chunk(b"IDAT", zlib.compress(bytes(200_000_000)))
    assert not decode(data[:start] + pixels + data[-12:]).pixels.any()


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt"])
def test_texts_of_a_png_are_unpacked_up_to_a_megabyte_each_and_64_together(kind: str) -> None:
    """A hundred of 900 kB, which are 90 kB on disk where they are packed."""
    text = b"a" * 900_000
    body = {
        "zTXt": b"a\0\0" + zlib.compress(text),
        "iTXt": b"a\0\1\0\0\0" + zlib.compress(text),
        "tEXt": b"a\0" + text,
    }[kind]
    assert decode(png_with(chunk(kind.encode(), body) * 10)).pixels.shape == (24, 40, 3)
    error = failure(png_with(chunk(kind.encode(), body) * 100))
    assert str(error).startswith("Too much memory used in text chunks")


def many_frames(kind: str) -> bytes:
    """A small picture and a million, or as many as a format has, frames that follow it."""
    first, blue = drawing(8, 8), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, kind, save_all=True, append_images=[blue], lossless=True)
    if kind == "GIF":
        second = data.index(b"!\xf9", data.index(b",") + 1)
        return data[:second] + data[second:-1] * 1_000_000 + b";"
    if kind == "WEBP":
        second = data.index(b"ANMF", data.index(b"ANMF") + 4)
        whole = data + data[second:] * 200_000
        return whole[:4] + struct.pack("<L", len(whole) - 8) + whole[8:]
    claim = chunk(b"acTL", struct.pack(">LL", 2**31 - 1, 0))
    start = data.index(b"acTL") - 4
    return data[:start] + claim + data[start + 20 :]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_alone_costs_anything(kind: str) -> None:
    skip_if_absent(kind)
    data = many_frames(kind)
    with limited_steps(10_000):
        pixels = decode(data).pixels
    assert pixels.shape == (8, 8, 3)
    assert pixels[0, -1, 0] > 150  # the drawing is red there, what follows is blue


def test_a_run_length_encoded_bmp_of_16_million_pixels_is_the_largest() -> None:
    two_rows = decode(bmp_of_runs(3, 2, body=bytes.fromhex("0305 0000 0109 0208 0001"))).pixels
    assert two_rows.tolist() == [
        [[7, 246, 9], [7, 247, 8], [7, 247, 8]],
        [[7, 250, 5]] * 3,
    ]
    check(bmp_of_runs(4096, 4096))
    check(bmp_of_runs(4096, -4096))
    check(bmp_of_runs(12_000, 12_000, 0))  # not encoded: as large as it says
    with pytest.raises(BombError, match="4097 x 4096 pixels"):
        check(bmp_of_runs(4097, 4096))


def progressive_with(scans: int) -> bytes:
    """A progressive JPEG whose second scan comes `scans` times more."""
    data = encoded(drawing(), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    start = data.index(b"\xff\xc4", first)  # the tables of the second scan
    end = data.index(b"\xff\xc4", data.index(b"\xff\xda", start))
    return data[:end] + data[start:end] * scans + data[end:]


def test_a_jpeg_of_many_scans_is_refused() -> None:
    """Pillow makes ten of one picture: 90 more are the most."""
    normal = encoded(drawing(), "JPEG", progressive=True)
    assert normal.count(b"\xff\xda") == 10
    check(normal)
    check(progressive_with(90))
    with pytest.raises(BombError, match="more than 100 JPEG scans"):
        check(progressive_with(91))


def test_what_looks_like_scans_and_is_none_does_not_count() -> None:
    """Thumbnails in EXIF, pictures behind the first (MPO), and films behind those of phones."""
    thumbnails = segment(EXIF, b"Exif\0\0" + encoded(drawing(), "JPEG") * 60)
    whole = jpeg_with(thumbnails)
    assert whole.count(b"\xff\xda") > 60
    progressive = encoded(drawing(), "JPEG", progressive=True)
    for data in (whole + whole, progressive * 20, progressive + b"\xff\xda" * 1000):
        assert np.abs(decode(data).pixels.astype(int) - np.asarray(drawing())).max() <= 30


def test_an_end_inside_a_segment_does_not_hide_scans() -> None:
    data = progressive_with(200)
    start = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    hidden = data[:start] + segment(COMMENT, b"\xff\xd9") + data[start:]
    with pytest.raises(BombError, match="scans"):
        check(hidden)


def test_large_metadata_of_real_cameras_pass() -> None:
    """A depth map of 30 MB as extended XMP, and EXIF in 100 segments."""
    xmp = segment(XMP, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000)) * 460
    exif = segment(EXIF, b"Exif\0\0" + bytes(65_000)) * 100
    for middle in (xmp, exif):
        assert decode(jpeg_with(middle)).pixels.shape == (24, 40, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", [1, 3, 4, 7])
def test_numbers_of_a_tiff_in_both_orders_and_sizes(order: str, big: bool, kind: int) -> None:
    """More than 2^20 are too many, but bytes (types 1 and 7) may be as many as there are."""

    def header(count: int) -> bytes:
        mark = {"<": b"II", ">": b"MM"}[order]
        if big:
            start = struct.pack(order + "HHHQ", 43, 8, 0, 16) + struct.pack(order + "Q", 1)
            return mark + start + struct.pack(order + "HHQQ", 273, kind, count, 0)
        start = struct.pack(order + "HL", 42, 8) + struct.pack(order + "H", 1)
        return mark + start + struct.pack(order + "HHLL", 273, kind, count, 0)

    check(header(2**20))
    if kind in (1, 7):
        check(header(2**20 + 1))
    else:
        with pytest.raises(BombError, match="1048577 numbers under TIFF tag 273"):
            check(header(2**20 + 1))


@given(st.sampled_from([b"\xff\xd8", b"\xff\xd8\xff", b"II*\0", b"MM\0+"]), st.binary())
def test_what_is_broken_is_left_to_the_decoder(start: bytes, rest: bytes) -> None:
    check(start + rest)
    with pytest.raises(ImageError):
        decode(start + rest)


def test_a_file_is_read_16_times_at_most() -> None:
    """What goes over a file again and again has many pieces in one place."""
    size = 2**20
    reader = BoundedReader(bytes(size))
    for _ in range(16):
        reader.seek(0)
        assert len(reader.read()) == size
    reader.seek(0)
    assert len(reader.read(16 * 2**16)) == 2**20  # beside the file one block of 64 KB, 16 times
    reader.seek(0)
    with pytest.raises(BombError, match="read more than 16 times"):
        reader.read(1)


def test_small_reads_are_counted_and_large_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bombs, "MAX_PIECES", 3)
    reader = BoundedReader(bytes(2**20))
    for _ in range(10):
        assert len(reader.read(2**16)) == 2**16
    for _ in range(3):
        assert reader.read(2**16 - 1)
    with pytest.raises(BombError, match="in more than 3 pieces"):
        reader.read(1)
