"""JPEG 2000: pictures cut into so many tiles, precincts and code-blocks that the decoder needs
gigabytes to keep books of them. A file of 90 bytes can ask for a terabyte.

Source: ITU-T T.800, annex A (the codestream) and annex I (the boxes of JP2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from annotate.bombs.boxes import boxes
from annotate.bombs.errors import BombError

MAX_TILE_PARTS = 2**18
"""Tiles, each times its components and 8 more: the decoder keeps 13 kB of a tile with four, and
1.5 kB of each component. 150 million pixels in tiles of 128 x 128 have 100,000."""

MAX_CELLS = 2**19
"""Precincts and code-blocks of all tiles and components, or else one for 128 samples: the decoder
keeps half a kilobyte of each. Code-blocks of 32 x 32, which are small, have one for 700."""

MAX_PACKETS = 2**23
"""Precincts times layers: the decoder looks whether there is a packet of each, with or without
data. Usual are 1 to 20 layers, of 65,535 that there may be."""

_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_START = b"\xff\x4f\xff\x51"
_SIZE, _STYLE, _COMPONENT_STYLE, _TILE, _DATA, _END = 0x51, 0x52, 0x53, 0x90, 0x93, 0xD9
_KNOWN = frozenset(bytes.fromhex("50515253 55575859 5c5d5e5f 60616364 74757778 9093"))
"""Markers that OpenJPEG knows; behind others it looks for the next of these, 2 bytes at a time."""

MAX_SEGMENTS = 2**20
"""Segments of headers, and such steps."""

_OWN_PRECINCTS = 1

_SIZE_FIELDS = struct.Struct(">H8LH")  # after the length: capabilities, size, ..., components
_STYLE_FIELDS = struct.Struct(">5B")  # levels, code-block width and height, style, transform


@dataclass(frozen=True, slots=True)
class _Size:
    """Of a picture and of its tiles, in samples of its grid; how many components it has."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    tiles: int
    components: int


_Cut = tuple[int, int, int, int]
"""How a resolution of a component is cut: log2 of the width and height of a precinct, and of a
code-block."""


def accepts(data: bytes) -> bool:
    """Whether a file is taken for a JPEG 2000."""
    return data.startswith((_START, _SIGNATURE))


def check(data: bytes) -> None:
    """Look at the headers of each codestream. Raises BombError."""
    if data.startswith(_START):
        _check_codestream(data, 0)
        return
    for box in boxes(data):
        if box.kind == b"jp2c" and data.startswith(_START, box.start):
            _check_codestream(data, box.start)


def _check_codestream(data: bytes, start: int) -> None:
    size = None
    layers = precincts = 0
    for marker, place, length in _segments(data, start + 2):
        if marker == _SIZE and size is None:
            size = _size(data[place : place + length])
            if size is None:
                return
            parts = size.tiles * (8 + size.components)
            if parts > MAX_TILE_PARTS:
                raise BombError(
                    f"{size.tiles} tiles of a JPEG 2000 with {size.components} components"
                )
        elif size is not None and marker in (_STYLE, _COMPONENT_STYLE):
            if marker == _STYLE:
                layers = max(layers, int.from_bytes(data[place + 2 : place + 4]))
            # Each may be about one component of one tile: the worst is taken for all of them.
            precincts = max(precincts, _checked_precincts(size, _style(data, marker, place, size)))
            if precincts * layers > MAX_PACKETS:
                raise BombError(f"{precincts * layers} packets of a JPEG 2000 in {layers} layers")


