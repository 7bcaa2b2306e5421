"""Readers: every format gives the same table, and foreign files are errors of one line."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import AnnotateError, read
from annotate.frames import CLOSED
from annotate.readers import read_table
from annotate.records import COLUMNS, REVIEW_COLUMNS
from annotate.rows import schema
from annotate.writers import open_output

# No column ever holds an empty string, which CSV cannot tell from null, or a surrogate.
HOSTILE = [
    "=1+1", "'quoted", "''", "\r", "\n", "a\r\nb", '"', '""', ",", "\t", "nan", "null", "None",
    "NA", "-0", "1e5", "\ufeff", "\u2028", "\x00", "\x1a", "\\xff", "true", "2020-01-01",
]  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
texts |= st.sampled_from(HOSTILE)
epoch = datetime(1970, 1, 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": texts,
    "dictionary": texts,
    "int16": st.integers(-(2**15), 2**15 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "timestamp[us, UTC]": st.integers(-(10**15), 9 * 10**15).map(
        lambda us: epoch.replace(tzinfo=UTC) + timedelta(microseconds=us)
    ),
    "timestamp[ms]": st.integers(-(10**12), 9 * 10**12).map(
        lambda ms: epoch + timedelta(milliseconds=ms)
    ),
}
rows_of_any_kind = st.lists(
    st.fixed_dictionaries(
        {
            c.name: st.none()
            | (st.sampled_from(CLOSED[c.name]) if c.name in CLOSED else VALUES[c.type])
            for c in COLUMNS
        }
    ),
    max_size=5,
)


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    arrays = []
    for field in schema():
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        arrays.append(pa.array([row.get(field.name) for row in rows], kind).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema())


def written(target: Path, rows: list[dict[str, Any]]) -> Path:
    with open_output(str(target), schema({"model": "fake"}), overwrite=True) as writer:
        half = len(rows) // 2
        writer.write(batch_of(rows[:half]))
        writer.write(batch_of(rows[half:]))
    return target


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=rows_of_any_kind)
def test_every_format_reads_back_as_what_was_written(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "formats"
    folder.mkdir(exist_ok=True)
    names = ("x.parquet", "x.csv", "x.jsonl", "data")
    tables = [read_table(written(folder / name, rows)) for name in names]
    expected = batch_of(rows).to_pylist()
    for name, table in zip(names, tables, strict=True):
        assert table.to_pylist() == expected, name
        assert [str(f.type) for f in table.schema] == [str(f.type) for f in schema()], name
    frames = [read(folder / name) for name in names]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], check_categorical=False, check_like=False)
        assert (frame.dtypes == frames[0].dtypes).all() or rows == []


ROW = {
    "source": "/in", "path": "a.png", "size_bytes": 5, "status": "ok", "face_index": 0,
    "age": 30.5, "gender": "female", "modified_at": datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC),
}  # fmt: skip


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "data"])
def test_a_frame_has_the_types_of_pandas(tmp_path: Path, name: str) -> None:
    frame = read(written(tmp_path / name, [ROW, {"path": "b.png"}]))
    kinds = {column: str(kind) for column, kind in frame.dtypes.items()}
    assert (kinds["gender"], kinds["face_index"], kinds["age"]) == ("category", "Int16", "float32")
    assert kinds["modified_at"] == "datetime64[us, UTC]"
    assert frame.loc[0, "modified_at"] == pd.Timestamp("2024-02-03 04:05:06", tz="UTC")
    assert frame.loc[0, ["size_bytes", "gender", "age"]].tolist() == [5, "female", 30.5]
    assert frame.loc[1, ["size_bytes", "gender", "age"]].isna().all()
    is_parquet = name in ("x.parquet", "data")
    assert frame.attrs == ({"model": "fake"} if is_parquet else {})


def test_many_rows_of_text(tmp_path: Path) -> None:
    """More than are turned into a batch at a time."""
    rows = [{"path": f"{i}.png", "source": f"/s{i % 7}", "age": i / 8} for i in range(9_000)]
    for name in ("x.csv", "x.jsonl"):
        table = read_table(written(tmp_path / name, rows))
        assert table.column("path").to_pylist() == [row["path"] for row in rows]
        assert table.column("source").to_pylist() == [row["source"] for row in rows]
        assert table.column("age").to_pylist() == [row["age"] for row in rows]


def test_columns_that_others_added_are_left_out_of_text(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", [ROW])
    lines = path.read_text().splitlines()
    path.write_text(f"note,{lines[0]}\nmine,{lines[1]}\n")
    assert read_table(path).to_pylist() == batch_of([ROW]).to_pylist()
    with pytest.raises(AnnotateError, match="has no column 'note'"):
        read(path, columns=["path", "note"])


COLUMN_NAMES = [column.name for column in COLUMNS]
HEADER = ",".join(COLUMN_NAMES)
DEEP = "[" * 100_000

FOREIGN: dict[str, bytes] = {
    "empty.csv": b"",
    "other.csv": b"a,b\n1,2\n",
    "short.csv": f"{HEADER}\n1,2\n".encode(),
    "number.csv": f"{HEADER}\n{',' * COLUMNS.index(next(c for c in COLUMNS if c.name == 'age'))}old"
    f"{',' * (len(COLUMNS) - 18)}\n".encode(),
    "nul.csv": f"{HEADER}\n\0\n".encode(),
    "long.csv": f"{HEADER}\n{'a' * 200_000}\n".encode(),
    "latin.csv": b"\xff\xfe,\n",
    "binary.parquet": b"PAR1" + b"\0" * 40 + b"PAR1",
    "text.parquet": b"hello",
    "empty.parquet": b"",
    "array.jsonl": b"[]\n",
    "cut.jsonl": b'{"path": "a"',
    "type.jsonl": b'{"path": {"a": 1}}\n',
    "mixed.jsonl": b'{"age": "x"}\n{"age": 1}\n',
    "huge.jsonl": b'{"size_bytes": ' + b"9" * 40 + b"}\n",
    "digits.jsonl": b'{"size_bytes": ' + b"9" * 5000 + b"}\n",
    "wide.jsonl": b'{"face_index": 70000}\n',
    "deep.jsonl": DEEP.encode(),
    "infinite.jsonl": b'{"size_bytes": Infinity}\n',
    "unknown.txt": b"hello",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_and_broken_files_are_errors_of_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FOREIGN[name])
    with pytest.raises(AnnotateError) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_missing_files_and_folders_without_data(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("no.parquet", "no.csv", "no.jsonl", "folder"):
        with pytest.raises(AnnotateError) as caught:
            read(tmp_path / name)
        assert name in str(caught.value)


def test_a_foreign_parquet_file_lacks_our_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(AnnotateError, match="no column 'source'"):
        read(tmp_path / "x.parquet")


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_cut_parquet_file(tmp_path: Path, cut: float) -> None:
    path = written(tmp_path / "x.parquet", [ROW] * 100)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(AnnotateError, match="cannot read"):
        read(path)


def test_a_folder_named_like_a_hive_partition_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "year=2024").mkdir()
    for name in ("x.parquet", "data"):
        table = read_table(written(tmp_path / "year=2024" / name, [ROW]))
        assert table.schema.names == [column.name for column in COLUMNS]


def test_json_lines_may_lack_what_is_null(tmp_path: Path) -> None:
    full = {column.name: None for column in COLUMNS} | {"path": "a"}
    (tmp_path / "x.jsonl").write_text(json.dumps(full) + "\n" + json.dumps({"path": "b"}) + "\n")
    assert read_table(tmp_path / "x.jsonl").column("path").to_pylist() == ["a", "b"]


def test_an_output_that_is_not_there_is_said_to_be_absent(tmp_path: Path) -> None:
    for name in ("x.parquet", "x.csv", "x.jsonl", "x"):
        with pytest.raises(AnnotateError, match=rf"no output at '.*{name}'"):
            read(tmp_path / name)


# What is read on request ------------------------------------------------------------------

FORMATS = pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "data"])


@FORMATS
def test_columns_are_read_in_the_order_in_which_they_are_named(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, [ROW, {"path": "b.png", "age": 7}])
    frame = read(path, columns=["gender", "path", "gender"])
    assert list(frame.columns) == ["gender", "path"]
    pd.testing.assert_frame_equal(frame, read(path)[["gender", "path"]])
    # What is read for the columns that are made is not kept unless it was asked for.
    frame = read(path, columns=("path",), age_bands=[0, 18], resolve=True)
    assert list(frame.columns) == ["path", "age_band", "file"]
    assert frame["age_band"].tolist() == ["18+", "0-17"]
    assert frame.loc[0, "file"] == "/in/a.png"
    assert frame.loc[1, "file"] is None  # without a source
    assert read_table(path, ["age", "path"]).schema.names == ["age", "path"]


def test_columns_that_others_added_to_parquet_are_read(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "x.parquet", [ROW]))
    added = table.append_column("note", pa.array(["mine"])).append_column(
        "label_gender", pa.array(["male"])
    )
    pq.write_table(added, tmp_path / "y.parquet")
    frame = read(tmp_path / "y.parquet")
    assert list(frame.columns)[-2:] == ["note", "label_gender"]
    assert frame["label_gender"].cat.categories.tolist() == ["female", "male"]
    assert read(tmp_path / "y.parquet", columns=["note"])["note"].tolist() == ["mine"]


@FORMATS
def test_what_a_person_said_is_read_from_every_format(tmp_path: Path, name: str) -> None:
    """The columns that `annotate review --apply` adds."""
    bare = batch_of([ROW, {"path": "b.png"}])
    reviewed = {c.name: pa.array([None, "x"], pa.string()) for c in REVIEW_COLUMNS}
    table = pa.table(dict(zip(bare.schema.names, bare.columns, strict=True)) | reviewed)
    with open_output(str(tmp_path / name), table.schema) as writer:
        writer.write(table.to_batches()[0])
    frame = read(tmp_path / name)
    assert list(frame.columns) == [*COLUMN_NAMES, "label_source", "labelled"]
    assert str(frame["label_source"].dtype) == "category"
    assert [None if pd.isna(said) else said for said in frame["labelled"]] == [None, "x"]


@FORMATS
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["path", "\n"], r"has no column '\\x0a'"),
        (["age_band"], r"has no column 'age_band': .*age_bands=True"),
        ("path", "columns='path': expected a list of names"),
        ([], "expected a list of names"),
        ([1], "expected a list of names"),
    ],
    ids=str,
)
def test_columns_that_are_not_there_are_errors(
    tmp_path: Path, name: str, columns: Any, said: str
) -> None:
    path = written(tmp_path / name, [ROW])
    with pytest.raises(AnnotateError, match=said) as caught:
        read(path, columns=columns)
    assert str(caught.value).isprintable()


@FORMATS
def test_age_bands_and_paths_come_last(tmp_path: Path, name: str) -> None:
    frame = read(written(tmp_path / name, [ROW, {}]), age_bands=True, resolve=True)
    assert list(frame.columns) == [*(c.name for c in COLUMNS), "age_band", "file"]
    assert frame["age_band"].cat.ordered
    assert frame.loc[0, "age_band"] == "30-39"
    assert pd.isna(frame.loc[1, "age_band"])
    assert "age_band" not in read(tmp_path / name).columns


@pytest.mark.parametrize(
    "name", [b"\xff.parquet", b"\xff.csv", b"\xff.jsonl", b"\xff", b"file:x%41"]
)
def test_an_output_may_have_any_name(tmp_path: Path, name: bytes, monkeypatch: Any) -> None:
    """Not UTF-8, or what Arrow would take for an address."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / f"x{Path(os.fsdecode(name)).suffix}", [ROW]).rename(os.fsdecode(name))
    assert read(os.fsdecode(name))["path"].tolist() == ["a.png"]


