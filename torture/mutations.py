"""Mutations: a whole file and a random generator in, a damaged file out.

What a mutation does depends on nothing but the generator's seed and the files of `seeds.py`, so
that one number says it all.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable
from random import Random

from torture.seeds import ARCHIVES, PICTURES, seeds

Mutation = Callable[[Random, bytes, str], bytes]
"""Of a generator, a file and its format."""

_HEADER_BYTES = 200
"""The start of a file, where most formats have their sizes, counts and offsets."""

_JPEG_SEGMENTS = (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xDB, 0xC4, 0xC0, 0xC2, 0xDA, 0xDD, 0xFE)
_PNG_CHUNKS = (b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"acTL", b"fcTL", b"fdAT", b"tRNS")
_RIFF_CHUNKS = (b"EXIF", b"ICCP", b"XMP ", b"ANIM", b"ANMF", b"ALPH", b"VP8X")


def mutated(seed: int) -> tuple[str, bytes]:
    """The format and the bytes of the file that a seed stands for."""
    random = Random(seed)
    files = seeds()
    kind = random.choice([kind for kind in (*PICTURES, *ARCHIVES) if kind in files])
    data = random.choice(files[kind])
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        data = random.choice(_MUTATIONS)(random, data, kind)
    if random.random() < 0.5:
        data = _REPAIRS.get(kind, _unrepaired)(data)
    return kind, data


def _place(random: Random, data: bytes) -> int:
    """Somewhere in a file; half of the time near its start."""
    end = len(data)
    if random.random() < 0.5:
        end = min(end, _HEADER_BYTES)
    return random.randrange(end) if end else 0


def _stretch(random: Random, data: bytes) -> tuple[int, int]:
    """From where to where; short stretches are as likely as long ones."""
    start = _place(random, data)
    length = int(2 ** random.uniform(0, max(1, len(data).bit_length())))
    return start, min(len(data), start + length)


def _garbage(random: Random, longest: int = 300) -> bytes:
    """Bytes that are random, all the same, text with a terminal's commands, or of some file."""
    length = random.randrange(longest)
    draw = random.randrange(5)
    if draw == 0:
        return random.randbytes(length)
    if draw == 1:
        return bytes([random.choice((0, 0xFF, 0x20, random.randrange(256)))]) * length
    if draw == 2:
        return ("\x1b[2J\r\n\u202e\0" * length).encode()[:length]
    file = random.choice(seeds()[random.choice(list(seeds()))])
    start = random.randrange(len(file))
    return file[start : start + length]


def _cut(random: Random, data: bytes, kind: str) -> bytes:
    return data[: _place(random, data)]