def _checked_precincts(size: _Size, cuts: list[_Cut]) -> int:
    """The precincts of all tiles and components. Raises BombError."""
    precincts, blocks = _cells(size, cuts)
    times = size.tiles * size.components
    samples = size.width * size.height * size.components
    if (precincts + blocks) * times > max(MAX_CELLS, samples // 128):
        cells = (precincts + blocks) * times
        raise BombError(f"{cells} precincts and code-blocks of a JPEG 2000")
    return precincts * times


def _segments(data: bytes, place: int) -> Iterator[tuple[int, int, int]]:
    """The marker segments of the main header and of those of tiles: marker, where its content
    starts, and its length.
    """
    tile_at = tile_length = 0
    is_lost = False
    for _ in range(MAX_SEGMENTS):
        if place + 4 > len(data):
            return
        prefix, marker, length = struct.unpack_from(">BBH", data, place)
        if marker == _END or (prefix != 0xFF and not is_lost):
            return
        is_lost = prefix != 0xFF or marker not in _KNOWN
        if is_lost:
            place += 2
            continue
        if marker == _DATA:  # what follows is coded pixels, up to the next part of a tile
            if tile_length < 12:
                return
            place = max(place + 2, tile_at + tile_length)
            continue
        if marker == _TILE:
            if place + 12 > len(data):
                return
            tile_at = place
            (tile_length,) = struct.unpack_from(">L", data, place + 6)
        yield marker, place + 4, max(0, length - 2)
        place += 2 + max(2, length)
    raise BombError(f"more than {MAX_SEGMENTS} segments in the headers of a JPEG 2000")


def _size(content: bytes) -> _Size | None:
    """What a SIZ segment says, or None where that is no size: A.5.1."""
    if len(content) < _SIZE_FIELDS.size:
        return None
    _, right, bottom, left, top, wide, high, tiles_left, tiles_top, components = (
        _SIZE_FIELDS.unpack_from(content)
    )
    if right <= left or bottom <= top or not wide or not high:
        return None
    tiles = -(-(right - tiles_left) // wide) * -(-(bottom - tiles_top) // high)
    width, height = right - left, bottom - top
    return _Size(width, height, min(wide, width), min(high, height), max(0, tiles), components)


def _style(data: bytes, marker: int, place: int, size: _Size) -> list[_Cut]:
    """How the resolutions of a component are cut, the lowest first: A.6.1 and A.6.2."""
    if marker == _STYLE:
        own_at, place = place, place + 5
    else:
        own_at = place + (1 if size.components < 257 else 2)
        place = own_at + 1
    own_precincts = _OWN_PRECINCTS & int.from_bytes(data[own_at : own_at + 1])
    if place + _STYLE_FIELDS.size > len(data):
        return []
    levels, block_width, block_height, _, _ = _STYLE_FIELDS.unpack_from(data, place)
    place += _STYLE_FIELDS.size
    cuts = []
    for level in range(min(levels, 32) + 1):
        exponents = data[place + level : place + level + 1] if own_precincts else b"\xff"
        both = exponents[0] if exponents else 0xFF
        cuts.append((both & 15, both >> 4, (block_width & 15) + 2, (block_height & 15) + 2))
    return cuts


def _cells(size: _Size, cuts: list[_Cut]) -> tuple[int, int]:
    """Precincts and code-blocks of one component of a tile, in all bands. Source: B.6 and B.7."""
    all_precincts = all_blocks = 0
    for level, (precinct_width, precinct_height, block_width, block_height) in enumerate(cuts):
        halvings = len(cuts) - 1 - level
        width = _parts(size.tile_width, halvings)
        height = _parts(size.tile_height, halvings)
        bands, halved = (3, 1) if level else (1, 0)
        all_precincts += bands * _parts(width, precinct_width) * _parts(height, precinct_height)
        # A code-block lies in one precinct, of which each band has a half.
        across = _parts(_parts(width, halved), min(block_width, max(0, precinct_width - halved)))
        down = _parts(_parts(height, halved), min(block_height, max(0, precinct_height - halved)))
        all_blocks += bands * across * down
    return all_precincts, all_blocks


def _parts(length: int, exponent: int) -> int:
    """Of how many parts of 2**exponent a length is, the last of which may be shorter."""
    return -(-length >> exponent)
