"""Zips: every kind that tools write, and every way in which one can lie."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.records import Status
from tests.packing import (
    CENTRAL,
    FILES,
    LOCAL,
    archive_of,
    assert_as_the_standard_library,
    contents,
    make_tar,
    make_zip,
    patched,
    read,
)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_usual_compression_is_read(tmp_path: Path, method: int) -> None:
    noise = random.Random(1).randbytes(3_000_000)  # many rounds of reading and unpacking
    files = FILES | {b"noise.png": noise, b"flat.png": bytes(5_000_000), b"one.png": b"1"}
    assert contents(read(make_zip(tmp_path / "x.zip", files, method))) == files


class Unseekable(io.RawIOBase):
    """A stream as a pipe is: a zip that is written to it has its sizes behind each member."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += data
        return len(data)


@pytest.mark.parametrize("kind", ["streamed", "commented", "prepended", "appended", "64", "empty"])
def test_unusual_zips_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.zip"
    if kind == "streamed":
        stream = Unseekable()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in FILES.items():
                archive.writestr(name.decode(), data)
        path.write_bytes(stream.data)
    elif kind == "64":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in FILES.items():
                with archive.open(name.decode(), "w", force_zip64=True) as member:
                    member.write(data)
    elif kind == "empty":
        make_zip(path, {})
    else:
        make_zip(path)
        if kind == "commented":
            with zipfile.ZipFile(path, "a") as archive:
                archive.comment = b"PK\x05\x06 is not the end of this comment" * 100
        elif kind == "prepended":
            path.write_bytes(b"#!/bin/sh\n" * 99 + path.read_bytes())
        else:
            path.write_bytes(path.read_bytes() + b"\n")
    assert contents(read(path)) == ({} if kind == "empty" else FILES)


def test_a_zip_of_more_than_65535_members_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"{i:05d}.{'png' if i % 2 else 'txt'}"), b"")
    archive_read = archive_of(tmp_path / "x.zip")
    assert sum(1 for _ in archive_read) == 33_000
    assert archive_read.skipped == {"not an image": 33_000}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_memory_does_not_grow_with_the_number_of_members(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    """zipfile and tarfile take about 600 bytes a member, which would be 3 MB here."""
    files = {b"%05d.%s" % (i, b"png" if i % 2 else b"txt"): b"" for i in range(5_000)}
    path = make(tmp_path / f"x{'.zip' if make is make_zip else '.tar'}", files)
    archive = archive_of(path)
    tracemalloc.start()
    try:
        count = sum(1 for _ in archive)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 2_500
    assert peak < 1e6


def test_offsets_modulo_4_gib_are_understood(tmp_path: Path) -> None:
    """What macOS makes of a folder of over 4 GiB: no zip64, and offsets of 32 bits that wrap."""
    path = tmp_path / "x.zip"
    contents_of = {b"a.png": b"first", b"film.mp4": b"", b"b.png": b"second", b"c.png": b"third"}
    film = 9 * 2**30 + 12345
    directory = b""
    with path.open("wb") as file:
        for name, data in contents_of.items():
            offset, size, crc = file.tell() % 2**32, len(data), zlib.crc32(data)
            facts = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, crc, size, size, len(name), 0)
            file.write(LOCAL + facts + name + data)
            if name == b"film.mp4":
                file.seek(film, 1)  # a hole on disk
            rest = struct.pack("<3H2L", 0, 0, 0, 0, offset)
            directory += CENTRAL + struct.pack("<H", 20) + facts + rest + name
        start = file.tell() % 2**32
        end = (b"PK\x05\x06", 0, 0, 4, 4, len(directory), start, 0)
        file.write(directory + struct.pack("<4s4H2LH", *end))
    del contents_of[b"film.mp4"]
    archive = archive_of(path)
    assert contents(list(archive)) == contents_of
    assert archive.skipped == {"not an image": 1}


def test_times_that_have_a_time_zone_are_preferred(tmp_path: Path) -> None:
    """1234567890 is 2009-02-13 23:31:30 UTC; in Windows' ticks that is 128790414900000000."""
    unix = struct.pack("<HHBi", 0x5455, 5, 1, 1234567890)
    windows = struct.pack("<HHLHHQQQ", 10, 32, 0, 1, 24, 128790414900000001, 0, 0)
    without_mtime = struct.pack("<HHBi", 0x5455, 5, 2, 77)
    cut = struct.pack("<HHB", 0x5455, 5, 1)
    freak = struct.pack("<HHLHHQQQ", 10, 32, 0, 1, 24, 0, 0, 0)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number, extra in enumerate([unix, windows, unix + windows, without_mtime, cut, freak]):
            info = zipfile.ZipInfo(f"{number}.png", (2009, 2, 14, 8, 31, 30))  # in Tokyo
            info.extra = extra
            archive.writestr(info, b"")
    seconds = 1234567890 * 10**9
    local = seconds + 9 * 3600 * 10**9
    assert [source.modified_ns for source in read(tmp_path / "x.zip")] == [
        seconds, seconds + 100, seconds + 100, local, local, -(2**63)
    ]  # fmt: skip