def test_a_folder_is_read_in_the_order_of_its_parts(tmp_path: Path) -> None:
    """With other categories in each, nothing of what hides, and a column that only one has."""
    (tmp_path / "data" / "_old").mkdir(parents=True)
    for number in (2, 10, 1):
        rows = [ROW | {"path": f"{number}.png", "source": f"/s{number}"}]
        written(tmp_path / "x.parquet", rows).rename(tmp_path / f"data/part-{number:05}.parquet")
    (tmp_path / "data" / "_notes").write_text("mine")
    written(tmp_path / "x.parquet", [ROW]).rename(tmp_path / "data/_old/part-00000.parquet")
    last = tmp_path / "data" / "part-00010.parquet"
    pq.write_table(read_table(last).append_column("note", pa.array(["mine"])), last)
    frame = read(tmp_path / "data")
    assert frame["path"].tolist() == ["1.png", "2.png", "10.png"]
    assert frame["source"].cat.categories.tolist() == ["/s1", "/s2", "/s10"]
    assert list(frame.columns) == COLUMN_NAMES
    with pytest.raises(AnnotateError, match="has no column 'note'"):
        read(tmp_path / "data", columns=["note"])


def test_a_file_of_another_kind_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    (tmp_path / "a.parquet").write_text("x\n")
    with pytest.raises(
        AnnotateError, match=r"a\.txt is no output of annotate: those are \.parquet"
    ):
        read(tmp_path / "a.txt")
    with pytest.raises(AnnotateError, match=r"cannot read .*a\.parquet: "):
        read(tmp_path / "a.parquet")
