"""Tars: every format, and every way in which one can break off."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.archives import tars
from annotate.records import Status
from tests.packing import (
    FILES,
    add,
    archive_of,
    assert_as_the_standard_library,
    contents,
    make_tar,
    patched,
    pax_header,
    read,
)

LONG = b"folder/" * 30 + b"x" * 100 + b".png"
ODD = {b"not utf-8 \xff.png": b"1", LONG: b"2", "ünï☃.png".encode(): b"3", b"new\nline.png": b"4"}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_is_read(tmp_path: Path, format: int) -> None:
    files = FILES | ODD
    if format == tarfile.USTAR_FORMAT:
        del files[LONG]
        files[b"f/" * 70 + b"ustar.png"] = b"its name is cut in two"
    path = make_tar(tmp_path / "x.tar", files, format=format)
    assert contents(read(path)) == files


def test_a_pax_header_is_about_the_next_member_alone_and_a_global_one_about_all(
    tmp_path: Path,
) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.fileobj.write(pax_header({"mtime": "5"}, tarfile.XGLTYPE))
        archive.fileobj.write(pax_header({"path": "other.png", "mtime": "7", "size": "3"}))
        add(archive, b"a.png", b"123")
        add(archive, b"b.png", b"4")
    sources = read(tmp_path / "x.tar")
    assert contents(sources) == {b"other.png": b"123", b"b.png": b"4"}
    assert [source.modified_ns for source in sources] == [7 * 10**9, 5 * 10**9]


@pytest.mark.parametrize(
    "record", [b"no length path=x\n", b"99 path=x\n", b"9 path=xyz", b"0 path=x\n", b"10 pathxyz\n",
               b"12 size=-100\n", b"14 size=\xc2\xb2\xc2\xb2\n"],
)  # fmt: skip
def test_a_damaged_pax_header_ends_the_tar_with_a_row(tmp_path: Path, record: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    member = tarfile.TarInfo("a.png").tobuf()
    data = header.tobuf() + record.ljust(512, b"\0") + member + bytes(1024)
    (tmp_path / "x.tar").write_bytes(data)
    (source,) = read(tmp_path / "x.tar")
    assert source.failure is not None
    assert source.failure.status is Status.DECODE_ERROR


def test_sparse_members_are_rows_that_say_so(tmp_path: Path) -> None:
    """The pax form, and GNU's old one with a map that goes on behind the header."""
    old = bytearray(tarfile.TarInfo("old.png").tobuf(tarfile.GNU_FORMAT))
    old[156:157] = tarfile.GNUTYPE_SPARSE
    old[124:136] = b"%011o\0" % 5
    old[482] = 1
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    more, last = bytearray(512), bytes(512)
    more[504] = 1
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.fileobj.write(old + more + last + b"12345".ljust(512, b"\0"))
        records = {"GNU.sparse.major": "1", "GNU.sparse.name": "real name.png"}
        archive.fileobj.write(pax_header(records))
        add(archive, b"./GNUSparseFile.1/x.png", b"map and data")
        add(archive, b"next.png", b"next")
    found = contents(read(tmp_path / "x.tar"))
    assert list(found) == [b"old.png", b"real name.png", b"next.png"]
    assert all("sparse" in str(found[name]) for name in (b"old.png", b"real name.png"))
    assert found[b"next.png"] == b"next"


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_a_tar_that_breaks_off_keeps_what_was_read(tmp_path: Path, name: str) -> None:
    """Cut everywhere: whole members are read, and a last row says that there was more."""
    noise = random.Random(1).randbytes
    files = {f"{i}.png".encode(): noise(700) for i in range(4)}
    whole = make_tar(tmp_path / "x.tar", files)
    data = whole.read_bytes()[: 4 * (512 + 1024) + 512]  # to the first block of zeros
    (tmp_path / name).write_bytes(data)
    assert contents(read(tmp_path / name)) == files
    packed = gzip.compress(data) if name.endswith("gz") else data
    for cut in range(1, len(packed) - 600 * name.endswith("gz"), 97):
        (tmp_path / name).write_bytes(packed[:cut])
        sources = read(tmp_path / name)
        assert sources[-1].path == name
        assert sources[-1].failure is not None
        assert sources[-1].failure.status is Status.DECODE_ERROR
        found = contents(sources)
        complete = [n for n in files if found.get(n) == files[n]]
        assert complete == list(files)[: len(complete)]
        rest = [n for n in found if n not in complete]
        assert len(rest) in (1, 2)  # the archive, and the member that is cut
        if not name.endswith("gz"):
            assert len(complete) == min(4, (cut + 324) // 1536)


def test_a_tar_that_is_damaged_in_the_middle_does_not_end_in_silence(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {b"a.png": b"1", b"b.png": b"2", b"c.png": b"3"})
    path.write_bytes(patched(path.read_bytes(), b"b.png", 0, 148, b"0000000\0"))
    found = contents(read(path))
    assert found == {
        b"a.png": b"1",
        b"": "decode_error: archive: a damaged header, or no tar at all",
    }


@pytest.mark.parametrize(
    "data", [b"", b"x", bytes(511), b"text " * 200, b"\x1f\x8b", b"\x1f\x8bxx"]
)
def test_what_is_no_tar_is_one_row(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    (source,) = read(tmp_path / "x.tar")
    assert source.failure is not None
    assert source.failure.status is Status.DECODE_ERROR


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_damaged_tars_give_what_tarfile_gives_before_the_damage(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A tar with a few bytes changed, read by the standard library too."""
    rng = random.Random(seed)
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    format = rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    files = {k: v for k, v in (FILES | ODD).items() if k != LONG or format != tarfile.USTAR_FORMAT}
    data = bytearray(make_tar(path, files, format=format).read_bytes()[:-9000])
    for _ in range(rng.choice([1, 1, 3])):
        data[rng.randrange(len(data))] = rng.choice([0, 0xFF, rng.randrange(256)])
    path.write_bytes(data)
    assert_as_the_standard_library(read_by_tarfile(path), archive_of(path))


def read_by_tarfile(path: Path) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    try:
        with tarfile.open(path, "r|") as archive:
            for info in archive:
                if info.isreg() and not info.issparse():
                    file = archive.extractfile(info)
                    name = info.name.encode("utf-8", "surrogateescape")
                    is_image = name.endswith((b".png", b".jpg")) and not name.startswith(b".")
                    if file is not None and is_image and b"/." not in name:
                        found.setdefault(name, file.read())
    except (tarfile.TarError, ValueError, OSError, EOFError, IndexError, TypeError):
        return found
    return found


def test_many_gzip_members_in_a_row_are_one_stream(tmp_path: Path) -> None:
    data = make_tar(tmp_path / "x.tar").read_bytes()
    pieces = [gzip.compress(data[i : i + 1000]) for i in range(0, len(data), 1000)]
    (tmp_path / "x.tar.gz").write_bytes(b"".join(pieces))
    assert contents(read(tmp_path / "x.tar.gz")) == FILES


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_tars_that_were_joined_are_all_read(tmp_path: Path, name: str) -> None:
    """As `cat a b` makes them; tar itself stops silently at the end of the first one."""
    pack = gzip.compress if name.endswith("gz") else bytes
    parts = [{b"a.png": b"1"}, {}, {b"b.png": b"2", b"c.png": b"3"}]
    tars_of_parts = [make_tar(tmp_path / "part.tar", part).read_bytes() for part in parts]
    (tmp_path / name).write_bytes(b"".join(pack(data) for data in tars_of_parts))
    assert contents(read(tmp_path / name)) == {b"a.png": b"1", b"b.png": b"2", b"c.png": b"3"}


def test_a_header_that_was_zeroed_does_not_end_a_tar_in_silence(tmp_path: Path) -> None:
    """As a lost sector does: to tarfile, that is the end."""
    path = make_tar(tmp_path / "x.tar", {b"a.png": b"1", b"b.png": b"2", b"c.png": b"3"})
    path.write_bytes(patched(path.read_bytes(), b"b.png", 0, 0, bytes(512)))
    assert set(read_by_tarfile(path)) == {b"a.png"}
    assert contents(read(path)) == {
        b"a.png": b"1",
        b"": "decode_error: archive: a damaged header, or no tar at all",
    }


def test_what_follows_the_end(tmp_path: Path) -> None:
    """Less than a block, padding of any length, and what gzip passes over, is nothing."""
    path = tmp_path / "x.tar"
    whole = make_tar(path).read_bytes()
    for data in (
        whole + b"\r\n",
        whole + bytes(3_000_000),
        gzip.compress(whole) + b"a signature",
        gzip.compress(whole) + bytes(5000),
    ):
        path.write_bytes(data)
        assert contents(read(path)) == FILES
    with path.open("wb") as file:  # a hole of 1 TB is not read to its end
        file.write(whole)
        file.truncate(2**40)
    assert contents(read(path)) == FILES


def test_a_gzip_file_whose_checksum_is_wrong_says_so(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar.gz", mode="w:gz")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # in the length, behind all members
    path.write_bytes(data)
    found = contents(read(path))
    assert str(found.pop(b"")).startswith("decode_error: archive: damaged: ")
    assert found == FILES


def test_times_in_gnu_headers_are_no_folder(tmp_path: Path) -> None:
    """`tar --listed-incremental` has them where ustar has the first part of a name."""
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    header[345:369] = b"15300321551\0" * 2
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(header + bytes(1024))
    assert contents(read(tmp_path / "x.tar")) == {b"a.png": b""}


def test_global_headers_of_any_number_take_no_memory(tmp_path: Path) -> None:
    """4 of them with 44,000 keywords each, all different, were 30 MB."""
    with gzip.open(tmp_path / "x.tar.gz", "wb", 1) as file:
        for number in range(4):
            records = b"".join(b"22 GNU.sparse.%03d%03x=\n" % (number, i) for i in range(4000))
            records += b"".join(b"17 %03d.%07x=x\n" % (number, i) for i in range(40_000))
            header = tarfile.TarInfo("x")
            header.type, header.size = tarfile.XGLTYPE, len(records)
            file.write(header.tobuf() + records + bytes(-len(records) % 512))
        file.write(tarfile.TarInfo("a.png").tobuf() + bytes(1024))
    tracemalloc.start()
    found = contents(read(tmp_path / "x.tar.gz"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "sparse" in str(found[b"a.png"])
    assert peak < 6e6


def test_a_large_plain_tar_is_skipped_through_not_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video of 2 GB, a hole on disk, costs nothing."""
    with (tmp_path / "x.tar").open("wb") as file:
        video, last = tarfile.TarInfo("video.mp4"), tarfile.TarInfo("a.png")
        video.size = 2 * 2**30
        file.write(video.tobuf())
        file.seek(video.size, os.SEEK_CUR)
        file.write(last.tobuf() + bytes(1024))
    seen: list[int] = []
    plain = tars._Member.pass_over

    def watched(member: Any) -> None:
        seen.append(member._left)
        plain(member)

    monkeypatch.setattr(tars._Member, "pass_over", watched)
    assert contents(read(tmp_path / "x.tar")) == {b"a.png": b""}
    assert seen == [2 * 2**30, 0]
