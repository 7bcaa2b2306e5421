"""Bombs in JPEG 2000 and AVIF: limits to the number, each a little below what costs too much."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotate.bombs import BombError, check
from annotate.images import decode
from annotate.records import Status
from tests.pictures import drawing, encoded, failure, skip_if_absent
from tests.steps import limited_steps

START, DATA, END = b"\xff\x4f", b"\xff\x93", b"\xff\xd9"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content) + 8) + kind + content


def full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]) + content)


# JPEG 2000 --------------------------------------------------------------------------------


def marker(code: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(content) + 2) + content


def size(
    width: int, height: int, tile: tuple[int, int] | None = None, components: int = 1
) -> bytes:
    """A SIZ segment."""
    fields = (0, width, height, 0, 0, *(tile or (width, height)), 0, 0, components)
    return marker(0x51, struct.pack(">H8LH", *fields) + b"\7\1\1" * components)


def style(
    levels: int = 0, block: int = 4, precincts: bytes = b"", layers: int = 1, code: int = 0x52
) -> bytes:
    """A COD segment, or a COC one for component 0. block: log2 of its side, less 2. precincts: a
    byte for each resolution, log2 of height and width in 4 bits each.
    """
    coding = struct.pack(">5B", levels, block, block, 0, 1) + precincts
    own = bytes([1 if precincts else 0])
    if code == 0x53:
        return marker(code, b"\0" + own + coding)
    return marker(code, own + struct.pack(">BHB", 0, layers, 0) + coding)


def quantised(levels: int) -> bytes:
    return marker(0x5C, b"\x40" * (3 * levels + 2))


def codestream(*header: bytes, tile_header: bytes = b"") -> bytes:
    """With one tile, of which there is not a packet."""
    part = tile_header + DATA
    tile = marker(0x90, struct.pack(">HLBB", 0, len(part) + 12, 0, 1)) + part
    return START + b"".join(header) + tile + END


def jp2(stream: bytes, width: int = 16, height: int = 16) -> bytes:
    """In a file, whose header says another size, and a box before it, which Pillow passes over."""
    header = box(b"ihdr", struct.pack(">LLH4B", height, width, 1, 7, 7, 0, 0))
    header += box(b"colr", b"\1\0\0" + struct.pack(">L", 17))
    boxes = box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", header) + box(b"xml ", b"<a/>")
    return b"\0\0\0\x0cjP  \r\n\x87\n" + boxes + box(b"jp2c", stream)


@pytest.mark.parametrize("components", [1, 4, 100])
def test_tiles_are_counted_with_their_components(components: int) -> None:
    """90 bytes asked for 820 MB, 475 for 7 GB."""
    most = 2**18 // (8 + components)
    allowed = codestream(size(most, 1, (1, 1), components), style(), quantised(0))
    refused = codestream(size(most + 1, 1, (1, 1), components), style(), quantised(0))
    check(allowed)
    check(jp2(allowed))
    for data in (refused, jp2(refused)):
        error = failure(data)
        assert error.status is Status.DECODE_ERROR
        if components <= 4 or data is not refused:  # Pillow knows of four where it looks itself
            said = f"{most + 1} tiles of a JPEG 2000 with {components} components"
            assert str(error) == said


@pytest.mark.parametrize(
    ("width", "height", "cut"),
    [
        # One precinct and one block for each pixel: 2 x 512 x 512 are 2^19.
        (512, 512, style(0, 4, b"\0")),
        # Blocks of 4 x 4 in one precinct: 2896 x 2896 / 16 are 524,176, and one.
        (2896, 2896, style(0, 0)),
        # At half the size and in three bands, each a quarter of the pixels, the same of both.
        (512, 512, style(1, 4, b"\0\x11")),
    ],
)
def test_precincts_and_code_blocks_are_counted(width: int, height: int, cut: bytes) -> None:
    """9 million pixels in precincts of one asked for 5 GB and ten seconds."""
    check(codestream(size(width, height), cut, quantised(1)))
    for data in (
        codestream(size(width, height + 8), cut, quantised(1)),
        codestream(size(width, height, components=2), cut, quantised(1)),
        codestream(size(width, 2 * height, (width, height)), cut, quantised(1)),
    ):
        with limited_steps(10_000):
            assert "precincts and code-blocks" in str(failure(data))


def test_a_large_picture_may_have_more_of_them() -> None:
    """One for 128 samples, as code-blocks of 16 x 16 need: 10,000 x 10,000 / 256, thrice."""
    check(codestream(size(10_000, 10_000), style(5, 2), quantised(5)))
    with pytest.raises(BombError, match="precincts and code-blocks"):
        check(codestream(size(10_000, 10_000), style(5, 1), quantised(5)))


@pytest.mark.parametrize("where", ["a component", "a tile", "a tile's component", "unknown marker"])
def test_how_parts_are_cut_is_looked_for_wherever_it_can_stand(where: str) -> None:
    header = [size(3000, 3000), style(5), quantised(5)]
    bad = style(0, 4, b"\0")
    bad_component = style(0, 4, b"\0", code=0x53)
    data = {
        "a component": codestream(*header, bad_component),
        "a tile": codestream(*header, tile_header=bad),
        "a tile's component": codestream(*header, tile_header=bad_component),
        # OpenJPEG takes no length behind a marker that it does not know.
        "unknown marker": codestream(*header, b"\xff\x30" + bad),
    }[where]
    check(codestream(*header))
    assert "precincts and code-blocks" in str(failure(data))


def test_a_second_part_of_a_tile_is_looked_at_too() -> None:
    header = START + size(3000, 3000) + style(5) + quantised(5)
    first = marker(0x90, struct.pack(">HLBB", 0, 14 + 1000, 0, 2)) + DATA + bytes(1000)
    part = style(0, 4, b"\0") + DATA
    second = marker(0x90, struct.pack(">HLBB", 0, 12 + len(part), 1, 2)) + part
    with pytest.raises(BombError, match="precincts"):
        check(header + first + second + END)
    check(header + first + END)


def test_layers_are_counted() -> None:
    """The decoder asks for a packet of each: 65,535 layers of 16 x 16 tiles took seconds."""
    tiles = (160, 160), (10, 10)
    most = 2**23 // 256  # one precinct a tile
    check(codestream(size(*tiles[0], tiles[1]), style(layers=most), quantised(0)))
    with pytest.raises(BombError, match="8388864 packets of a JPEG 2000 in 32769 layers"):
        check(codestream(size(*tiles[0], tiles[1]), style(layers=most + 1), quantised(0)))


def test_layers_count_whatever_part_says_them_first() -> None:
    """A component in 2^16 precincts, then 200 layers for all; or the other way round."""
    many, layered = style(0, 4, b"\0", code=0x53), style(layers=200)
    for order in ((many, layered), (layered, many)):
        with pytest.raises(BombError, match="13107200 packets of a JPEG 2000 in 200 layers"):
            check(codestream(size(256, 256), *order, quantised(0)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile_size": (64, 64)},
        {"codeblock_size": (16, 16), "precinct_size": (64, 64)},
        {"num_resolutions": 7, "quality_layers": [50, 20, 10, 0]},
        {"no_jp2": True, "progression": "RPCL"},
    ],
)
def test_what_programs_write_is_far_below(options: dict[str, Any]) -> None:
    skip_if_absent("JPEG2000")
    data = encoded(drawing(640, 480), "JPEG2000", irreversible=False, **options)
    check(data)
    assert decode(data).pixels.shape == (480, 640, 3)


def test_a_codestream_that_is_larger_than_its_file_says_is_not_decoded() -> None:
    skip_if_absent("JPEG2000")
    stream = encoded(Image.new("L", (3000, 2000)), "JPEG2000", no_jp2=True)
    assert failure(jp2(stream)).status is Status.DECODE_ERROR
    assert decode(jp2(stream, 3000, 2000)).pixels.shape == (2000, 3000, 3)


@given(st.binary(max_size=200))
def test_broken_headers_are_left_to_the_decoder(rest: bytes) -> None:
    """They are no bombs, and no pictures either."""
    for start in (START + b"\xff\x51", jp2(b"")[:-8], START + size(99, 99)):
        for segment in (b"", b"\xff\x52\0\x0c", b"\xff\x53\0\x0c"):
            check(start + segment + rest)
            assert failure(start + segment + rest).status is Status.DECODE_ERROR


def test_garbage_behind_an_unknown_marker_is_not_searched_for_ever() -> None:
    data = START + size(99, 99) + b"\xff\x30" + bytes(4_000_000)
    with pytest.raises(BombError, match="more than 1048576 segments"):
        check(data)


def test_boxes_without_end_are_refused() -> None:
    for data in (jp2(b"")[:-8], box(b"ftyp", b"avif\0\0\0\0avif")):
        check(data + box(b"free", b"") * 60_000)
        with pytest.raises(BombError, match="more than 65536 boxes"):
            check(data + box(b"free", b"") * 70_000)


# AVIF -------------------------------------------------------------------------------------


def with_exif_of(length: int) -> bytes:
    """EXIF of some more bytes, turned, so that Pillow takes it apart and writes it anew."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0xC000] = bytes(length)
    return encoded(drawing(), "AVIF", exif=exif)


