"""Comparison pages: what a browser shows of them, with names that would like to run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate import Model, compare
from annotate.labelling import write
from annotate.run_config import RunConfig
from annotate.writers import write_parquet
from tests.browsers import Seen, check_report
from tests.conftest import draw
from tests.hand_made import face_at, no_face, table_of

BOX, OTHER = (10.0, 10.0, 50.0, 50.0), (60.0, 10.0, 90.0, 50.0)
HOSTILE = ["<img src=x onerror=alert(1)>.png", "<b>.png", "\u202egnp.png", "'\"&amp;{{7*7}}.png"]


@pytest.fixture
def outputs(tmp_path: Path, fake_model: Model) -> tuple[Path, Path]:
    """Two outputs over drawn faces of hostile names; in B all are 20 years older, and male."""
    folder = tmp_path / "in"
    for number, name in enumerate(HOSTILE):
        draw(folder / name, (200, 40 * number, 0))
    if os.name == "posix":
        # A folder of a name that is not UTF-8, and in it a file: together they end a script.
        draw(folder / "odd" / "script>.png", (250, 10, 10))
        os.rename(folder / "odd", os.path.join(os.fsencode(folder), b"\xff\xfe<"))
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write(RunConfig((str(folder),), faces="crop", workers=1), str(first), model=fake_model)
    rows = pq.read_table(first)
    n = rows.num_rows
    ages = rows.column("age").to_numpy() + np.arange(20, 20 + n, dtype=np.float32)
    for name, values in (
        ("age", pa.array(ages)),
        ("gender", pa.array(["male"] * n).dictionary_encode()),
        ("female_probability", pa.array(np.full(n, 0.1, np.float32))),
    ):
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    write_parquet(rows, second)
    return first, second


def test_the_page_shows_what_moved_and_runs_nothing(
    seen: Seen, tmp_path: Path, outputs: tuple[Path, Path]
) -> None:
    moved = compare(*outputs, report_dir=tmp_path / "report")
    page = tmp_path / "report" / "comparison.html"
    seen.page.goto(page.as_uri())
    body = seen.page.locator("body").inner_text()
    for name in [*HOSTILE[:2], HOSTILE[3]]:
        assert name in body
    assert "\u202e" not in body
    assert "\\u202egnp.png" in body
    if os.name == "posix":
        assert "\\xff\\xfe</script>.png" in body
    assert "100.0 %" in body  # all changed their gender
    # Four plots, and each face in both lists: all files are there.
    check_report(seen, page, 4 + 2 * moved.faces.both)


def test_pictures_come_from_where_the_files_are(
    seen: Seen, tmp_path: Path, outputs: tuple[Path, Path]
) -> None:
    first, second = outputs
    rows = pq.read_table(second)
    moved = pa.array(["/nowhere"] * rows.num_rows).dictionary_encode()
    write_parquet(rows.set_column(rows.schema.get_field_index("source"), "source", moved), second)
    (tmp_path / "in" / HOSTILE[1]).unlink()
    compare(first, second, report_dir=tmp_path / "report")
    seen.page.goto((tmp_path / "report" / "comparison.html").as_uri())
    faces = pq.read_table(first).num_rows
    assert seen.page.locator(".sheet img").count() == 2 * (faces - 1)
    assert seen.page.get_by_text("no picture").count() == 2
    assert seen.complaints == []


def test_faces_are_named_only_where_they_must_not_be_passed_on(
    seen: Seen, tmp_path: Path, outputs: tuple[Path, Path]
) -> None:
    compare(*outputs, report_dir=tmp_path / "report", thumbnails=False)
    seen.page.goto((tmp_path / "report" / "comparison.html").as_uri())
    assert seen.page.locator(".sheet img, .sheet .none").count() == 0
    assert HOSTILE[0] in seen.page.locator(".sheet").first.inner_text()
    assert b"image/jpeg" not in (tmp_path / "report" / "comparison.html").read_bytes()


def test_names_are_folded_bounded_and_escaped(seen: Seen, tmp_path: Path) -> None:
    a = [no_face("edited.jpg"), no_face("<b>gone.jpg"), face_at("p -> q.jpg", 0, BOX)]
    a.append(face_at("p -> q.jpg", 1, OTHER, face_count=2))
    b = [no_face(f"{HOSTILE[0]}{i:03}") for i in range(203)]
    b += [no_face("edited.jpg", status="decode_error", sha256="0" * 64), a[2]]
    for name, rows in (("a", a), ("b", b)):
        write_parquet(table_of(*rows), tmp_path / f"{name}.parquet")
    compare(tmp_path / "a.parquet", tmp_path / "b.parquet", report_dir=tmp_path / "report")
    page = tmp_path / "report" / "comparison.html"
    seen.page.goto(page.as_uri())
    body = seen.page.locator("body")
    assert HOSTILE[0] not in body.inner_text()
    assert "No input that is in both has another status" in body.inner_text()
    assert seen.page.locator("summary").all_inner_texts() == [
        "Inputs new in B: 203",
        "Inputs vanished from A: 1",
        "Inputs rewritten: 1",
        "Faces gone from A: 1",
    ]
    for summary in seen.page.locator("summary").all():
        summary.click()
    names = seen.page.locator("details li").all_inner_texts()
    assert len(names) == 200 + 3
    assert names[0] == f"{HOSTILE[0]}000: no_face"
    assert names[200:] == [
        "<b>gone.jpg: no_face",
        "edited.jpg: no_face → decode_error",
        "p -> q.jpg, face 2 of 2 in A: 30 years, female",
    ]
    assert "And 3 more, in comparison.parquet." in body.inner_text()
    check_report(seen, page, 4)


def test_every_column_of_ages_is_seen_on_a_phone(
    seen: Seen, tmp_path: Path, outputs: tuple[Path, Path]
) -> None:
    compare(*outputs, report_dir=tmp_path / "report")
    seen.page.set_viewport_size({"width": 390, "height": 844})
    seen.page.goto((tmp_path / "report" / "comparison.html").as_uri())
    table = seen.page.get_by_role("region", name="By age in A")
    assert "Gender changed" in table.inner_text()
    assert table.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_comparison_without_faces_has_a_page(seen: Seen, tmp_path: Path) -> None:
    for name, path in (("a", "x.jpg"), ("b", "y.jpg")):
        write_parquet(table_of(no_face(path)), tmp_path / f"{name}.parquet")
    compare(tmp_path / "a.parquet", tmp_path / "b.parquet", report_dir=tmp_path / "report")
    seen.page.goto((tmp_path / "report" / "comparison.html").as_uri())
    assert seen.page.locator("h1").inner_text() == "Comparison of two outputs"
    assert seen.page.locator("img").count() == 0
    assert "No input has another status" in seen.page.locator("body").inner_text()
    assert seen.complaints == []
