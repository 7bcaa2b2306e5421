"""Hostile archives: names that lead elsewhere, archives in archives, headers without end, lies."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import open_input, read, resolve
from annotate.archives import entries
from annotate.records import Status
from annotate.selection import ScanOptions, Selection
from tests.conftest import Invoke
from tests.kinds import plain
from tests.packing import (
    CENTRAL,
    LOCAL,
    add,
    archive_of,
    contents,
    make_tar,
    make_zip,
    patched,
)
from tests.packing import (
    read as read_archive,
)
from tests.pictures import encoded
from tests.steps import limited_steps
from tests.trees import NAMES

# Names ------------------------------------------------------------------------------------

PLACES = [
    b"../../../etc/up.png",
    b"/etc/absolute.png",
    b"//server/share/x.png",
    b"a\\..\\..\\windows.png",
    b"C:\\x.png",
    b"a/../../b/../x.png",
    b"./here.png",
    b"~/home.png",
    b"a!/b.zip!/x.png",
    b"in\0side.png",
    b"/dev/stdin.png",
    b"trailing dot./x.png",
    b"CON.png",
]
"""Names that lead out of a folder into which an archive is unpacked, or into another archive."""


def zip_of(path: Path, names: Iterable[bytes], data: bytes) -> Path:
    """A zip by hand: zipfile ends names at a NUL, and turns some into others."""
    members, directory = b"", b""
    for name in names:
        facts = struct.pack(
            "<5H3L2H", 20, 0x800, 0, 0, 33, zip_crc(data), *[len(data)] * 2, len(name), 0
        )
        rest = struct.pack("<3H2L", 0, 0, 0, 0, len(members))
        directory += CENTRAL + struct.pack("<H", 20) + facts + rest + name
        members += LOCAL + facts + name + data
    count = len(list(names))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(members), 0)
    path.write_bytes(members + directory + end)
    return path


def zip_crc(data: bytes) -> int:
    return zlib.crc32(data)


def tar_of(path: Path, names: Iterable[bytes], data: bytes) -> Path:
    """A tar whose names stand in headers of pax, where they may hold any byte."""
    with path.open("wb") as file:
        for name in names:
            file.write(pax_path(name))
            header = tarfile.TarInfo("x")
            header.size = len(data)
            file.write(header.tobuf() + data + bytes(-len(data) % 512))
        file.write(bytes(1024))
    return path


def pax_path(name: bytes) -> bytes:
    """A header of pax that gives the next member its name."""
    record = b" path=" + name + b"\n"
    length = len(record) + 1
    while len(str(length)) + len(record) != length:
        length += 1
    return extension(str(length).encode() + record)


def extension(content: bytes) -> bytes:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(content)
    return header.tobuf() + content + bytes(-len(content) % 512)


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_names_of_members_are_never_paths(
    make: Callable[[Path, Iterable[bytes], bytes], Path],
    tmp_path: Path,
    invoke: Invoke,
    crop: list[str],
) -> None:
    """A row each, from whose name the member comes back, and not a byte written anywhere else."""
    names = [*PLACES, *NAMES]
    data = encoded(plain(), "PNG")
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    path = make(deep / ("x.zip" if make is zip_of else "x.tar"), names, data)
    for name in ("up.png", "windows.png"):  # what a path would lead to is something else
        (tmp_path / name).write_bytes(b"not the member")
    before = {p: (p.lstat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in tree(tmp_path)}
    for target in ("x.parquet", "x.csv", "x.jsonl"):
        code, out, err = invoke("run", str(path), "-o", str(tmp_path / target), *crop)
        assert (code, out) == (0, "")
        assert all(line.isprintable() for line in err.splitlines())
        rows = read(tmp_path / target).to_dict("records")
        assert [row["status"] for row in rows] == ["ok"] * len(names)
        for row, name in zip(rows, names, strict=True):
            assert os.fsencode(resolve(row)) == os.fsencode(path) + b"!/" + name
            assert open_input(row).read() == data
        (tmp_path / target).unlink()
    after = {p: (p.lstat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in tree(tmp_path)}
    del before[tmp_path], after[tmp_path]  # where the outputs came and went
    assert after == before


def tree(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


def test_links_in_a_tar_lead_nowhere(tmp_path: Path) -> None:
    """A link to a folder, and a member below it: unpacked, that would be outside."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, b"out", type=tarfile.SYMTYPE, linkname=str(tmp_path))
        add(archive, b"out/secret.png", b"own bytes")
        add(archive, b"link.png", type=tarfile.SYMTYPE, linkname=str(tmp_path / "secret.png"))
        add(archive, b"hard.png", type=tarfile.LNKTYPE, linkname="/etc/hostname")
        add(archive, b"device.png", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
    archive = archive_of(tmp_path / "x.tar")
    found = contents(list(archive))
    assert found.pop(b"out/secret.png") == b"own bytes"
    assert str(found.pop(b"hard.png")).startswith("unreadable: a hard link")
    assert found == {}
    assert archive.skipped == {"link in an archive": 2, "not a regular file": 1}


@given(
    st.lists(
        st.sampled_from(["a", "b.png", ".h", "..", ".", "", "@eaDir", "x.lrdata", ".lrdata", "...",
                         "n\nx", "@eaDir2", "Thumbnails", "\udcff", "$RECYCLE.BIN", "lost+found"]),
        min_size=1, max_size=6,
    ).filter(lambda parts: parts[-1] not in ("", ".", "..")),
    st.booleans(),
)  # fmt: skip
def test_names_are_judged_the_same_with_patterns_and_without(
    parts: list[str], has_defaults: bool
) -> None:
    """Without, by one expression for the whole name."""
    suffixes = frozenset([".png"])
    without = Selection(ScanOptions(suffixes, default_excludes=has_defaults))
    pattern = ("no name is like this",)
    with_one = Selection(ScanOptions(suffixes, exclude=pattern, default_excludes=has_defaults))
    name = os.fsencode("/".join(parts))
    assert without.why_not_member(name) == with_one.why_not_member(name)


# Archives in archives, and what only has such a name -----------------------------------------


def test_archives_in_archives_are_counted_and_never_opened(tmp_path: Path) -> None:
    """Ten levels that would unpack to 10^10 pictures."""
    inner = make_zip(tmp_path / "inner.zip", {b"a.png": bytes(1_000_000)}).read_bytes()
    for level in range(10):
        members = {b"%d.%s" % (i, b"zip" if i % 2 else b"tar.gz"): inner for i in range(10)}
        inner = make_zip(tmp_path / "inner.zip", members | {b"%d.png" % level: b"x"}).read_bytes()
    tracemalloc.start()
    archive = archive_of(tmp_path / "inner.zip")
    assert contents(list(archive)) == {b"9.png": b"x"}
    assert archive.skipped == {"archive in an archive": 10}
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz"])
def test_pictures_with_an_archive_s_name_are_one_row_each(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(plain(), "JPEG"))
    (source,) = read_archive(tmp_path / name)
    assert source.path == name
    assert source.failure is not None
    assert source.failure.status is Status.DECODE_ERROR


def test_what_is_a_picture_and_a_zip_is_the_zip_by_its_name(tmp_path: Path) -> None:
    """A zip may have something in front of it, as those have that unpack themselves."""
    make_zip(tmp_path / "x.zip", {b"a.png": b"1"})
    both = encoded(plain(), "JPEG") + (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(both)
    assert contents(read_archive(tmp_path / "x.zip")) == {b"a.png": b"1"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "nothing"])
def test_what_took_an_archive_s_place_is_one_row_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.zip"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    (source,) = read_archive(path)
    assert source.failure is not None
    assert source.failure.status is Status.UNREADABLE


# Headers and directories without end --------------------------------------------------------


def endless(kind: str) -> bytes:
    """Half a megabyte of a tar that is nothing but headers."""
    entry = tarfile.TarInfo("a.txt").tobuf()
    if kind == "members":
        return entry * 1000
    if kind == "pax":
        return extension(b"5 a=\n" * 100_000)
    if kind == "empty pax":
        return extension(b"") * 1000
    if kind == "long names":
        name = tarfile.TarInfo("././@LongLink")
        name.type, name.size = tarfile.GNUTYPE_LONGNAME, 500_000
        return name.tobuf() + b"a/" * 250_000 + bytes(-500_000 % 512)
    return (pax_path(b"a/" * 2000 + b"a.txt") + entry) * 100


@pytest.mark.parametrize("kind", ["members", "pax", "empty pax", "long names", "deep names"])
def test_headers_that_are_packed_count_more_than_they_are_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """20 MB of them in a file of some kilobytes, where 32 MB of headers' cost are allowed: one."""
    monkeypatch.setattr(entries, "BOMB_BYTES", 32_000_000)
    monkeypatch.setattr(entries, "BOMB_RATIO", 1)
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", 6) as file:
        for _ in range(40):
            file.write(endless(kind))
    (source,) = read_archive(path)
    assert source.failure is not None
    assert source.failure.status is Status.TOO_LARGE
    assert source.failure.error.endswith("a bomb?")


def test_headers_of_real_archives_cost_nothing_that_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pictures that cannot be packed any further, however many: 200 times their size."""
    monkeypatch.setattr(entries, "BOMB_BYTES", 0)
    noise = random.Random(1).randbytes
    files = {b"f/%05d.png" % i: noise(600) for i in range(2000)}
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = make_tar(tmp_path / "x.tar.gz", files, "w:gz", format=format)
        assert contents(read_archive(path)) == files


def test_a_plain_tar_is_as_long_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it is packed: all of its headers are read."""
    monkeypatch.setattr(entries, "BOMB_BYTES", 0)
    monkeypatch.setattr(entries, "BOMB_RATIO", 0)
    (tmp_path / "x.tar").write_bytes(endless("members") * 3 + bytes(1024))
    archive = archive_of(tmp_path / "x.tar")
    assert list(archive) == []
    assert archive.skipped == {"not an image": 3000}


def test_a_zip_whose_5000_entries_are_one_member(tmp_path: Path) -> None:
    """250 kB that claim to be 5,000 pictures: a row each, in no more memory than one takes."""
    path = zip_of(tmp_path / "x.zip", [b"a.png"], b"x" * 1000)
    data = path.read_bytes()
    start, end = data.index(CENTRAL), data.index(b"PK\5\6")
    record = data[start:end]
    count = 5_000
    size = count * len(record)
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    place = start + size
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    path.write_bytes(data[:start] + record * count + end_64 + locator + data[end:])
    tracemalloc.start()
    found = sum(source.data == b"x" * 1000 for source in archive_of(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == count
    assert peak < 2e6


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz"])
def test_a_name_without_an_end_in_a_gzip_header_takes_no_time(tmp_path: Path, name: str) -> None:
    """Gzip readers take it a byte at a time: half a second for a megabyte."""
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 5_000_000)
    with limited_steps(4_000_000):  # where all of it costs 130 million
        (source,) = read_archive(path)
    assert source.failure is not None
    assert source.failure.status is Status.DECODE_ERROR
    assert source.failure.error == "archive: damaged: a name of over 65536 bytes in its header"
    picture = encoded(plain(), "PNG")
    with gzip.open(path, "wb") as file:
        info = tarfile.TarInfo("a.png")
        info.size = len(picture)
        padded = picture.ljust(-(-len(picture) // 512) * 512, b"\0")
        file.write(info.tobuf() + padded + bytes(1024))
    packed = path.read_bytes()
    start = 10 + packed[10:].index(b"\0") + 1  # behind the name that gzip.open has put there
    path.write_bytes(packed[:10] + b"a" * 60_000 + b"\0" + packed[start:])
    assert [source.data for source in archive_of(path)] == [picture]


# Lies -------------------------------------------------------------------------------------


def test_a_zip_that_denies_its_entries_where_it_is_large_is_damaged(tmp_path: Path) -> None:
    """Else it would be an empty one, and three pictures would have no row."""
    path = zip_of(tmp_path / "x.zip", [b"a.png", b"b.png", b"c.png"], b"x")
    data = path.read_bytes()
    end = data.index(b"PK\5\6")
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 0, 0, 0, end)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    path.write_bytes(data[:end] + end_64 + locator + data[end:])
    (source,) = read_archive(path)
    assert source.failure is not None
    assert source.failure.error.endswith("it claims 3 entries, and 0 where it is large")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (b"77777777777\0", "too_large: 8589934591 bytes, the limit is 536870912"),
        (b"\x80" + bytes(3) + struct.pack(">Q", 2**62), f"too_large: {2**62} bytes, the limit is"),
        (b"\x80" + bytes(2) + b"\1" + bytes(8), "decode_error: archive: a member of "),
        (b"\xff" * 12, "decode_error: archive: a member of -1 bytes"),
        (b"-0000000001\0", "decode_error: archive: a member of -1 bytes"),
        (b"abcdefghijk\0", "decode_error: archive: a damaged header"),
    ],
)
def test_sizes_of_tars_that_cannot_be(tmp_path: Path, field: bytes, said: str) -> None:
    header = bytearray(tarfile.TarInfo("a.png").tobuf())
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(header + b"data".ljust(512, b"\0") + bytes(1024))
    found = [str(text) for text in contents(read_archive(tmp_path / "x.tar")).values()]
    assert any(text.startswith(said) for text in found), found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("claimed", [0, 5, 99, 101, 10**6])
def test_members_of_another_size_than_said_are_damaged(
    tmp_path: Path, method: int, claimed: int
) -> None:
    path = make_zip(tmp_path / "x.zip", {b"a.png": b"1" * 100, b"b.png": b"2"}, method)
    data = path.read_bytes()
    for signature, offset in ((LOCAL, 22), (CENTRAL, 24)):  # both say the same
        data = patched(data, signature, 0, offset, struct.pack("<L", claimed))
        if method == zipfile.ZIP_STORED:
            data = patched(data, signature, 0, offset - 4, struct.pack("<L", claimed))
    path.write_bytes(data)
    found = contents(read_archive(path))
    assert str(found[b"a.png"]).startswith("decode_error: damaged in the archive")
    assert found[b"b.png"] == b"2"


def test_a_zip_that_is_its_own_member_s_data(tmp_path: Path) -> None:
    """A member that spans the directory, which spans the member: bytes are bytes."""
    path = zip_of(tmp_path / "x.zip", [b"a.png", b"b.png"], b"1234")
    data = path.read_bytes()
    whole = struct.pack("<LLL", zip_crc(data), len(data), len(data))
    path.write_bytes(patched(data, CENTRAL, 0, 16, whole))
    found = contents(read_archive(path))
    assert str(found[b"a.png"]).startswith("decode_error: damaged in the archive")
    assert found[b"b.png"] == b"1234"


def test_an_archive_in_memory_is_never_larger_than_its_largest_member(tmp_path: Path) -> None:
    """10 members of 2 MB of zeros in 20 kB."""
    for make, name in ((make_zip, "x.zip"), (make_tar, "x.tar.gz")):
        options = {} if make is make_zip else {"mode": "w:gz"}
        path = make(
            tmp_path / name, {b"%d.png" % i: bytes(2_000_000) for i in range(10)}, **options
        )
        tracemalloc.start()
        for source in archive_of(path):
            assert source.data is not None
            del source
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12e6


def test_what_is_kept_of_a_member_is_bytes_alone(tmp_path: Path) -> None:
    """No name, comment or extra field is taken for text of another kind: rows come out of each."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a.png")
        info.comment = b"\x1b[2J" * 1000
        info.extra = struct.pack("<HH", 0x7075, 4) + b"\xff\xfe\0\0"
        archive.writestr(info, b"1")
        archive.comment = b"PK\1\2 \x1b]0;x\7" * 100
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    assert contents(read_archive(tmp_path / "x.zip")) == {b"a.png": b"1"}