def test_exif_of_an_avif_has_at_most_a_megabyte() -> None:
    """8 MB of fractions took a minute."""
    skip_if_absent("AVIF")
    assert decode(with_exif_of(2**20 - 200)).pixels.shape == (40, 24, 3)
    assert "bytes of EXIF in an AVIF, the limit is 2**20" in str(failure(with_exif_of(2**20)))


def media(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"avif\0\0\0\0avif") + full_box(b"meta", b"".join(boxes))


def items(*entries: tuple[int, bytes]) -> bytes:
    infe = [full_box(b"infe", struct.pack(">HH", n, 0) + kind + b"\0", 2) for n, kind in entries]
    return full_box(b"iinf", struct.pack(">H", len(infe)) + b"".join(infe))


def test_lengths_of_items_are_added_up_however_they_are_stored() -> None:
    exif = items((1, b"av01"), (2, b"Exif"))
    half = 2**19
    plain = struct.pack(">BBH", 0x44, 0, 2)
    other = struct.pack(">HHHLL", 1, 0, 1, 0, 2**30)  # the picture may be as long as it likes
    two = struct.pack(">HHHLLLL", 2, 0, 2, 0, half, 0, half + 1)
    fits = struct.pack(">HHHLLLL", 2, 0, 2, 0, half, 0, half)
    check(media(exif, full_box(b"iloc", plain + other + fits)))
    with pytest.raises(BombError, match="1048577 bytes of EXIF"):
        check(media(exif, full_box(b"iloc", plain + other + two)))
    wide = struct.pack(">BBL", 0x48, 0x81, 1) + struct.pack(">LHHQ", 2, 1, 0, 0)
    wide += struct.pack(">HBLQ", 1, 0, 0, 2**20 + 1)
    with pytest.raises(BombError, match="1048577 bytes of EXIF"):
        check(media(exif, full_box(b"iloc", wide, 2)))
    two_items = items((1, b"Exif"), (2, b"Exif"))
    lengths = b"".join(struct.pack(">HHHLL", item, 0, 1, 0, 10**6) for item in (1, 2))
    with pytest.raises(BombError, match="2000000 bytes of EXIF"):
        check(media(two_items, full_box(b"iloc", plain + lengths)))


def said_of(data: bytes) -> str:
    """Why a file is refused; nothing where it is not."""
    try:
        check(data)
    except BombError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("sizes", [0x0000, 0x4400, 0x0400, 0x4040])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_counts_that_the_file_does_not_bear_out_take_no_time(sizes: int, version: int) -> None:
    """65,535 items with 65,535 parts each, of fields that may have no bytes at all."""
    content = struct.pack(">H", sizes) + b"\xff" * 60_000
    data = media(items((0xFFFF, b"Exif")), full_box(b"iloc", content, version))
    with limited_steps(1_000_000):
        said = said_of(data)
    assert not said or "bytes of EXIF" in said


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_broken_boxes_are_left_to_the_decoder(first: bytes, second: bytes) -> None:
    data = media(full_box(b"iinf", first), full_box(b"iloc", second))
    assert not said_of(data) or "bytes of EXIF" in said_of(data)
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(data), formats=["AVIF"])
