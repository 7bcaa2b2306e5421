"""Bombs in TIFF: limits to the number, each a little below what costs too much."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from annotate.bombs import BombError, check
from annotate.images import decode
from annotate.records import Status
from tests.pictures import failure, tiff

GRAY = [(258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
"""Tags of a gray picture: 8 bits a sample, black is 0, one sample a pixel."""

EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_BYTE = 3, 4, 5, 7, 6


def gray_tiff(*tags: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    return tiff(sorted([*GRAY, *tags]), body)


def body_at(tags: int) -> int:
    """Where the body of a gray_tiff with so many tags of its own starts."""
    return 14 + 12 * (len(GRAY) + tags)


def directory(*entries: tuple[int, int, int, int]) -> bytes:
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + bytes(4)


# EXIF, of whose numbers Pillow makes objects -----------------------------------------------


def with_exif(*entries: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    """A picture of 8 x 8 in one strip, and a directory of EXIF behind it."""
    start = body_at(7)
    pixels = bytes(range(64))
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (259, 3, 1, 1), (273, 4, 1, start), (278, 3, 1, 8)]
    tags += [(279, 4, 1, 64), (EXIF, LONG, 1, start + 64)]
    return gray_tiff(*tags, body=pixels + directory(*entries) + body)


@pytest.mark.parametrize(("count", "is_refused"), [(2**16, False), (2**16 + 1, True)])
def test_numbers_of_exif_are_counted(count: int, is_refused: bool) -> None:
    """Two tags together; a million fractions took eight seconds."""
    numbers = body_at(7) + 64 + 2 + 2 * 12 + 4
    exif = [(0x829A, RATIONAL, count - 10, numbers), (0x8827, SHORT, 10, numbers)]
    data = with_exif(*exif, body=struct.pack("<LL", 1, 3) * (count - 10))
    if is_refused:
        error = failure(data)
        assert str(error) == f"{count} numbers in the EXIF of a TIFF, the limit is 2**16"
    else:
        assert decode(data).pixels[1, 0].tolist() == [8, 8, 8]


def test_bytes_of_exif_may_be_as_many_as_there_are() -> None:
    """Notes of the maker, which Python keeps packed."""
    place = body_at(7) + 64 + 2 + 12 + 4
    data = with_exif((0x927C, UNDEFINED, 10**6, place), body=bytes(10**6))
    assert decode(data).pixels.shape == (8, 8, 3)
    with pytest.raises(BombError, match="1000000 numbers in the EXIF"):
        check(with_exif((0x927C, SIGNED_BYTE, 10**6, place), body=bytes(10**6)))


def test_directories_that_lead_to_themselves_and_to_each_other() -> None:
    start = body_at(7) + 64
    itself = with_exif((EXIF, LONG, 1, start), (INTEROPERABILITY, LONG, 1, start))
    second = start + 2 + 12 + 4
    each_other = with_exif(
        (INTEROPERABILITY, LONG, 1, second), body=directory((EXIF, LONG, 1, start))
    )
    for data in (itself, each_other):
        check(data)
        assert decode(data).pixels.shape == (8, 8, 3)


def test_directories_of_exif_that_lead_to_ever_more_are_refused() -> None:
    start = body_at(7) + 64
    size = 2 + 12 + 4
    more = b"".join(directory((EXIF, LONG, 1, start + size * (i + 2))) for i in range(20))
    with pytest.raises(BombError, match="more than 8 directories of EXIF"):
        check(with_exif((EXIF, LONG, 1, start + size), body=more))


def test_a_next_directory_that_is_the_same_one() -> None:
    """The chain of pages; only the first is read."""
    data = bytearray(with_exif())
    struct.pack_into("<L", data, 8 + 2 + 12 * 10, 8)
    assert decode(bytes(data)).pixels.shape == (8, 8, 3)


def test_a_big_endian_bigtiff_is_read_as_pillow_reads_it_too() -> None:
    """As one of 32 bits, whose directory may lie anywhere."""
    entries = struct.pack(">H", 1) + struct.pack(">HHLL", 273, LONG, 2**20 + 1, 0)
    data = b"MM\0+" + struct.pack(">L", 0x80000) + bytes(0x80000 - 8) + entries
    with pytest.raises(BombError, match="1048577 numbers under TIFF tag 273"):
        check(data)


def test_a_directory_of_more_entries_than_a_tiff_can_have_is_refused() -> None:
    """BigTIFF has 64 bits for their number; a claim that the file does not bear out is nothing."""
    head = b"II+\0" + struct.pack("<HHQ", 8, 0, 16)
    entry = struct.pack("<HHQQ", 1, 1, 1, 0)
    check(head + struct.pack("<Q", 2**63) + entry * 65_536)
    with pytest.raises(BombError, match="directory of 65537 entries"):
        check(head + struct.pack("<Q", 2**63) + entry * 65_537)


@pytest.mark.parametrize("kind", [RATIONAL, 10])
def test_fractions_under_a_tag_of_the_picture_are_counted_too(kind: int) -> None:
    """The resolution, say, of which Pillow asks as it opens a file: a million took four seconds."""
    check(tiff([(282, kind, 2**16, 0)]))
    with pytest.raises(BombError, match="65537 fractions under TIFF tag 282"):
        check(tiff([(282, kind, 2**16 + 1, 0)]))


# Strips and tiles -------------------------------------------------------------------------


def strips_in_one_place(count: int, claimed: int) -> bytes:
    """A packed picture of 1 x `count` pixels, each row the same strip of `claimed` bytes."""
    packed = zlib.compress(b"\x50").ljust(claimed, b"\0")
    start = body_at(7)
    tags = [(256, 4, 1, 1), (257, 4, 1, count), (259, 3, 1, 8), (273, 4, count, start)]
    tags += [(278, 4, 1, 1), (279, 4, count, start + 4 * count)]
    tags += [(305, 2, 1, 0)]
    places = struct.pack("<L", start + 8 * count) * count
    return gray_tiff(*tags, body=places + struct.pack("<L", claimed) * count + packed)


def test_strips_that_share_their_bytes_are_counted() -> None:
    """50 KB in each of 1,000 strips: nearly a thousand times the file is unpacked."""
    assert (decode(strips_in_one_place(50, 20)).pixels == 0x50).all()
    data = strips_in_one_place(1000, 50_000)
    error = failure(data)
    assert error.status is Status.DECODE_ERROR
    assert str(error) == (f"a TIFF of {len(data)} bytes in 1000 pieces of 50000000 bytes together")
    allowed = 16 * len(data) // 1000  # bytes a strip, of which there are 1,000
    for claimed, is_refused in ((allowed, False), (allowed + 1, True)):
        same = data.replace(struct.pack("<L", 50_000) * 1000, struct.pack("<L", claimed) * 1000)
        if is_refused:
            with pytest.raises(BombError, match="in 1000 pieces"):
                check(same)
        else:
            check(same)


def test_wrong_sizes_of_a_few_strips_are_left_to_the_decoder() -> None:
    """Some writers give 2^32 - 1, or the size of the whole picture."""
    start = body_at(7)
    tags = [(256, 4, 1, 64), (257, 4, 1, 64), (259, 3, 1, 1), (273, 4, 1, start), (278, 4, 1, 64)]
    tags += [(279, 4, 1, 2**32 - 1), (305, 2, 1, 0)]
    assert decode(gray_tiff(*tags, body=bytes(64 * 64))).pixels.shape == (64, 64, 3)


def test_strips_that_are_not_packed_and_all_lie_in_one_place() -> None:
    """Rows 0 to 98 and row 99, over and over: a thousand copies of the picture."""
    count, start = 2000, body_at(6)
    tags = [(256, 4, 1, 100), (257, 4, 1, 100), (259, 3, 1, 1), (273, 4, count, start)]
    tags += [(278, 4, 1, 99), (279, 4, 1, 10_000)]
    places = struct.pack("<L", start + 4 * count) * count
    error = failure(gray_tiff(*tags, body=places + bytes(10_000)))
    assert str(error) == "in pieces that are read more than 16 times"


def tiled(width: int, height: int, tile: tuple[int, int]) -> bytes:
    """A picture in one tile, all pixels 0x50; small in the file, whatever the tile."""
    packed = zlib.compress(b"\x50" * (tile[0] * tile[1]), 1)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 8), (322, 4, 1, tile[0])]
    tags += [(323, 4, 1, tile[1]), (324, 4, 1, body_at(7)), (325, 4, 1, len(packed))]
    return gray_tiff(*tags, body=packed)


def test_a_tile_may_be_larger_than_the_picture_but_not_by_far() -> None:
    """Of 16 x 16 pixels in a tile of 30,000 x 30,000 the decoder made 900 MB."""
    assert (decode(tiled(40, 30, (512, 512))).pixels == 0x50).all()
    check(tiled(16, 16, (4096, 4096)))
    error = failure(tiled(16, 16, (4112, 4096)))
    assert "a TIFF tile of 4112 x 4096 pixels" in str(error)
    check(tiled(6000, 3000, (6000, 3750)))
    with pytest.raises(BombError, match="tile of 6000 x 3760"):
        check(tiled(6000, 3000, (6000, 3760)))


def test_of_two_tags_of_one_name_the_first_counts_as_for_the_decoder() -> None:
    small, large = (322, 4, 1, 16), (322, 4, 1, 2**31)
    rest = [(256, 4, 1, 16), (257, 4, 1, 16)]
    height = (323, 4, 1, 16)
    check(tiff([*rest, small, large, height]))
    with pytest.raises(BombError, match="a TIFF tile of 2147483648 x 16 pixels"):
        check(tiff([*rest, large, small, height]))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_broken_is_no_bomb_or_is_one_and_nothing_else(seed: int) -> None:
    """Random directories: check returns, or refuses in words that are fit for a table."""
    rng = np.random.default_rng(seed)
    refusals: dict[bytes, str] = {}
    for _ in range(50):
        entries = rng.integers(0, 2**16, (int(rng.integers(0, 9)), 6), np.uint16)
        entries[:, 0] = rng.choice([256, 273, 279, 322, 323, 325, EXIF, GPS], len(entries))
        entries[:, 1] = rng.integers(0, 19, len(entries))
        packed = struct.pack("<H", len(entries)) + entries.tobytes()
        mark = [b"II*\0\x08\0\0\0", b"II+\0\x08\0\0\0\x10" + bytes(7)][int(rng.integers(2))]
        data = mark + packed + rng.bytes(200)
        try:
            check(data)
        except BombError as error:
            refusals[data] = str(error)
    assert 0 < len(refusals) < 50
    for data, text in refusals.items():
        assert "TIFF" in text
        assert str(failure(data)) == text
