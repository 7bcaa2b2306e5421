"""Listing: lists on stdin and tables, with any name, read as streams and never guessed at."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import AnnotateError
from annotate.listing import EMPTY_ENTRY, MISSING_VALUE, Entry, in_stream, in_table, on_stdin
from annotate.writers import neutralise


def listed(data: bytes, *, null: bool = False) -> list[Entry | str]:
    return list(in_stream(io.BytesIO(data), null_separated=null))


def paths(entries: list[Entry | str]) -> list[bytes]:
    return [entry.path for entry in entries if isinstance(entry, Entry)]


# Lists ------------------------------------------------------------------------------------


@given(
    names=st.lists(st.binary(max_size=300).map(lambda name: name.replace(b"\0", b"")), max_size=30),
    ends=st.booleans(),
)
def test_any_names_come_back_from_a_list_with_nuls(names: list[bytes], ends: bool) -> None:
    data = b"\0".join(names) + b"\0" * (ends and bool(names))
    expected = [Entry(name) if name else EMPTY_ENTRY for name in names]
    if not ends and names and not names[-1]:
        expected.pop()  # nothing stands behind the last NUL
    assert listed(data, null=True) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b" a \n-o\n[b].png\n*\n~\n", [b" a ", b"-o", b"[b].png", b"*", b"~"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"\xff\xfe\n", [b"\xff\xfe"]),
    ],
)
def test_lines(data: bytes, expected: list[bytes]) -> None:
    assert paths(listed(data)) == expected


def test_empty_entries_are_counted() -> None:
    assert listed(b"\na\n\n\r\nb\n") == [
        EMPTY_ENTRY, Entry(b"a"), EMPTY_ENTRY, EMPTY_ENTRY, Entry(b"b")
    ]  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names")
def test_a_carriage_return_that_belongs_to_a_name_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mac\r").touch()
    assert paths(listed(b"mac\r\ndos\r\n")) == [b"mac\r", b"dos"]
    assert paths(listed(b"dos\r\0", null=True)) == [b"dos\r"]


def test_what_is_no_list_is_said_before_it_fills_memory() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return b"x" * size

    for null, said in ((False, "a path on each line"), (True, "a NUL after each path")):
        with pytest.raises(AnnotateError, match=said):
            list(in_stream(Endless(), null_separated=null))  # type: ignore[arg-type]


def test_a_list_that_cannot_be_read_is_an_error() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(AnnotateError, match="Input/output error"):
        list(in_stream(Broken(), null_separated=False))  # type: ignore[arg-type]


@pytest.mark.parametrize("stdin", [None, io.StringIO("a.png")])
def test_a_stdin_without_bytes_is_an_error(monkeypatch: pytest.MonkeyPatch, stdin: Any) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(AnnotateError, match="no list on stdin"):
        on_stdin(null_separated=False)


def test_lists_are_read_as_streams() -> None:
    """20 MB of names, of which a few 64 kB are held."""
    data = io.BytesIO(b"".join(b"folder/IMG_%010d.jpg\n" % i for i in range(700_000)))
    tracemalloc.start()
    count = sum(1 for _ in in_stream(data, null_separated=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 700_000
    assert peak < 1e6


# Tables -----------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"path": "a.png", "age": 1},
    {"path": None, "age": 2},
    {"path": "sub/b é.png", "age": None},
]
EXPECTED = [Entry(b"a.png"), MISSING_VALUE, Entry("sub/b é.png".encode())]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A table in the format of its suffix, by the libraries that people use."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == "":
        path.mkdir()
        pq.write_table(pa.Table.from_pylist(rows[:1]), path / "part-00000.parquet")
        pq.write_table(pa.Table.from_pylist(rows[1:]), path / "part-00001.parquet")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


FORMATS = ["t.csv", "t.jsonl", "t.ndjson", "t.parquet", "t.anything", "folder"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_table(tmp_path: Path, name: str) -> None:
    table = write(tmp_path / name, ROWS)
    assert list(in_table(table, "path")) == EXPECTED


@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_column_lists_those_that_are_there(tmp_path: Path, name: str) -> None:
    table = write(tmp_path / name, ROWS)
    with pytest.raises(AnnotateError, match=r"no column 'file': its columns are path, age;"):
        list(in_table(table, "file"))


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_column_of_numbers_is_no_column_of_paths(tmp_path: Path, name: str) -> None:
    table = write(tmp_path / name, ROWS)
    with pytest.raises(AnnotateError, match="row 1: age is 1, expected a path"):
        list(in_table(table, "age"))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
)
def test_every_kind_of_text_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    array = pa.array(["a", None, "é"]).cast(pa.string())
    column = array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)
    pq.write_table(pa.table({"file": column}), tmp_path / "t.parquet")
    entries = list(in_table(tmp_path / "t.parquet", "file"))
    assert entries == [Entry(b"a"), MISSING_VALUE, Entry("é".encode())]


def test_bytes_that_are_not_utf_8_are_paths_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpath , n\n\xff.png,1\n")
    assert list(in_table(tmp_path / "t.csv", "path")) == [Entry(b"\xff.png")]
    (tmp_path / "t.jsonl").write_text('{"path": "\\udcff.png"}\n{"path": "\\ud800"}\n')
    assert paths(list(in_table(tmp_path / "t.jsonl", "path"))) == [b"\xff.png", b"\xed\xa0\x80"]
    pq.write_table(pa.table({"path": [b"\xff.png"]}), tmp_path / "t.parquet")
    assert list(in_table(tmp_path / "t.parquet", "path")) == [Entry(b"\xff.png")]


def test_relative_paths_are_those_of_the_current_folder_then_of_the_table_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    for name in ("here/both.png", "there/both.png", "there/only.png", "there/x.zip"):
        (tmp_path / name).touch()
    rows = [{"path": p} for p in ("both.png", "only.png", "none.png", "x.zip!/a.png")]
    table = write(tmp_path / "there/t.csv", rows)
    monkeypatch.chdir(tmp_path / "here")
    there = os.fsencode(tmp_path / "there")
    assert paths(list(in_table(table, "path"))) == [
        b"both.png", there + b"/only.png", b"none.png", there + b"/x.zip!/a.png"
    ]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_an_output_keep_their_source_and_their_path(tmp_path: Path, name: str) -> None:
    rows = [
        {"source": "/in", "path": "a.png"},
        {"source": "/in", "path": "x.zip!/b\\x21/\\xff.png"},
        {"source": "/in\\\\", "path": "=cmd.png"},
        {"source": "flickr", "path": "c\\\\.png"},
        {"source": None, "path": "d.png"},
    ]
    if name == "t.csv":
        rows = [{k: v and neutralise(v) for k, v in row.items()} for row in rows]
    table = write(tmp_path / name, rows)
    assert list(in_table(table, "path")) == [
        Entry(b"a.png", b"/in"),
        Entry(b"x.zip", b"/in", b"b!/\xff.png"),
        Entry(b"=cmd.png", b"/in\\"),
        Entry(b"c\\\\.png"),  # of somebody else's table: taken as it is
        Entry(b"d.png"),
    ]


def test_another_column_is_nothing_of_ours(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [{"source": "/in", "path": "a", "file": "b\\x41"}])
    assert list(in_table(table, "file")) == [Entry(b"b\\x41")]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.csv", b"", "its columns are none"),
        ("t.csv", b"\0\1\2\xff", "has no column 'path'"),
        ("t.csv", b'path\n"a', "unexpected end of data"),
        ("t.csv", b"path,path\na,b\n", "two columns 'path'"),
        ("t.csv", b"path\n" + b"x" * 200_000, "field larger than field limit"),
        ("t.parquet", b"PAR1" + b"x" * 100, "cannot read the table"),
        ("t.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("t.jsonl", b'{"path": "a"}\n\n{"path"\n', "cannot read the table"),
        ("t.jsonl", b"\xff\xff\n", "cannot read the table"),
        ("t.jsonl", b"[" * 100_000, "cannot read the table"),
    ],
)
def test_what_is_no_table_is_an_error_of_one_line(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AnnotateError, match=said) as caught:
        list(in_table(tmp_path / name, "path"))
    assert str(caught.value).isprintable()


def test_tables_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    with pytest.raises(AnnotateError, match="no table at"):
        list(in_table(tmp_path / "gone.csv", "path"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.csv")
        with pytest.raises(AnnotateError, match="no regular file at"):
            list(in_table(tmp_path / "fifo.csv", "path"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotateError, match=r"no column 'path'|cannot read"):
        list(in_table(tmp_path / "empty", "path"))


def test_tables_are_read_as_streams(tmp_path: Path) -> None:
    rows = 30_000
    (tmp_path / "t.csv").write_text("path\n" + "folder/IMG_0123456789.jpg\n" * rows)
    text = '{"path": "folder/IMG_0123456789.jpg"}\n'
    (tmp_path / "t.jsonl").write_text(text * rows)
    for name in ("t.csv", "t.jsonl"):
        entries = in_table(tmp_path / name, "path")
        next(entries)
        tracemalloc.start()
        count = sum(1 for _ in entries)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == rows - 1
        assert peak < 1e6
