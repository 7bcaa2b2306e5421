"""Labels: UTKFace names and tables, read strictly; every fault is listed and nothing is guessed."""

from __future__ import annotations

import csv
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.errors import AnnotateError, shown
from annotate.labels import (
    Label,
    labels_from_names,
    parse_utkface_name,
    read_label_table,
    utkface_files,
)

TIME = "20170116220224657"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (f"26_1_0_{TIME}.jpg.chip.jpg", Label(26.0, "female", "White")),
        (f"116_0_4_{TIME}.jpg", Label(116.0, "male", "Others")),
        (f"album/1_0_2_{TIME}.jpg.chip.jpg", Label(1.0, "male", "Asian")),
        ("0_1_3_1.jpeg", Label(0.0, "female", "Indian")),
    ],
)
def test_usual_names_say_all_three_labels(name: str, label: Label) -> None:
    assert parse_utkface_name(name) == (label, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"24_0_1_{TIME} .jpg.chip.jpg", Label(24.0, "male", "Black")),
        (f"55_0_0_{TIME}jpg.chip.jpg", Label(55.0, "male", "White")),
        (f"9_1_2_{TIME}.png", Label(9.0, "female", "Asian")),
    ],
)
def test_odd_names_are_read_and_listed(name: str, expected: Label) -> None:
    label, fault = parse_utkface_name(name)
    assert label == expected
    assert fault is not None
    assert (fault.kind, fault.path) == ("odd_name", name)


@pytest.mark.parametrize(
    "name",
    [
        f"39_1_{TIME}.jpg.chip.jpg",
        f"61_1_{TIME}.jpg.chip.jpg",
        f"30_2_0_{TIME}.jpg",
        f"30_0_5_{TIME}.jpg",
        f"131_0_0_{TIME}.jpg",
        f"-3_0_0_{TIME}.jpg",
        f"٣٠_0_0_{TIME}.jpg",
        "30_0_0_.jpg",
        f"30_0_0_{TIME}.txt",
        "holiday.jpg",
        "",
    ],
)
def test_malformed_names_give_a_fault_and_no_label(name: str) -> None:
    label, fault = parse_utkface_name(name)
    assert label is None
    assert fault is not None
    assert fault.kind == "malformed_name"


def test_the_faults_of_the_real_data_are_found(real_data: Path) -> None:
    """The counts that the data's own description states."""
    found = labels_from_names(utkface_files(real_data / "utkface"))
    malformed = [fault.path for fault in found.faults_of("malformed_name")]
    assert len(found.labels) == 18_632 - 3
    assert sorted(name.split("_")[0] for name in malformed) == ["39", "61", "61"]
    assert len(found.faults_of("odd_name")) == 2


FILES = ("a.jpg", "b.jpg", "sub/c.jpg")


