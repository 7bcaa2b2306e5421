"""Joining: an output's rows find the inputs that they are of, all faces together."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from annotate.joining import join, typed
from annotate.readers import read_table
from annotate.records import Source
from annotate.scan import scan
from annotate.selection import ScanOptions
from annotate.writers import write_parquet
from tests.hand_made import face_at, no_face, table_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, each of which holds its name."""
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (root / name).write_bytes(name.encode())
    return root


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def joined_rows(folder: Path, tmp_path: Path, *rows: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(path, face_index, age) of what is joined, through a Parquet file."""
    write_parquet(table_of(*rows), tmp_path / "out.parquet")
    plan = scan([str(folder)], ScanOptions(suffixes=frozenset({".jpg"}))).plan
    table = join(typed(read_table(tmp_path / "out.parquet")), plan).table
    return [(row["path"], row["face_index"], row["age"]) for row in table.to_pylist()]


BOXES = ((0, 0, 10, 10), (45, 45, 55, 55), (90, 90, 99, 99))


def test_all_faces_of_an_input_follow_it_to_its_new_name(folder: Path, tmp_path: Path) -> None:
    rows = [
        face_at("old/x.jpg", index, box, age=30 + index, sha256=sha256("b.jpg"))
        for index, box in enumerate(BOXES)
    ]
    rows += [no_face("a.jpg"), face_at("c.jpg", 0, BOXES[0], age=7, sha256="0" * 64)]
    random.Random(5).shuffle(rows)
    got = joined_rows(folder, tmp_path, *rows)
    assert sorted(got, key=str) == [
        ("a.jpg", None, None),
        ("b.jpg", 0, 30.0),
        ("b.jpg", 1, 31.0),
        ("b.jpg", 2, 32.0),
        ("c.jpg", 0, 7.0),  # by its path
    ]
    assert [path for path, *_ in got] == ["a.jpg", "b.jpg", "b.jpg", "b.jpg", "c.jpg"]


def test_the_faces_of_another_state_of_a_file_are_not_mixed_in(
    folder: Path, tmp_path: Path
) -> None:
    before = [face_at("a.jpg", i, BOXES[i], age=10 + i, sha256="0" * 64) for i in range(2)]
    now = [face_at("a.jpg", i, BOXES[i], age=50 + i) for i in range(3)]
    expected = [("a.jpg", 0, 50.0), ("a.jpg", 1, 51.0), ("a.jpg", 2, 52.0)]
    assert joined_rows(folder, tmp_path, *before, *now) == expected


def test_an_output_that_tells_of_an_input_twice_is_taken_once(folder: Path, tmp_path: Path) -> None:
    first = [face_at("a.jpg", i, BOXES[i], age=10 + i) for i in range(2)]
    again = [face_at("a.jpg", i, BOXES[i], age=50 + i) for i in range(3)]
    assert joined_rows(folder, tmp_path, *first, *again) == [("a.jpg", 0, 10.0), ("a.jpg", 1, 11.0)]
    assert joined_rows(folder, tmp_path, no_face("a.jpg"), no_face("a.jpg")) == [
        ("a.jpg", None, None)
    ]


def test_a_path_that_two_sources_have_tells_nothing(folder: Path, tmp_path: Path) -> None:
    other = {"sha256": "0" * 64}
    rows = [face_at("a.jpg", 0, BOXES[0], source=source, **other) for source in ("/x", "/y")]
    assert joined_rows(folder, tmp_path, *rows) == []
    rows[1]["source"] = str(folder)
    rows[1]["age"] = 44
    assert joined_rows(folder, tmp_path, *rows) == [("a.jpg", 0, 44.0)]


def test_an_input_whose_size_and_time_are_not_known_is_joined(tmp_path: Path) -> None:
    location = bytes(tmp_path / "gone.jpg")
    source = Source(0, "/new", "a.jpg", location, size_bytes=None, modified_ns=None)
    joined = join(typed(table_of(face_at("a.jpg", 0, BOXES[1]))), [source])
    (row,) = joined.table.to_pylist()
    assert (row["source"], row["size_bytes"], row["modified_at"]) == ("/new", None, None)
    assert (joined.by_path, joined.faults) == (1, ())
