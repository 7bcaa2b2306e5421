"""The demo: real photographs from installed packages, labelled, drawn and written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

import annotate.model
from annotate import AnnotateError, demo, read
from annotate.demo import run_demo
from annotate.model import bundled_models
from annotate.report.pictures import COLOURS
from tests.conftest import ROOT

HAS_COLLINS = importlib.util.find_spec("skimage") is not None
OLD = "the README is out of date: run `annotate demo`, copy its picture and paste its table"
needs_base = pytest.mark.skipif("base" not in bundled_models(), reason="base is not bundled")

FACES = {"eileen_collins.png": (180, 75, 270, 180), "grace_hopper.jpg": (165, 135, 362, 335)}
"""The faces from fringe or cap to chin and from cheek to cheek, measured by hand in pixels."""

if not HAS_COLLINS:
    del FACES["eileen_collins.png"]


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(across, 0) * max(down, 0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (first, second)]
    return shared / (sum(areas) - shared)


@pytest.fixture
def fake_base(fake_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake model under the name of the bundled one."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base").symlink_to(fake_model_folder)
    monkeypatch.setattr(annotate.model, "MODELS", tmp_path / "models")


@pytest.mark.usefixtures("fake_base")
def test_the_demo_labels_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = run_demo(str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "annotated.jpg",
        "people.csv",
        "people.parquet",
        "photographs",
    ]
    people = read(out / "people.parquet")
    pd.testing.assert_frame_equal(people, read(out / "people.csv"), check_categorical=False)
    assert people["path"].tolist() == list(FACES)
    assert people["status"].tolist() == ["ok"] * len(FACES)
    assert people["face_count"].tolist() == [1] * len(FACES)
    for row in people.to_dict("records"):
        found = tuple(row[edge] for edge in ("x_min", "y_min", "x_max", "y_max"))
        assert overlap(found, FACES[row["path"]]) >= 0.5
    # The fake model has no intervals: a dash in their column, and no made-up figure.
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "path"
    assert [line.split()[:6][-1] for line in lines[1 : len(FACES) + 1]] == ["-"] * len(FACES)
    for name in (*FACES, "people.parquet", "people.csv", "annotated.jpg"):
        assert str(out) in text
        assert name in text
    assert f"{len(FACES)} input" in text


@pytest.mark.usefixtures("fake_base")
def test_the_photographs_are_whole(tmp_path: Path) -> None:
    run_demo(str(tmp_path / "out"))
    for name, source in demo.installed_photographs():
        assert (tmp_path / "out" / "photographs" / name).read_bytes() == source.read_bytes()


@pytest.mark.usefixtures("fake_base")
def test_a_second_time_replaces_and_follows_no_link(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_demo(str(out))
    mine = tmp_path / "mine.jpg"
    mine.write_text("precious")
    photograph = out / "photographs" / "grace_hopper.jpg"
    photograph.unlink()
    photograph.symlink_to(mine)
    (out / "photographs" / "other.png").write_text("no picture")
    first = (out / "annotated.jpg").read_bytes()
    run_demo(str(out))
    assert mine.read_text() == "precious"
    assert not photograph.is_symlink()
    assert read(out / "people.csv")["path"].tolist() == list(
        FACES
    )  # what else lies there does not count
    assert (out / "annotated.jpg").read_bytes() == first


@pytest.mark.usefixtures("fake_base")
def test_the_picture_shows_each_face_in_its_colour(tmp_path: Path) -> None:
    run_demo(str(tmp_path / "out"))
    people = read(tmp_path / "out" / "people.parquet")
    with Image.open(tmp_path / "out" / "annotated.jpg") as picture:
        assert picture.info["comment"].decode() == demo.table(people)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    height = demo.PICTURE_HEIGHT_PX
    # The whole widths of both photographs at this height: 512 x 512 and 512 x 600.
    widths = {"eileen_collins.png": height, "grace_hopper.jpg": round(512 * height / 600)}
    left = 0
    for row in people.to_dict("records"):
        width = widths[row["path"]]
        box = np.array([row["x_min"], row["y_min"], row["x_max"], row["y_max"]])
        x_min, y_min, x_max, y_max = (box * height / row["height"]).round().astype(int)
        colour = np.array(ImageColor.getrgb(COLOURS[row["gender"]]))
        part = pixels[:height, left : left + width]
        like = (np.abs(part - colour) < 30).all(axis=-1)
        # The middle of the sides, where no label is: a line of the colour within 8 pixels.
        middle = (y_min + y_max) // 2
        assert like[middle : middle + 20, x_min - 8 : x_min].any()
        assert like[middle : middle + 20, x_max : x_max + 8].any()
        left += width + round(0.02 * height)


@pytest.mark.usefixtures("fake_base")
def test_one_photograph_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scikit-image is not installed."""
    hopper = demo.PHOTOGRAPHS[1]
    absent = ("eileen_collins.png", "no_such_package", "data/astronaut.png")
    monkeypatch.setattr(demo, "PHOTOGRAPHS", (absent, hopper))
    text = run_demo(str(tmp_path / "out"))
    assert read(tmp_path / "out" / "people.parquet")["path"].tolist() == ["grace_hopper.jpg"]
    assert "eileen" not in text
    with Image.open(tmp_path / "out" / "annotated.jpg") as picture:
        assert picture.width < picture.height


def test_no_photograph_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some distributions leave matplotlib's sample data out."""
    monkeypatch.setattr(demo, "PHOTOGRAPHS", (("a.jpg", "matplotlib", "no/such/file.jpg"),))
    with pytest.raises(AnnotateError, match="found no photograph"):
        run_demo(str(tmp_path / "out"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnnotateError, match=r"cannot write the demo to .*file': Not a directory"):
        run_demo(str(tmp_path / "file"))


@needs_base
def test_the_demo_with_the_bundled_model_and_the_readme(tmp_path: Path) -> None:
    """Plausible labels, and a README whose table and picture are the demo's."""
    run_demo(str(tmp_path / "out"))
    people = read(tmp_path / "out" / "people.parquet").set_index("path")
    assert (people["age_p10"] <= people["age"]).all()
    assert (people["age"] <= people["age_p90"]).all()
    assert (people["detection_score"] > 0.9).all()
    assert 55 < people.loc["grace_hopper.jpg", "age"] < 100  # she was 77
    shown = ROOT / "docs" / "demo.jpg"
    assert shown.stat().st_size < 300_000
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "](docs/demo.jpg)" in readme
    with Image.open(shown) as picture:
        comment = picture.info["comment"].decode()
    assert f"```text\n{comment}\n```" in readme
    if HAS_COLLINS:
        assert 15 < people.loc["eileen_collins.png", "age"] < 60  # she was 43
    for name, row in people.iterrows():
        line = next(line for line in comment.splitlines() if line.startswith(str(name)))
        cells = line.split()
        # path, 1, of, 1, age, low, to, high, gender, P(female), score, status, flags
        shown_ages = [int(cells[i]) for i in (4, 5, 7)]
        assert shown_ages == pytest.approx(row[["age", "age_p10", "age_p90"]].tolist(), abs=1), OLD
        assert cells[8] == row["gender"], OLD
        assert float(cells[9]) == pytest.approx(row["female_probability"], abs=0.02), OLD
        assert float(cells[10]) == pytest.approx(row["detection_score"], abs=0.005), OLD
