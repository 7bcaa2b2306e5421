"""Exploration pages: what a browser shows of a folder, with names that would like to run."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from PIL import Image

from annotate import explore
from tests.browsers import Seen, check_report

HOSTILE = "30_1_2_<img src=x onerror=alert(1)>.jpg"
RACE = "</style><script>alert(2)</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty drawn faces, two of them the same, and files of hostile names."""
    root = tmp_path / "<b>faces&amp;"
    root.mkdir()
    for number in range(40):
        name = f"{2 * number}_{number % 2}_{number % 5}_{number}.jpg"
        Image.new("RGB", (20 + number % 3, 20), (number, 90, 7)).save(root / name, format="PNG")
    Image.new("RGB", (20, 20), (0, 90, 7)).save(
        root / "99_1_1_99.jpg", format="PNG"
    )  # as the first
    (root / HOSTILE).write_bytes(b"no picture")
    if os.name == "posix":
        (root / "odd").mkdir()
        (root / "odd" / "script>.jpg").write_bytes(b"<script>")
        os.rename(root / "odd", os.path.join(os.fsencode(root), b"\xff\xfe<"))
    return root


def test_the_page_shows_the_folder_and_runs_nothing(
    seen: Seen, tmp_path: Path, folder: Path
) -> None:
    found = explore(folder, report_dir=tmp_path / "report", workers=1)
    page = tmp_path / "report" / "exploration.html"
    seen.page.goto(page.as_uri())
    body = seen.page.locator("body")
    assert "<b>faces&amp;" in seen.page.locator("h1").inner_text()
    for summary in seen.page.locator("summary").all():
        if not summary.locator("xpath=..").get_attribute("open"):
            summary.click()
    text = body.inner_text()
    assert HOSTILE in text
    if os.name == "posix":
        assert "\\xff\\xfe</script>.jpg" in text
    assert "40 x" not in text
    # Plots of ages, races, both, and sizes; a large sample; all that decode; one pair of copies.
    assert len(found.samples()) == 41
    check_report(seen, page, 4 + 1 + 41 + 1)


def test_copies_with_other_labels_are_shown_together(
    seen: Seen, tmp_path: Path, folder: Path
) -> None:
    explore(folder, report_dir=tmp_path / "report", workers=1)
    seen.page.goto((tmp_path / "report" / "exploration.html").as_uri())
    (pair,) = seen.page.locator("h3:has-text('The same bytes') + ul li").all()
    lines = pair.locator("p").all_inner_texts()
    assert lines == ["0, male, White", "99, female, Black", "0_0_0_0.jpg", "99_1_1_99.jpg"]


def test_images_are_named_only_where_they_must_not_be_passed_on(
    seen: Seen, tmp_path: Path, folder: Path
) -> None:
    explore(folder, report_dir=tmp_path / "report", thumbnails=False, workers=1)
    page = tmp_path / "report" / "exploration.html"
    seen.page.goto(page.as_uri())
    assert seen.page.locator(".sheet img, .sheet .none").count() == 0
    assert "99_1_1_99.jpg" in seen.page.locator(".sheet").inner_text()
    assert b"image/jpeg" not in page.read_bytes()
    assert not (tmp_path / "report" / "samples.png").exists()
    assert seen.complaints == []


def test_no_half_of_a_screen_is_empty_and_a_phone_shows_each_column(
    seen: Seen, tmp_path: Path, folder: Path
) -> None:
    for path in folder.glob("*_*.jpg"):  # of one size: three plots
        if path.name != HOSTILE:
            Image.new("RGB", (20, 20), (path.stat().st_size % 256, 1, 2)).save(path, format="PNG")
    explore(folder, report_dir=tmp_path / "report", workers=1)
    seen.page.goto((tmp_path / "report" / "exploration.html").as_uri())
    figures = seen.page.locator(".figures")
    assert figures.locator("figure").count() == 3
    assert all(figures.locator("figcaption").all_inner_texts())
    assert figures.locator("figcaption").count() == 3
    last, beside = figures.locator("figure").last.bounding_box(), figures.locator(".scroll")
    table = beside.bounding_box()
    assert last is not None
    assert table is not None
    assert last["y"] <= table["y"] < last["y"] + last["height"]
    assert table["x"] >= last["x"] + last["width"]
    assert "Age and gender" in beside.inner_text()
    seen.page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Age and gender", "Race and gender", "Age and race"):
        found = seen.page.get_by_role("region", name=name)
        assert "Share (%)" in found.inner_text()
        assert found.evaluate("e => e.scrollWidth <= e.clientWidth"), name


def test_races_of_a_table_are_words(
    seen: Seen, tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [("2_1_1_1.jpg", RACE), ("4_0_2_2.jpg", "$x^2$"), ("6_1_3_3.jpg", "漢字 \U0001f600")]
        csv.writer(file).writerows([("path", "race"), *rows])
    found = explore(folder, labels=tmp_path / "t.csv", report_dir=tmp_path / "report", workers=1)
    assert found.counts.labelled == {"age": 0, "gender": 0, "race": 3}
    seen.page.goto((tmp_path / "report" / "exploration.html").as_uri())
    text = seen.page.locator("body").inner_text()
    assert RACE[:20] in text
    assert "$x^2$" in text
    assert "漢字 \U0001f600" in text  # though plots have no letters for it
    assert capfd.readouterr().err == ""
    assert seen.complaints == []


def test_a_folder_without_labels_has_a_page(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"no picture")
    explore(tmp_path / "in", report_dir=tmp_path / "report", workers=1)
    seen.page.goto((tmp_path / "report" / "exploration.html").as_uri())
    assert "No image has a label" in seen.page.locator(".warn").inner_text()
    assert seen.page.locator("img").count() == 0
    assert seen.complaints == []