def _flip_bits(random: Random, data: bytes, kind: str) -> bytes:
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        if damaged:
            damaged[_place(random, data)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _overwrite(random: Random, data: bytes, kind: str) -> bytes:
    start, stop = _stretch(random, data)
    fill = random.choice((b"\0", b"\xff", b"\x7f", random.randbytes(1), random.randbytes(7)))
    run = (fill * (stop - start))[: stop - start]
    return data[:start] + run + data[stop:]


def _swap(random: Random, data: bytes, kind: str) -> bytes:
    places = sorted(_place(random, data) for _ in range(4))
    a, b, c, d = places
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _insert(random: Random, data: bytes, kind: str) -> bytes:
    place = _place(random, data)
    return data[:place] + _garbage(random) + data[place:]


def _remove(random: Random, data: bytes, kind: str) -> bytes:
    start, stop = _stretch(random, data)
    return data[:start] + data[stop:]


def _repeat(random: Random, data: bytes, kind: str) -> bytes:
    start, stop = _stretch(random, data)
    return data[:stop] + data[start:stop] * random.choice((1, 2, 30)) + data[stop:]


def _append(random: Random, data: bytes, kind: str) -> bytes:
    return data + _garbage(random, 2000)


def _change_number(random: Random, data: bytes, kind: str) -> bytes:
    """A size, count or offset that is 0, the largest, negative, or off by a little."""
    field = struct.Struct(random.choice("<>") + random.choice("BHHLLLQ"))
    if len(data) < field.size:
        return data
    place = min(_place(random, data), len(data) - field.size)
    (number,) = field.unpack_from(data, place)
    largest = 2 ** (8 * field.size) - 1
    half = largest // 2
    near = number + random.choice((-1, 1, 2, -8, 100))
    far = random.choice((0, 1, half, half + 1, largest - 1, largest, number * 2, len(data)))
    wanted = random.choice((near, far, far))
    return data[:place] + field.pack(wanted & largest) + data[place + field.size :]


def _digits(random: Random, data: bytes, kind: str) -> bytes:
    """A number that is written in digits, as in the headers of tars, and of pax in them."""
    found = list(re.finditer(rb"[0-7]{6,11}|\d+", data[:4096]))
    if not found:
        return _change_number(random, data, kind)
    match = random.choice(found)
    length = len(match[0])
    wanted = random.choice((b"0", b"7", b"9", b" ", b"-", b"\0", b"\x80", b"\xff")) * length
    return data[: match.start()] + wanted[:length] + data[match.end() :]


def _splice(random: Random, data: bytes, kind: str) -> bytes:
    """The start of one file and the end of another, of the same or of another format."""
    other_kind = kind if random.random() < 0.5 else random.choice(list(seeds()))
    other = random.choice(seeds()[other_kind])
    return data[: _place(random, data)] + other[_place(random, other) :]


def _metadata(random: Random, data: bytes, kind: str) -> bytes:
    """Garbage where EXIF, colour profiles and the like stand: in a whole segment of its own."""
    garbage = random.choice((b"", b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"MPF\0")) + _garbage(random)
    if random.random() < 0.5:
        garbage = random.choice((b"Exif\0\0", b"")) + _damaged_exif(random)
    if kind in ("JPEG", "MPO"):
        marker = random.choice(_JPEG_SEGMENTS)
        segment = struct.pack(">BBH", 0xFF, marker, len(garbage) + 2) + garbage
        return data[:2] + segment + data[2:]
    if kind == "PNG":
        body = random.choice(_PNG_CHUNKS) + garbage
        chunk = struct.pack(">L", len(garbage)) + body + struct.pack(">L", zlib.crc32(body))
        return data[:33] + chunk + data[33:]
    if kind == "WEBP":
        padded = garbage + b"\0" * (len(garbage) % 2)
        chunk = random.choice(_RIFF_CHUNKS) + struct.pack("<L", len(garbage)) + padded
        return _whole_riff(data + chunk)
    return _change_number(random, data, kind)


def _damaged_exif(random: Random) -> bytes:
    """A directory whose entries have any tags, types, counts and places."""
    tags = (0x0112, 0x8769, 0x8825, 0xA005, 0x9003, 0x9291, 0x011A, 0x0128, 0xB001, 0xB002, 0x927C)
    order = random.choice("<>")
    entries = [
        struct.pack(
            order + "HHLL", random.choice(tags), random.randrange(14),
            random.choice((0, 1, 2, 20, 65536, 2**32 - 1)),
            random.choice((0, 1, 6, 8, 26, 100, 2**31, 2**32 - 1)),
        )
        for _ in range(random.randrange(12))
    ]  # fmt: skip
    count = random.choice((len(entries), len(entries) + 1, 0xFFFF))
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return mark + struct.pack(order + "LH", 8, count) + b"".join(entries) + bytes(4)


_MUTATIONS: tuple[Mutation, ...] = (
    _cut,
    _flip_bits,
    _flip_bits,
    _overwrite,
    _swap,
    _insert,
    _remove,
    _repeat,
    _append,
    _change_number,
    _change_number,
    _change_number,
    _digits,
    _splice,
    _metadata,
)


# Checksums made right again, so that damage reaches what lies behind their check -----------


def _unrepaired(data: bytes) -> bytes:
    return data


def _whole_png(data: bytes) -> bytes:
    """With the right check sum behind each chunk."""
    repaired = bytearray(data)
    place = 8
    while place + 12 <= len(repaired):
        (length,) = struct.unpack_from(">L", repaired, place)
        stop = place + 8 + length
        if stop + 4 > len(repaired):
            break
        struct.pack_into(">L", repaired, stop, zlib.crc32(repaired[place + 4 : stop]))
        place = stop + 4
    return bytes(repaired)


def _whole_riff(data: bytes) -> bytes:
    """With the right size of the file in its header."""
    return data[:4] + struct.pack("<L", max(0, len(data) - 8)) + data[8:]


def _whole_tar(data: bytes) -> bytes:
    """With the right check sum in each header."""
    repaired = bytearray(data)
    for place in range(0, len(repaired) - 511, 512):
        if repaired[place + 257 : place + 262] == b"ustar":
            repaired[place + 148 : place + 156] = b" " * 8
            total = sum(repaired[place : place + 512])
            repaired[place + 148 : place + 156] = b"%06o\0 " % total
    return bytes(repaired)


def _repacked(data: bytes) -> bytes:
    """A damaged tar in a whole gzip file: of the bytes that still unpack, some are flipped."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        inside = unpacker.decompress(data, 10**6)
    except zlib.error:
        return data
    random = Random(zlib.crc32(data))
    inside = random.choice((_flip_bits, _change_number, _digits, _cut))(random, inside, "TAR")
    return gzip.compress(_whole_tar(inside), 1, mtime=0)


_REPAIRS = {"PNG": _whole_png, "WEBP": _whole_riff, "TAR": _whole_tar, "TAR.GZ": _repacked}