def write_csv(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def kinds(path: Path, files: tuple[str, ...] = FILES) -> list[tuple[str, str]]:
    return [(fault.kind, fault.path) for fault in read_label_table(path, files).faults]


def test_a_csv_gives_what_its_cells_say(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "t.csv",
        ("note", "gender", "path", "age", "race"),
        ("x", "female", "a.jpg", "31.5", "Māori"),
        ("y", "", "b.jpg", "7", ""),
        ("z", "male", "sub/c.jpg", "", "2"),
    )
    found = read_label_table(table, FILES)
    assert found.labels == {
        "a.jpg": Label(31.5, "female", "Māori"),
        "b.jpg": Label(7.0, None, None),
        "sub/c.jpg": Label(None, "male", "2"),
    }
    assert found.faults == ()
    assert found.source == "table"


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    columns = {
        "path": ["a.jpg", "b.jpg", "sub/c.jpg"],
        "age": [31.5, None, 200.0],
        "gender": ["female", None, "Male"],
        "race": [None, "Asian", "2"],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    rows = zip(*[["" if v is None else v for v in c] for c in columns.values()], strict=True)
    write_csv(tmp_path / "t.csv", tuple(columns), *rows)
    from_parquet = read_label_table(tmp_path / "t.parquet", FILES)
    from_csv = read_label_table(tmp_path / "t.csv", FILES)
    assert from_parquet.labels == from_csv.labels
    assert from_parquet.labels["sub/c.jpg"] == Label(None, None, "2")
    assert [(f.kind, f.path) for f in from_parquet.faults] == [("invalid_value", "sub/c.jpg")] * 2


@pytest.mark.parametrize(
    "cell", ["nan", "inf", "-1", "1e9", "131", "1_0", "٣٠", "0x1f", "thirty", "1" * 5000, "3\x000"]
)
def test_an_age_that_is_none_is_listed_and_absent(tmp_path: Path, cell: str) -> None:
    table = write_csv(tmp_path / "t.csv", ("path", "age", "gender"), ("a.jpg", cell, "male"))
    found = read_label_table(table, ("a.jpg",))
    assert found.labels == {"a.jpg": Label(None, "male", None)}
    assert [(fault.kind, fault.path) for fault in found.faults] == [("invalid_value", "a.jpg")]
    assert found.faults[0].detail.isprintable()
    assert len(found.faults[0].detail) < 200


@pytest.mark.parametrize(
    ("value", "age"),
    [
        (Decimal("31.5"), 31.5),
        (7, 7.0),
        (float("nan"), None),
        (True, None),
        (b"31", None),
        ([31], None),
        (datetime(2020, 1, 1), None),
    ],
)
def test_parquet_cells_of_any_type(tmp_path: Path, value: Any, age: float | None) -> None:
    pq.write_table(pa.table({"path": ["a.jpg"], "age": [value]}), tmp_path / "t.parquet")
    found = read_label_table(tmp_path / "t.parquet", ("a.jpg",))
    assert found.labels.get("a.jpg", Label()).age == age
    assert len(found.faults) == (age is None)


@pytest.mark.parametrize("gender", ["Female", "f", "0", "femme", "male;female"])
def test_genders_are_not_guessed(tmp_path: Path, gender: str) -> None:
    table = write_csv(tmp_path / "t.csv", ("path", "gender"), ("a.jpg", gender))
    assert kinds(table, ("a.jpg",)) == [("invalid_value", "a.jpg")]


def test_rows_and_files_that_do_not_meet_are_listed(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "t.csv",
        ("path", "age"),
        ("a.jpg", 30),
        ("./b.jpg", 30),
        ("../etc/passwd", 30),
        ("b.jpg\x00", 30),
        ("", 30),
        ("sub/c.jpg", ""),
    )
    assert kinds(table) == [
        ("invalid_value", ""),
        ("missing_file", "./b.jpg"),
        ("missing_file", "../etc/passwd"),
        ("missing_file", "b.jpg\x00"),
        ("unlabelled", "b.jpg"),
        ("unlabelled", "sub/c.jpg"),
    ]


def test_a_path_twice_is_not_scored(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "t.csv",
        ("path", "age"),
        ("a.jpg", 30),
        ("b.jpg", 30),
        ("a.jpg", 31),
        ("b.jpg", 30),
        ("sub/c.jpg", 5),
    )
    found = read_label_table(table, FILES)
    assert list(found.labels) == ["sub/c.jpg"]
    assert [(f.kind, f.path, f.detail) for f in found.faults] == [
        ("duplicate_row", "a.jpg", "rows 1, 3: different labels"),
        ("duplicate_row", "b.jpg", "rows 2, 4: same labels"),
    ]


def test_a_row_with_too_many_cells_labels_nothing(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", ("path", "age"), ("a", ".jpg", 30), ("b.jpg",), ())
    assert kinds(table, ("a", "b.jpg")) == [("invalid_value", "a"), ("invalid_value", "b.jpg")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "path column"),
        (b"file,age\na.jpg,3\n", "path column"),
        (b"path;age\na.jpg;3\n", "path column"),
        (b"path,years\na.jpg,3\n", "age, gender, race"),
        (b"path,age,age\na.jpg,3,4\n", "two columns 'age'"),
        (b"path,age\n\xff.jpg,3\n", "UTF-8"),
        ("path,age\na.jpg,3\n".encode("utf-16"), "UTF-8"),
        (b'path,age\n"a.jpg,3\n', "line"),
        (b"path,age\n" + b"x" * 1_100_000 + b",3\n", "line 2"),
        (b"PAR1 and then nothing", "cannot read"),
    ],
)
def test_what_is_no_label_table_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    limit = csv.field_size_limit()
    with pytest.raises(AnnotateError, match=says) as caught:
        read_label_table(tmp_path / "t.csv", FILES)
    assert str(caught.value).isprintable()
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("name", ["absent.csv", "folder", "nul\x00.csv"])
def test_a_table_that_is_no_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(AnnotateError, match="no label table") as caught:
        read_label_table(f"{tmp_path}/{name}", FILES)
    assert str(caught.value).isprintable()


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpath,age\r\na.jpg,3\r\n")
    assert read_label_table(tmp_path / "t.csv", ("a.jpg",)).labels == {"a.jpg": Label(3.0)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*FILES, "x.jpg", ""]),
            st.sampled_from(["", "0", "30", "130", "131", "nan", "-1", "\x00"]),
            st.sampled_from(["", "female", "male", "?"]),
        ),
        max_size=8,
    )
)
def test_every_file_has_a_label_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    write_csv(path, ("path", "age", "gender"), *rows)
    found = read_label_table(path, FILES)
    named = {fault.path for fault in found.faults}
    assert all(name in found.labels or name in named for name in FILES)
    assert found.labels.keys() <= set(FILES)
    for name, label in found.labels.items():
        assert [row[0] for row in rows].count(name) == 1
        assert label.age in (None, 0.0, 30.0, 130.0)
        assert label.gender in (None, "female", "male")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    path.write_bytes(b"path,age\n" + data)
    try:
        found = read_label_table(path, FILES)
    except AnnotateError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert found.labels.keys() <= set(FILES)
    assert refusal.isprintable()


@given(st.one_of(st.text(), st.integers(), st.just(10**5000), st.binary()))
def test_values_are_shown_on_one_printable_line(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    # Each of at most 80 characters may become an escape of six, or of ten beyond U+FFFF.
    assert len(text) <= 80 * 10 + 2
