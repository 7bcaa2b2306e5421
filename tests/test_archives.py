"""Archives: what is in them is read as if it lay in a folder, and nothing breaks a run."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from annotate import AnnotateError, open_input, resolve
from annotate.archives import entries
from annotate.records import Status
from tests.packing import (
    CENTRAL,
    FILES,
    add,
    archive_of,
    contents,
    make_tar,
    make_zip,
    patched,
    pax_header,
    read,
)

# What is in an archive --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.zip", "X.ZIP", "x.tar", "x.tar.gz", "x.tgz", "x.TGZ"])
def test_members_are_inputs_in_archive_order(tmp_path: Path, name: str) -> None:
    backwards = dict(reversed(FILES.items()))
    make = make_zip if name.lower().endswith("zip") else make_tar
    mode = {} if make is make_zip else {"mode": "w:gz" if "gz" in name.lower() else "w"}
    sources = read(make(tmp_path / name, backwards, **mode))
    assert contents(sources) == FILES
    assert [source.path for source in sources] == [f"{name}!/{n.decode()}" for n in backwards]
    for source in sources:
        assert (source.key, source.source, source.is_archive) == (7, str(tmp_path), False)
        assert source.size_bytes == len(source.data or b"")


def test_what_is_packed_is_seen_by_content_not_by_name(tmp_path: Path) -> None:
    packed = make_tar(tmp_path / "packed.tar", mode="w:gz")
    plain = make_tar(tmp_path / "plain.tar.gz", mode="w")
    assert contents(read(packed)) == contents(read(plain)) == FILES
    for path in (make_zip(tmp_path / "zip.tar"), make_tar(tmp_path / "tgz.zip", mode="w:gz")):
        assert contents(read(path)) == FILES
    assert contents(read(make_zip(tmp_path / "empty.tar", {}))) == {}


def test_times_are_those_of_the_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.png", (2024, 2, 29, 23, 59, 58)), b"")
        never = zipfile.ZipInfo("b.png")
        never.date_time = (1980, 0, 0, 0, 0, 0)
        archive.writestr(never, b"")
    leap_day = int(datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC).timestamp()) * 10**9
    assert [source.modified_ns for source in read(tmp_path / "x.zip")] == [leap_day, None]
    times = {
        "1.png": (1700000000, {}, 1700000000 * 10**9),
        "2.png": (0, {"mtime": "1234567890.123456789"}, 1234567890123456789),
        "3.png": (0, {"mtime": "-1.5"}, -1500000000),
        "4.png": (0, {"mtime": "1e999999999"}, None),
        "5.png": (0, {"mtime": "nan"}, None),
        "6.png": (0, {"mtime": "soon"}, None),
        "7.png": (2**60, {}, 2**63 - 1),
    }
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, (seconds, records, _) in times.items():
            if records:
                archive.fileobj.write(pax_header(records))
            add(archive, name.encode(), mtime=seconds)
    found = [source.modified_ns for source in read(tmp_path / "x.tar")]
    assert found == [expected for _, _, expected in times.values()]


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_the_rules_of_folders_hold_in_archives(tmp_path: Path, make: Callable[..., Path]) -> None:
    names = [
        b"a.png", b"./b.JPG", b"c.txt", b"d", b".hidden.png", b".cache/e.png", b"@eaDir/f.png",
        b"x.lrdata/y/g.png", b"__MACOSX/._a.png", b"skip/i.png", b"j.tif", b"in.zip", b"in/in.TGZ",
        b"../up.png", b"/etc/root.png", b"//double//slash.png", b"n" * 5000 + b".png",
    ]  # fmt: skip
    path = make(tmp_path / f"x{'.zip' if make is make_zip else '.tar'}", dict.fromkeys(names, b""))
    archive = archive_of(path, exclude=("skip", "*/slash.png"))
    assert list(contents(list(archive))) == [b"a.png", b"./b.JPG", b"../up.png", b"/etc/root.png"]
    assert archive.skipped == {
        "not an image": 3,
        "hidden": 2,
        "thumbnail or system folder": 3,
        "excluded": 2,
        "archive in an archive": 2,
        "name of over 4096 bytes": 1,
    }


def test_what_is_no_file_is_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            add(archive, b"x.png", type=kind, linkname="a.png")
        add(archive, b"a.png", b"data", type=tarfile.CONTTYPE)
        add(archive, b"hard.png", type=tarfile.LNKTYPE, linkname="a.png")
        add(archive, b"new.png", b"data", type=b"Z")  # unknown types are files: POSIX
    tar = archive_of(tmp_path / "x.tar")
    assert contents(list(tar)) == {
        b"a.png": b"data",
        b"hard.png": "unreadable: a hard link to another member of the archive, which has the"
        " bytes",
        b"new.png": b"data",
    }
    counted = {"folder entry of an archive": 1, "link in an archive": 1, "not a regular file": 2}
    assert tar.skipped == counted
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, mode in (("d.png/", 0o40755), ("l.png", 0o120777), ("f.png", 0o10644)):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.create_system = 3
            archive.writestr(info, b"")
    zipped = archive_of(tmp_path / "x.zip")
    assert list(zipped) == []
    assert zipped.skipped == counted | {"not a regular file": 1}


def test_members_that_are_not_decoded_are_not_read(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {b"a.NEF": b"raw", b"b.png": b"b"})
    raw, png = read(path, is_unread=lambda source: source.path.endswith(".NEF"))
    assert (raw.data, raw.size_bytes, raw.failure) == (b"", 3, None)
    assert png.data == b"b"


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_wanted_members_are_read_whatever_their_names_and_no_others(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    files = {b"a.png": b"1", b".b": b"2", b"c.txt": b"3"}
    path = make(tmp_path / f"x{'.zip' if make is make_zip else '.tar'}", files)
    wanted = dict.fromkeys([b"gone.png", b"c.txt", b".b"])
    archive = archive_of(path, wanted=wanted)
    assert archive.ahead == 3
    missing = "unreadable: the archive has no such member"
    assert contents(list(archive)) == {b".b": b"2", b"c.txt": b"3", b"gone.png": missing}
    path.write_bytes(b"no archive any more, and long enough to be read as a header" * 20)
    broken = contents(read(path, wanted=wanted))
    assert broken.keys() == wanted.keys()  # no row for the archive, one for each that was wanted
    assert all(str(said).startswith("decode_error: archive: ") for said in broken.values())
    path.unlink()
    gone = contents(read(path, wanted=wanted))
    assert set(gone.values()) == {"unreadable: archive: No such file or directory"}


def test_an_archive_tells_how_much_is_to_come(tmp_path: Path) -> None:
    files = {f"{i}.png".encode(): b"" for i in range(5)} | {b"notes.txt": b""}
    archive = archive_of(make_zip(tmp_path / "x.zip", files))
    assert [archive.ahead for _ in archive] == [4, 3, 2, 1, 0]
    assert archive.skipped == {"not an image": 1}  # counted once, though looked at twice


# Bombs ------------------------------------------------------------------------------------


def test_a_member_that_unpacks_to_more_than_may_be_held_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.archives.MAX_FILE_BYTES", 1000)
    files = {b"fits.png": bytes(1000), b"not.png": bytes(1001), b"last.png": b"x"}
    expected = {
        b"fits.png": bytes(1000),
        b"not.png": "too_large: 1001 bytes, the limit is 1000",
        b"last.png": b"x",
    }
    assert contents(read(make_zip(tmp_path / "x.zip", files))) == expected
    assert contents(read(make_tar(tmp_path / "x.tgz", files, "w:gz"))) == expected
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = make_zip(tmp_path / "x.zip", {b"a.png": bytes(50_000_000), b"b.png": b"x"}, method)
        path.write_bytes(patched(path.read_bytes(), CENTRAL, 0, 24, b"\x0a\x00\x00\x00"))
        tracemalloc.start()
        found = contents(read(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20e6  # 50 MB were never made
        assert found[b"b.png"] == b"x"
        assert str(found[b"a.png"]).startswith(("too_large: ", "decode_error: "))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """5 MB each from about 5 kB: the second is beyond 200 times the archive's size."""
    monkeypatch.setattr(entries, "BOMB_BYTES", 1_000_000)
    files = {f"{i}.png".encode(): bytes(5_000_000) for i in range(10)}
    make = make_zip if name == "x.zip" else make_tar
    path = make(tmp_path / name, files, **({} if make is make_zip else {"mode": "w:gz"}))
    fits = 200 * path.stat().st_size // 5_000_000
    assert 1 <= fits < 10
    found = contents(read(path))
    said = "too_large: {}unpacks to over 1000000 bytes and 200 times its own size: a bomb?"
    assert list(found)[-1] == b""
    assert found[b""] == said.format("archive: ")
    assert list(found.values()).count(bytes(5_000_000)) <= fits
    monkeypatch.setattr(entries, "BOMB_BYTES", 100_000_000)  # what is not large is no bomb
    assert contents(read(path)) == files