def test_large_sizes_are_taken_from_the_extra_field() -> None:
    """The two ways that zip64 allows: all values, or only those that do not fit."""
    from annotate.archives.zips import _extra_fields, _large

    full = 0xFFFFFFFF
    field = struct.pack("<HHQQQ", 1, 24, 5 * 2**32, 6 * 2**32, 7 * 2**32)
    other = struct.pack("<HH4s", 0x5455, 4, b"time")
    large = _large(_extra_fields(other + field), full, full, full)
    assert large == (5 * 2**32, 6 * 2**32, 7 * 2**32)
    one = struct.pack("<HHQ", 1, 8, 9 * 2**32)
    assert _large(_extra_fields(one), 3, 4, full) == (3, 4, 9 * 2**32)
    assert _large(_extra_fields(one), full, full, 4) == (9 * 2**32, full, 4)
    for cut in range(len(one)):
        assert _large(_extra_fields(one[:cut]), 3, 4, full) == (3, 4, full)


@pytest.mark.parametrize(
    ("signature", "offset", "value", "said"),
    [
        (CENTRAL, 8, b"\x01", "unreadable: encrypted"),
        (CENTRAL, 10, b"\x63\x00", "decode_error: compressed by method 99"),
        (CENTRAL, 16, b"\x00\x01\x02\x03", "decode_error: damaged in the archive: its checksum"),
        (CENTRAL, 24, b"\x01\x00\x00\x00", "decode_error: damaged in the archive: its checksum"),
        (CENTRAL, 24, b"\xfe\xff\xff\x7f", "too_large: 2147483646 bytes, the limit is 536870912"),
        (CENTRAL, 20, b"\x03\x00\x00\x00", "decode_error: damaged in the archive: cut short"),
        (CENTRAL, 42, b"\x05\x00\x00\x00", "decode_error: not where the archive's directory says"),
        (CENTRAL, 42, b"\xfe\xff\xff\xff", "decode_error: not where the archive's directory says"),
        (LOCAL, 0, b"no", "decode_error: not where the archive's directory says"),
        (LOCAL, 35, b"\xff\xff\xff\xff", "decode_error: damaged in the archive: "),
    ],
)
def test_what_is_wrong_with_a_zip_s_member_is_that_member_s_failure(
    tmp_path: Path, signature: bytes, offset: int, value: bytes, said: str
) -> None:
    data = make_zip(tmp_path / "x.zip", {b"a.png": b"1" * 99, b"b.png": b"2" * 99, b"c.png": b"3"})
    data.write_bytes(patched(data.read_bytes(), signature, 1, offset, value))
    found = contents(read(data))
    assert found[b"a.png"] == b"1" * 99
    assert str(found[b"b.png"]).startswith(said)
    assert found[b"c.png"] == b"3"
    assert len(found) == 3


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (0, b"XX", "its directory is damaged"),
        (28, b"\xff\xff", "its directory is damaged"),
    ],
)
def test_a_damaged_directory_ends_the_zip_with_a_row(
    tmp_path: Path, offset: int, value: bytes, said: str
) -> None:
    path = make_zip(tmp_path / "x.zip")
    path.write_bytes(patched(path.read_bytes(), CENTRAL, 2, offset, value))
    found = contents(read(path))
    assert list(found) == [b"a.png", b"sub/b.jpg", b""]
    assert found[b""] == f"decode_error: archive: {said}"


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (8, b"\x05\x00\x05\x00", "decode_error: archive: its directory has 3 entries and claims 5"),
        (4, b"\1\0\0\0\1\0\3\0\0\0\0\x7f", "unreadable: archive: one part of a zip that was"),
        (16, b"\xf0\xff\xff\x7f", "decode_error: archive: its directory does not lie where"),
    ],
)
def test_an_end_record_that_lies_is_not_believed(
    tmp_path: Path, offset: int, value: bytes, said: str
) -> None:
    path = make_zip(tmp_path / "x.zip")
    path.write_bytes(patched(path.read_bytes(), b"PK\x05\x06", 0, offset, value))
    found = contents(read(path))
    assert str(found[b""]).startswith(said)
    assert len(found) in (1, 4)


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x05\x06", b"PK\x05\x06" * 50, bytes(100_000)])
def test_what_is_no_zip_is_one_row(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    (source,) = read(tmp_path / "x.zip")
    assert (source.path, source.size_bytes) == ("x.zip", 1)
    assert source.failure is not None
    assert source.failure.status in (Status.DECODE_ERROR, Status.UNREADABLE)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damaged_zips_give_what_zipfile_gives_and_never_other_bytes(
    tmp_path: Path, method: int
) -> None:
    """300 zips with a few bytes changed, each read by the standard library too."""
    rng = random.Random(method)
    whole = make_zip(tmp_path / "whole.zip", method=method).read_bytes()
    path = tmp_path / "x.zip"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(len(data))] = rng.choice([0, 0xFF, rng.randrange(256)])
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        assert_as_the_standard_library(read_by_zipfile(path), archive_of(path))


def read_by_zipfile(path: Path) -> dict[bytes, bytes]:
    """What the standard library makes of a zip's images, sound or not: only whole members."""
    found: dict[bytes, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
                is_image = name.endswith((b".png", b".jpg")) and not name.startswith(b".")
                if is_image and info.orig_filename == info.filename:
                    try:
                        found.setdefault(name, archive.read(info))
                    except Exception:
                        continue
    except Exception:
        return found
    return found
