"""Hints: what a run says where its pictures look like something else than it was told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.hints import Shape, hints, shape_of
from annotate.summary import Tally
from tests.conftest import Invoke, draw, one_line


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        (200, 200, Shape.CROP),  # UTKFace
        (250, 250, Shape.CROP),  # LFW
        (256, 256, Shape.CROP),
        (257, 257, Shape.EITHER),
        (512, 512, Shape.EITHER),
        (178, 218, Shape.EITHER),  # CelebA, aligned
        (1024, 1024, Shape.EITHER),  # FFHQ
        (300, 200, Shape.EITHER),
        (640, 480, Shape.PHOTOGRAPH),
        (480, 640, Shape.PHOTOGRAPH),
        (4000, 3000, Shape.PHOTOGRAPH),
        (3000, 3000, Shape.PHOTOGRAPH),
    ],
)
def test_shapes(width: int, height: int, shape: Shape) -> None:
    assert shape_of(width, height) is shape


def tally(*, crops: int = 0, photographs: int = 0, either: int = 0, **statuses: int) -> Tally:
    made = Tally()
    made.shapes.update(crop=crops, photograph=photographs, either=either)
    made.by_status.update(statuses)
    return made


def test_hints_are_given_where_most_pictures_look_so() -> None:
    assert list(hints(tally(crops=1, either=1, ok=2), "detect")) == []
    (said,) = hints(tally(crops=3, either=2, ok=5), "detect")
    assert said.startswith("3 of 5 pictures are square")
    assert "--faces crop" in said
    assert list(hints(tally(crops=5, ok=5), "crop")) == []
    (said,) = hints(tally(photographs=1, ok=1), "crop")
    assert said.startswith("1 of 1 picture are large or oblong") or "1 of 1 picture" in said
    assert "--faces detect" in said
    assert list(hints(tally(photographs=5, ok=5), "detect")) == []
    assert list(hints(tally(), "detect")) == []


def test_hints_where_nothing_could_be_labelled() -> None:
    (said,) = hints(tally(photographs=4, no_face=4), "detect")
    assert said.startswith("no face was found in 4 pictures: --detect-size auto")
    assert list(hints(tally(photographs=4, no_face=3, ok=1), "detect")) == []
    raw = tally(unsupported=3)
    raw.unsupported.update({".nef": 2, ".mov": 1})
    (said,) = hints(raw, "detect")
    assert "camera RAW or video" in said
    raw.by_status["ok"] += 1
    assert list(hints(raw, "detect")) == []
    raw.unsupported[".heic"] += 2
    raw.by_status["unsupported"] += 2
    (said,) = hints(raw, "detect")
    assert said.startswith("2 pictures in HEIC")
    assert "pip install 'annotate[heif]'" in said


def test_crops_that_are_read_as_photographs(
    invoke: Invoke, tmp_path: Path, fake_model_folder: Path
) -> None:
    for number in range(4):
        draw(tmp_path / "in" / f"{number}.png", (40 * number, 90, 90), (200, 200))
    arguments = ["run", str(tmp_path / "in"), "--model", str(fake_model_folder), "--workers", "1"]
    for target in ("x.parquet", "x.csv"):
        code, _, err = invoke(*arguments, "-o", str(tmp_path / target))
        assert code == 0
        assert err.splitlines()[-1].startswith("hint: 4 of 4 pictures are square")
    code, _, err = invoke(*arguments, "-o", "-")
    assert "hint: 4 of 4" in err
    assert invoke(*arguments, "-q", "-o", "-")[2] == ""


def test_photographs_that_are_read_as_crops(
    invoke: Invoke, tmp_path: Path, crop: list[str]
) -> None:
    for number in range(3):
        draw(tmp_path / "in" / f"{number}.jpg", (40 * number, 90, 90), (800, 600))
    code, _, err = invoke("run", str(tmp_path / "in"), "-o", str(tmp_path / "x.csv"), *crop)
    assert code == 0
    assert "hint: 3 of 3 pictures are large or oblong" in err.splitlines()[-1]
    # The same in an evaluation, which is about crops unless told otherwise.
    labels = tmp_path / "labels.csv"
    labels.write_text("path,age\n" + "".join(f"{number}.jpg,30\n" for number in range(3)))
    arguments = ["evaluate", str(tmp_path / "in"), "--labels", str(labels), "--bootstrap", "0"]
    code, out, err = invoke(*arguments, *crop)
    assert code == 0
    assert "hint: 3 of 3 pictures" in err
    assert "hint" not in out
    quiet = invoke(*arguments, *crop, "--quiet")
    assert (quiet[0], quiet[2]) == (0, "")
    assert quiet[1].splitlines()[0] == out.splitlines()[0]


def test_a_folder_of_raw_files(invoke: Invoke, tmp_path: Path, crop: list[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.nef", "b.MOV"):
        (tmp_path / "in" / name).write_bytes(b"x")
    code, _, err = invoke("run", str(tmp_path / "in"), "-o", str(tmp_path / "x.csv"), *crop)
    assert code == 0
    assert "hint: all inputs are camera RAW or video files" in err


def test_hints_outlive_an_interruption(tmp_path: Path) -> None:
    """The shapes of a part are in the journal, and one of an older version has none."""
    from annotate.journal import Committed
    from annotate.records import Cursor

    counted = tally(crops=2, photographs=1, ok=3)
    line = Committed("part", 1, Cursor(), counted, counted.unsupported).line()
    assert Committed.of(json.loads(json.dumps(line))).tally.shapes == counted.shapes
    del line["shapes"]
    assert sum(Committed.of(line).tally.shapes.values()) == 0


def test_an_empty_folder_is_told_in_words(invoke: Invoke, tmp_path: Path, crop: list[str]) -> None:
    (tmp_path / "in").mkdir()
    code, _, err = invoke("run", str(tmp_path / "in"), "-o", "-", *crop)
    assert code == 1
    assert "(nothing is there)" in one_line(err)
    assert "expected files with the names of images" in err
    (tmp_path / "in" / "notes.txt").touch()
    code, _, err = invoke("run", str(tmp_path / "in"), "-o", "-", *crop)
    assert "(passed over: not an image 1)" in one_line(err)