def test_entries_that_share_their_data_cannot_unpack_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 entries of the directory that all point at one member of 1 MB."""
    monkeypatch.setattr(entries, "BOMB_BYTES", 20_000_000)
    monkeypatch.setattr(entries, "BOMB_RATIO", 1)
    path = make_zip(tmp_path / "x.zip", {b"a.png": bytes(1_000_000)})
    data = path.read_bytes()
    start, end = data.index(CENTRAL), data.index(b"PK\x05\x06")
    record = data[start:end]
    many = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, 1000 * len(record), start, 0)
    path.write_bytes(data[:start] + record * 1000 + many)
    sources = read(path)
    assert [s.failure is None for s in sources] == [True] * 20 + [False] * 2
    assert sources[-1].path == "x.zip"


def test_extension_headers_are_held_only_up_to_a_megabyte(tmp_path: Path) -> None:
    for kind in (b"x", b"g", b"L", b"K"):
        header = tarfile.TarInfo("././@x")
        header.type, header.size = kind, 100_000_000
        with gzip.open(tmp_path / "x.tar.gz", "wb", 1) as file:
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            file.write(bytes(100_000_000))
        tracemalloc.start()
        (source,) = read(tmp_path / "x.tar.gz")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert source.failure is not None
        assert source.failure.error == (
            "archive: a header of 100000000 bytes, the limit is 1048576"
        )
        assert peak < 5e6


# Stopping and changing --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_an_archive_that_changes_while_it_is_read_says_so(tmp_path: Path, name: str) -> None:
    make = make_zip if name == "x.zip" else make_tar
    path = make(tmp_path / name, **({"mode": "w:gz"} if name.endswith("gz") else {}))
    sources = []
    for source in archive_of(path):
        sources.append(source)
        with path.open("ab") as file:
            file.write(b"\0")
    assert [s.failure.status if s.failure else None for s in sources][-1] is Status.CHANGED
    assert sources[-1].failure is not None
    assert sources[-1].failure.error == "archive: changed while it was read"


def test_an_archive_can_be_left_between_and_within_members(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        add(archive, b"a.png", b"1")
        add(archive, b"text", bytes(100_000_000))
        add(archive, b"b.png", b"2")
    asked = 0
    stop_at = 10**9

    def is_stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > stop_at

    inputs = iter(archive_of(path, is_stopped=is_stopped))
    assert next(inputs).data == b"1"
    stop_at = asked + 4  # within the text, which takes more than that
    assert list(inputs) == []
    assert asked == stop_at + 1


def test_a_tar_can_be_left_while_nothing_comes_out_of_it(tmp_path: Path) -> None:
    """Gzip files of nothing, one after the other: as many as there are, gzip unpacks at once."""
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(b"") * 100_000)
    asked = 0

    def is_stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    assert read(path, is_stopped=is_stopped) == []
    assert asked == 11


def test_a_zip_can_be_left_while_its_directory_is_counted(tmp_path: Path) -> None:
    files = {f"{i}.png".encode(): b"" for i in range(1000)}
    asked = 0

    def is_stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    assert read(make_zip(tmp_path / "x.zip", files), is_stopped=is_stopped) == []
    assert asked == 11


# Opening what a row is about --------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_open_input_gives_the_bytes_of_files_and_members(tmp_path: Path, name: str) -> None:
    pandas = pytest.importorskip("pandas")
    make = make_zip if name == "x.zip" else make_tar
    path = make(tmp_path / name, **({"mode": "w:gz"} if name.endswith("gz") else {}))
    for source in read(path):
        row = {"source": source.source, "path": source.path, "age": 5}
        with open_input(row) as stream:
            assert stream.read() == source.data
        assert resolve(row) == f"{path}!/{source.path.partition('!/')[2]}"
        frame = pandas.DataFrame([row])
        with open_input(frame.iloc[0]) as stream:
            assert stream.read() == source.data
    file = {"source": str(tmp_path), "path": name}
    assert resolve(file) == str(path)
    with open_input(file) as stream:
        assert stream.read() == path.read_bytes()


def test_members_of_one_name_are_told_apart_by_their_hash(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, b"a.png", b"old")
        add(archive, b"a.png", b"new")
    row = {"source": str(tmp_path), "path": "x.tar!/a.png"}
    assert open_input(row).read() == b"old"
    for data in (b"old", b"new"):
        assert open_input(row | {"sha256": hashlib.sha256(data).hexdigest()}).read() == data
    assert open_input(row | {"sha256": None}).read() == b"old"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"path": "gone.png"}, "cannot open .*gone.png.*: No such file"),
        ({"path": "gone.zip!/a.png"}, "cannot open .*gone.zip!/a.png.*: No such file"),
        ({"path": "x.zip!/gone.png"}, "cannot open .*the archive has no such member"),
        ({"path": "text.zip!/a.png"}, "cannot open .*cut short, or no zip"),
        ({"path": "nul\0.png"}, "cannot open .*null"),
        ({"path": "."}, "cannot open .*Is a directory"),
        ({"path": None}, "'path' is None: expected text"),
        ({"source": 5}, "'source' is 5: expected text"),
    ],
)
def test_what_cannot_be_opened_is_an_error_of_one_line(
    tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    make_zip(tmp_path / "x.zip")
    (tmp_path / "text.zip").write_text("no")
    with pytest.raises(AnnotateError, match=said) as caught:
        open_input({"source": str(tmp_path), "path": "x.zip"} | row)
    assert str(caught.value).isprintable()
    with pytest.raises(AnnotateError, match="no 'source'"):
        open_input({"path": "x"})
