"""Writers: formats, neutral CSV cells, and an output that is there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotate import AnnotateError, writers
from annotate.readers import read_table
from annotate.records import COLUMNS
from annotate.rows import schema
from annotate.targets import check_target
from annotate.writers import neutralise, open_output, restore, write_parquet

TARGETS = ["x.parquet", "x.csv", "x.jsonl", "folder"]


def batch(**columns: list[object]) -> pa.RecordBatch:
    """Rows of which only some columns matter."""
    count = len(next(iter(columns.values())))
    arrays = []
    for field in schema():
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        arrays.append(pa.array(columns.get(field.name, [None] * count), kind).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema({"a": 1}))


def write(target: Path | str, *batches: pa.RecordBatch, overwrite: bool = False) -> None:
    with open_output(str(target), schema({"a": 1}), overwrite=overwrite) as writer:
        for each in batches:
            writer.write(each)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# An output appears whole or not at all ----------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_the_target_is_missing_until_the_end_and_nothing_else_is_left(
    tmp_path: Path, name: str
) -> None:
    with open_output(str(tmp_path / name), schema()) as writer:
        assert names(tmp_path) == [f".{name}.annotate"]
        writer.write(batch(path=["a", "b"]))
        assert names(tmp_path) == [f".{name}.annotate"]
    assert names(tmp_path) == [name]
    assert read_table(tmp_path / name).column("path").to_pylist() == ["a", "b"]


def fail_halfway(target: Path, error: type[BaseException]) -> None:
    with open_output(str(target), schema(), overwrite=True) as writer:
        writer.write(batch(path=["new"]))
        raise error


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_middle_leaves_nothing(
    tmp_path: Path, name: str, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        fail_halfway(tmp_path / name, error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", TARGETS)
def test_an_exception_in_the_middle_keeps_what_was_there(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, batch(path=["old"]))
    with pytest.raises(ZeroDivisionError):
        fail_halfway(tmp_path / name, ZeroDivisionError)
    assert names(tmp_path) == [name]
    assert read_table(tmp_path / name).column("path").to_pylist() == ["old"]


@pytest.mark.parametrize("name", TARGETS)
def test_an_existing_output_is_kept_unless_told_otherwise(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, batch(path=["old"]))
    with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
        write(tmp_path / name, batch(path=["new"]))
    assert read_table(tmp_path / name).column("path").to_pylist() == ["old"]
    write(tmp_path / name, batch(path=["new"]), overwrite=True)
    assert read_table(tmp_path / name).column("path").to_pylist() == ["new"]
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path, name: str) -> None:
    left = tmp_path / f".{name}.annotate" / name
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    write(tmp_path / name, batch(path=["a"]))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("batches", [0, 1, 2])
def test_no_rows_are_an_output_too(tmp_path: Path, name: str, batches: int) -> None:
    write(tmp_path / name, *[batch(path=[])] * batches)
    table = read_table(tmp_path / name)
    assert table.num_rows == 0
    assert table.schema.names == [column.name for column in COLUMNS]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("name", TARGETS)
def test_permissions_follow_the_umask(tmp_path: Path, name: str) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / name, batch(path=["a"]))
    finally:
        os.umask(before)
    made = [tmp_path / name, *(tmp_path / name).glob("*")]
    expected = {True: 0o750, False: 0o640}
    assert all(stat.S_IMODE(p.stat().st_mode) == expected[p.is_dir()] for p in made)


def test_folders_that_may_not_be_written_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    long = "x" * 300
    for target in (
        "no/x.csv",
        "file/x.csv",
        f"{long}.csv",
        f"{long}.txt",
        f"{long}/x.csv",
        long,
        "",
    ):
        with pytest.raises(AnnotateError) as caught:
            write(str(tmp_path / target) if target else "", batch(path=["a"]))
        assert str(caught.value).isprintable()
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["x.txt", "x.xlsx", "x.parquet.gz", "x.json"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AnnotateError, match=r"expected \.parquet, \.csv, \.jsonl, a folder"):
        check_target(str(tmp_path / name), overwrite=True)


@pytest.mark.parametrize(
    "content",
    [
        ["letter.txt"],
        ["part-time.docx"],
        ["part-00000.parquet", "notes.txt"],
        [".git/config"],
        ["part-00000.parquet", ".git/config"],
        ["sub/part-00000.parquet"],
        [".hidden"],
    ],
)
def test_a_foreign_folder_is_never_replaced(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(AnnotateError, match="holds other files than a data set"):
        write(tmp_path / "out", batch(path=["a"]), overwrite=True)
    assert all((tmp_path / "out" / name).read_text() == "mine" for name in content)
    assert names(tmp_path) == ["out"]


def test_an_empty_folder_and_a_data_set_with_hidden_files_are_ours(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", batch(path=["a"]))
    (tmp_path / "out" / "_SUCCESS").touch()
    (tmp_path / "out" / ".DS_Store").touch()
    write(f"{tmp_path}/out/", batch(path=["b"]), overwrite=True)
    assert names(tmp_path / "out") == ["part-00000.parquet"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of POSIX")
@pytest.mark.parametrize("name", TARGETS)
def test_a_full_disk_is_an_error_of_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """A limit on the size of files stands for the full disk; in a process of its own."""
    import resource
    import signal

    rows = batch(path=[os.urandom(500).hex() for _ in range(500)])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            write(tmp_path / name, rows, rows)
        except AnnotateError as error:
            code = 0 if str(error).isprintable() and "File too large" in str(error) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert names(tmp_path) == []


# Folders and row groups -------------------------------------------------------------------


def test_parts_of_a_folder_hold_whole_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PART_ROWS", 5)
    batches = [
        batch(path=[f"{i}{j}" for j in range(3)], gender=["male", "female", None]) for i in range(5)
    ]
    write(tmp_path / "out", *batches)
    assert names(tmp_path / "out") == [f"part-0000{i}.parquet" for i in range(3)]
    sizes = [read_table(tmp_path / "out" / n).num_rows for n in names(tmp_path / "out")]
    assert sizes == [6, 6, 3]
    table = read_table(tmp_path / "out")
    assert table.column("path").to_pylist() == [f"{i}{j}" for i in range(5) for j in range(3)]
    assert table.column("gender").to_pylist() == ["male", "female", None] * 5


def test_row_groups_join_batches_and_their_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_ROWS", 4)
    write(tmp_path / "x.parquet", *(batch(source=[f"/s{i}"] * 3, path=["p"] * 3) for i in range(3)))
    import pyarrow.parquet as pq

    file = pq.ParquetFile(tmp_path / "x.parquet")
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [6, 3]
    expected = ["/s0"] * 3 + ["/s1"] * 3 + ["/s2"] * 3
    assert read_table(tmp_path / "x.parquet").column("source").to_pylist() == expected


def test_write_parquet_replaces_and_keeps_metadata(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(20_000))}).replace_schema_metadata({"k": "v"})
    for _ in range(2):
        write_parquet(table, tmp_path / "x.parquet")
    import pyarrow.parquet as pq

    read = pq.read_table(tmp_path / "x.parquet")
    assert read.column("n").to_pylist() == list(range(20_000))
    assert read.schema.metadata[b"k"] == b"v"


# Text -------------------------------------------------------------------------------------


def cells(path: Path) -> list[list[str]]:
    """The cells of a CSV file, read by csv from text that was split by nothing else."""
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


def test_csv_has_a_header_lf_ends_and_empty_cells(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", batch(path=["a", "b,c"], age=[0.1, None], face_index=[0, None]))
    data = (tmp_path / "x.csv").read_bytes()
    assert data.count(b"\n") == 3
    assert b"\r" not in data
    header, first, second = cells(tmp_path / "x.csv")
    assert header == [column.name for column in COLUMNS]
    assert [first[header.index(name)] for name in ("path", "age", "face_index")] == [
        "a",
        "0.1",
        "0",
    ]
    assert second[header.index("path")] == "b,c"
    assert second[header.index("age")] == ""


def test_times_are_iso_8601(tmp_path: Path) -> None:
    rows = batch(path=["a"], modified_at=[1_700_000_000_123_456], captured_at=[1_562_243_696_789])
    write(tmp_path / "x.csv", rows)
    write(tmp_path / "x.jsonl", rows)
    header, row = cells(tmp_path / "x.csv")
    line = json.loads((tmp_path / "x.jsonl").read_text())
    for values in (dict(zip(header, row, strict=True)), line):
        assert values["modified_at"] == "2023-11-14T22:13:20.123456Z"
        assert values["captured_at"] == "2019-07-04T12:34:56.789"


@pytest.mark.parametrize("start", list("=+-@\t\r\n'＝＋－＠"))
def test_cells_that_a_spreadsheet_would_run_are_neutralised(tmp_path: Path, start: str) -> None:
    name = f"{start}cmd|' /C calc'!A0.png"
    rows = batch(path=[name], gender=["female"], x_min=[-1.5], error=[start])
    write(tmp_path / "x.csv", rows)
    header, row = cells(tmp_path / "x.csv")
    shown = dict(zip(header, row, strict=True))
    assert shown["path"] == "'" + name
    assert shown["error"] == "'" + start
    assert shown["x_min"] == "-1.5"  # a number is never touched
    assert shown["gender"] == "female"
    (read,) = read_table(tmp_path / "x.csv").to_pylist()
    assert (read["path"], read["error"], read["x_min"]) == (name, start, -1.5)


@given(st.text())
@example("'=1")
@example("''")
def test_neutralising_is_reversible_and_leaves_no_formula(text: str) -> None:
    assert restore(neutralise(text)) == text
    assert not neutralise(text).startswith(tuple("=+-@\t\r\n"))


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1))
@example([1e-45, 1.1754942e-38, 3.4028235e38, -0.0, 0.1, 1 / 3, 16777216.0, 1e10, 1e-5])
def test_floats_in_text_are_the_shortest_that_read_back(values: list[float]) -> None:
    texts = writers._texts(pa.array(values, pa.float32()))
    for value, text in zip(values, texts, strict=True):
        assert text is not None
        assert struct.pack("f", np.float32(text)) == struct.pack("f", value)
        # No shorter number of digits does: NumPy's own algorithm finds as many.
        digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
        shortest = np.format_float_scientific(np.float32(value), unique=True, trim="-")
        assert len(digits) <= len(
            shortest.lstrip("-").partition("e")[0].replace(".", "").strip("0")
        )


def test_jsonl_has_every_column_and_no_nan(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", batch(path=["a\u2028b\nc"], age=[0.1]))
    data = (tmp_path / "x.jsonl").read_bytes()
    assert data.count(b"\n") == 1
    row = json.loads(data)
    assert list(row) == [column.name for column in COLUMNS]
    assert (row["path"], row["age"], row["gender"]) == ("a\u2028b\nc", 0.1, None)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "y.jsonl", batch(age=[float("nan")]))


def test_csv_on_stdout_is_utf_8_whatever_the_locale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", newline="\r\n"))
    write("-", batch(path=["é\N{GRINNING FACE}", "a\nb"]))
    write(tmp_path / "x.csv", batch(path=["é\N{GRINNING FACE}", "a\nb"]))
    assert raw.getvalue() == (tmp_path / "x.csv").read_bytes()


def test_what_was_written_is_flushed_to_disk_before_it_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file before its rename, its folder after it."""
    events: list[str] = []
    fsync: Callable[[int], None] = os.fsync
    replace = os.replace

    def noted_fsync(handle: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def noted_replace(old: object, new: object) -> None:
        events.append("rename")
        replace(old, new)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(tmp_path / "x.csv", batch(path=["a"]))
    assert events == ["file", "rename", "folder"]
