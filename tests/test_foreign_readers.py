"""Reading of what others wrote or changed: what it is, or an error of one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate import AnnotateError, read
from annotate.readers import read_table
from tests.test_readers import COLUMN_NAMES, FORMATS, ROW, batch_of, written


def test_what_pandas_saved_is_read_as_it_was(tmp_path: Path) -> None:
    """The way of an analyst: filter, save, read again tomorrow."""
    rows = [ROW | {"path": f"{i}.png", "age": i} for i in range(4)]
    frame = read(written(tmp_path / "x.parquet", [*rows, {"path": "no.png"}]))
    some = frame[frame["path"] != "1.png"]
    expected = some.reset_index(drop=True)
    some.to_parquet(tmp_path / "y.parquet")  # with its index, of which rows are missing
    some.to_csv(tmp_path / "y.csv")
    pd.testing.assert_frame_equal(read(tmp_path / "y.parquet"), expected)
    assert read(tmp_path / "y.parquet").attrs == {"model": "fake"}
    pd.testing.assert_frame_equal(read(tmp_path / "y.csv"), expected, check_categorical=False)


def test_a_csv_of_a_spreadsheet_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", [ROW])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_table(path).to_pylist() == batch_of([ROW]).to_pylist()


# Tables of strangers ----------------------------------------------------------------------

STRANGE = {
    "text": pa.array(["x"]),
    "bytes": pa.array([b"\xff"]),
    "list": pa.array([[1]]),
    "struct": pa.array([{"a": 1}]),
    "huge": pa.array([10**30], pa.decimal128(38, 0)),
    "nothing": pa.array([None], pa.null()),
    "infinite": pa.array([float("inf")]),
    "true": pa.array([True]),
    "nested categories": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([2.5])),
    "day": pa.array([0], pa.date32()),
    "no UTF-8": pa.array([b"\xff\xfe"]).view(pa.string()),
    "far time": pa.array([2**62], pa.timestamp("ms", "Mars/Phobos")),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_any_type_in_any_column_is_read_or_an_error_of_one_line(tmp_path: Path, kind: str) -> None:
    usual = pa.Table.from_batches([batch_of([ROW])])
    usual = usual.append_column("label_gender", pa.array(["male"]))
    usual = usual.append_column("note", pa.array(["mine"]))
    pq.write_table(usual, tmp_path / "x.parquet")
    expected = read(tmp_path / "x.parquet").dtypes.astype(str)
    for place, column in enumerate(usual.schema.names):
        path = tmp_path / f"{column}.parquet"
        pq.write_table(usual.set_column(place, column, STRANGE[kind]), path)
        try:
            frame = read(path, age_bands=True, resolve=True)
        except AnnotateError as caught:
            said = str(caught)
            assert column in said.removeprefix(str(path))
            assert (said.isprintable(), len(said) < 1000) == (True, True)
        else:
            assert len(frame) == 1
            same = frame.dtypes.astype(str)[expected.index] == expected
            assert same.drop(column).all()
            assert same[column] or column == "note"


@FORMATS
@pytest.mark.parametrize(("column", "value"), [("status", "fine"), ("gender", "Female\n")])
def test_an_unknown_category_is_an_error(
    tmp_path: Path, name: str, column: str, value: str
) -> None:
    path = written(tmp_path / name, [ROW, ROW | {column: value}])
    with pytest.raises(AnnotateError, match=f"{column!r} holds '.*', which this version") as caught:
        read(path)
    assert str(caught.value).isprintable()


def test_ages_that_nobody_has_are_read_and_have_no_band(tmp_path: Path) -> None:
    ages = [-5.0, float("nan"), float("inf"), 1e30, 200.0]
    path = written(tmp_path / "x.parquet", [ROW | {"age": age} for age in ages])
    frame = read(path, age_bands=True)
    assert frame["age"].tolist()[::3] == [-5.0, pytest.approx(1e30)]
    assert frame["age_band"].isna().tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    "block",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"index_columns": ["path"], "columns": [], "column_indexes": []}',
        b'{"index_columns": [{"kind": "range"}], "columns": 7}',
        json.dumps(
            {
                "index_columns": ["age"],
                "column_indexes": [],
                "columns": [{"name": "age", "pandas_type": "object", "numpy_type": "os.system"}],
            }
        ).encode(),
    ],
)
def test_what_a_file_says_of_pandas_is_not_believed(tmp_path: Path, block: bytes) -> None:
    table = pa.Table.from_batches([batch_of([ROW])])
    pq.write_table(table.replace_schema_metadata({"pandas": block}), tmp_path / "x.parquet")
    expected = read(written(tmp_path / "y.parquet", [ROW]))
    pd.testing.assert_frame_equal(read(tmp_path / "x.parquet"), expected)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_two_columns_of_one_name_are_an_error(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, [ROW])
    if name == "x.csv":
        lines = path.read_text().splitlines()
        path.write_text(f"{lines[0]},age\n{lines[1]},5\n")
    else:
        pq.write_table(read_table(path).append_column("age", pa.array([5.0])), path)
    with pytest.raises(AnnotateError, match="two columns 'age'") as caught:
        read(path)
    assert str(caught.value).isprintable()


def test_rows_that_take_no_room_on_disk_are_refused(tmp_path: Path) -> None:
    """Ten million rows of nulls in half a megabyte would be gigabytes here."""
    empty = pa.table({name: pa.nulls(10_000_000, pa.int8()) for name in COLUMN_NAMES})
    pq.write_table(empty, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 1_000_000
    with pytest.raises(AnnotateError, match=r"10,000,000 rows in [\d,]+ bytes"):
        read(tmp_path / "x.parquet")


@FORMATS
def test_a_name_that_breaks_lines_is_shown_on_one(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a\nb\x1b[31m"
    folder.mkdir()
    for said in ("no output at", "cannot read|is no output"):
        with pytest.raises(AnnotateError, match=said) as caught:
            read(folder / name)
        assert str(caught.value).isprintable()
        (folder / name).write_bytes(b"\xff")
