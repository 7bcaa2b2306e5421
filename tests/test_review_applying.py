"""Applying: corrections find their faces again, and change what they are about and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import annotate
from annotate.errors import AnnotateError
from annotate.records import COLUMNS, REVIEW_COLUMNS
from annotate.review.applying import apply_corrections, corrected
from annotate.review.corrections import FaceName, Line, Said
from annotate.review.faces import Faces, open_faces
from annotate.review.journal import Journal, journal_path
from annotate.review.placing import place
from annotate.rows import attributes_of
from annotate.writers import write_parquet
from tests.conftest import Invoke, one_line
from tests.hand_made import face_at, guess, no_face
from tests.reviews import BOXES, made_table, make_output, session_of

DIGEST = "ab" * 32


def line(number: int, box: Any, said: Said, undoes: int | None = None) -> Line:
    return Line(number, "now", FaceName(DIGEST, box, 0, "/f", "a.jpg"), said, undoes)


def moved(box: tuple[float, ...], by: float) -> tuple[float, ...]:
    return tuple(edge + by for edge in box)


def test_corrections_follow_their_faces_when_boxes_move_a_little() -> None:
    # Of 40 x 40 pixels. Moved by 2 they share 38 * 38 of 1,756: 0.82; by 0.5, 0.95; by 30, 0.03.
    said = Said("male", 44)
    lines = [line(1, BOXES[0], said), line(2, BOXES[1], Said(verdict="not_a_face"))]

    def placed(by: float) -> tuple[dict[int, Said], int]:
        rows = [face_at("a.jpg", i, moved(BOXES[i], by), sha256=DIGEST) for i in (1, 0)]
        found = place(Faces(made_table(no_face("n.jpg"), *rows)), lines)
        return dict(found.said), len(found.gone)

    assert placed(0) == ({2: said, 1: Said(verdict="not_a_face")}, 0)
    assert placed(0.5) == ({2: said, 1: Said(verdict="not_a_face")}, 0)
    # It is another box by now, of which nobody said that there is no face in it.
    assert placed(2) == ({2: said, 1: Said()}, 1)
    assert placed(30) == ({}, 2)


def test_corrections_of_other_bytes_are_gone_and_what_was_taken_back_is_not_told() -> None:
    lines = [
        line(1, BOXES[0], Said("male")),
        line(2, BOXES[1], Said("male")),
        line(3, BOXES[1], Said(), undoes=2),
        line(4, BOXES[2], Said(verdict="skip")),
    ]
    rows = [face_at("a.jpg", i, BOXES[i], sha256="cd" * 32) for i in range(3)]
    found = place(Faces(made_table(*rows)), lines)
    assert found.said == {}
    assert [gone.number for gone in found.gone] == [1]


def test_journals_that_were_put_together_lose_nothing() -> None:
    first = [line(1, BOXES[0], Said("male")), line(2, BOXES[0], Said("female"))]
    second = [
        line(1, BOXES[1], Said(None, 5)),
        line(2, BOXES[2], Said(None, 6)),
        line(3, BOXES[2], Said(), 2),
    ]
    rows = [face_at("a.jpg", i, BOXES[i], sha256=DIGEST) for i in range(3)]
    found = place(Faces(made_table(*rows)), [*first, *second])
    assert found.said == {0: Said("female"), 1: Said(None, 5)}


def test_a_face_without_a_box_is_known_by_its_number() -> None:
    bare = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"))
    rows = [face_at("a.jpg", i, BOXES[i], sha256=DIGEST, **bare) for i in range(2)]
    faces = Faces(made_table(*rows))
    assert faces.name(1) == FaceName(DIGEST, None, 1, "/f", "a.jpg")
    found = place(faces, [Line(1, "now", faces.name(1), Said("male"))])
    assert found.said == {1: Said("male")}


def photographs(*said: tuple[int, Said]) -> pd.DataFrame:
    """A photograph of three faces, one of one, one of none, a failure; what is left of them."""
    model = {"age_sd": 12.0, "age_p10": 20.0, "age_p90": 40.0, "minor_probability": 0.25}
    rows = [
        face_at("a.jpg", i, BOXES[i], age=30 + i, sha256=DIGEST, face_count=3,
                flags="blurred;uncertain", **model)
        for i in range(3)
    ]  # fmt: skip
    single = face_at(
        "b.jpg", 0, BOXES[0], sha256="cd" * 32, face_count=1, flags="uncertain", **model
    )
    broken = guess("d.jpg", None, None, status="decode_error", face_index=None, sha256="ef" * 32)
    faces = Faces(made_table(*rows, single, no_face("c.jpg"), broken))
    table = corrected(faces, dict(said))
    assert table.schema.names == [column.name for column in (*COLUMNS, *REVIEW_COLUMNS)]
    assert table.num_rows == faces.table.num_rows or table.num_rows < 6
    for name in ("source", "path", "sha256", "size_bytes", "modified_at", "width", "height"):
        kept = {(row["path"], row[name]) for row in faces.table.to_pylist()}
        assert {(row["path"], row[name]) for row in table.to_pylist()} == kept
    frame: pd.DataFrame = table.to_pandas()
    return frame


GIVEN = photographs()
EDGES = ["x_min", "y_min", "x_max", "y_max"]


def changed(before: pd.Series[Any], after: pd.Series[Any]) -> dict[str, Any]:
    """The cells that differ, None for a missing one."""
    cells = {
        name: (None if pd.isna(before[name]) else before[name], None if pd.isna(value) else value)
        for name, value in after.items()
    }
    return {str(name): new for name, (old, new) in cells.items() if new != old}


def test_without_corrections_only_the_source_of_labels_is_added() -> None:
    assert GIVEN["label_source"].tolist()[:4] == ["model"] * 4
    assert GIVEN["label_source"].isna().tolist() == [False] * 4 + [True] * 2
    assert GIVEN["labelled"].isna().all()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            Said("male"),
            {"gender": "male", "female_probability": None, "labelled": "gender"},
        ),
        (
            Said(None, 44),
            {"age": 44.0, "age_p10": None, "age_p90": None, "age_sd": None,
             "minor_probability": None, "flags": "blurred", "labelled": "age"},
        ),
        (
            Said("female", 0.5),
            {"age": 0.5, "age_p10": None, "age_p90": None, "age_sd": None,
             "minor_probability": None, "female_probability": None, "flags": "blurred",
             "labelled": "age;gender"},
        ),
        (
            Said(verdict="wrong_box"),
            {"age": None, "age_p10": None, "age_p90": None, "age_sd": None,
             "minor_probability": None, "gender": None, "female_probability": None, "flags": None,
             "x_min": None, "y_min": None, "x_max": None, "y_max": None, "detection_score": None},
        ),
        (
            Said("male", None, "wrong_box"),
            {"age": None, "age_p10": None, "age_p90": None, "age_sd": None,
             "minor_probability": None, "gender": "male", "female_probability": None,
             "flags": None, "labelled": "gender",
             "x_min": None, "y_min": None, "x_max": None, "y_max": None, "detection_score": None},
        ),
    ],
)  # fmt: skip
def test_what_a_person_says_takes_the_place_of_the_model(
    said: Said, expected: dict[str, Any]
) -> None:
    frame = photographs((1, said))
    assert changed(GIVEN.loc[1], frame.loc[1]) == expected | {"label_source": "person"}
    others = [0, 2, 3, 4, 5]
    pd.testing.assert_frame_equal(frame.loc[others], GIVEN.loc[others], check_categorical=False)


def test_skipped_faces_stay_the_models() -> None:
    pd.testing.assert_frame_equal(photographs((1, Said(verdict="skip"))), GIVEN)


def test_what_is_no_face_goes_and_the_others_are_numbered_anew() -> None:
    frame = photographs((0, Said(verdict="not_a_face")), (2, Said("male")))
    assert frame["path"].tolist() == ["a.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert frame["face_index"].tolist()[:3] == [0, 1, 0]
    assert frame["face_count"].tolist()[:3] == [2, 2, 1]
    assert frame["age"].tolist()[:2] == [31, 32]
    assert frame["x_min"].tolist()[:2] == [BOXES[1][0], BOXES[2][0]]
    assert frame["label_source"].tolist()[:2] == ["model", "person"]


def test_no_picture_loses_its_last_row() -> None:
    nothing = Said(verdict="not_a_face")
    frame = photographs((0, nothing), (1, nothing), (2, nothing), (3, nothing))
    assert frame["path"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert frame["status"].tolist() == ["no_face"] * 3 + ["decode_error"]
    assert frame["face_count"].tolist()[:3] == [0, 0, 0]
    empty = [
        "face_index",
        *EDGES,
        "detection_score",
        "age",
        "age_sd",
        "gender",
        "flags",
        "labelled",
    ]
    assert frame.loc[:1, empty].isna().all(axis=None)
    assert frame["label_source"].tolist()[:2] == ["person", "person"]


def test_an_output_that_tells_of_a_picture_twice() -> None:
    rows = [face_at("a.jpg", i, BOXES[i], sha256=DIGEST, face_count=2) for i in (0, 1, 0, 1)]
    faces = Faces(made_table(*rows))
    nothing = Said(verdict="not_a_face")
    one = corrected(faces, {0: nothing}).to_pandas()
    assert one[["face_index", "face_count"]].to_numpy().tolist() == [[0, 1], [0, 1]]
    none = corrected(faces, {0: nothing, 1: nothing}).to_pandas()
    assert none["status"].tolist() == ["no_face", "no_face"]


def test_a_second_review_keeps_what_the_first_one_said() -> None:
    first = corrected(
        Faces(made_table(face_at("a.jpg", 0, BOXES[0], sha256=DIGEST))), {0: Said("male")}
    )
    second = corrected(Faces(first), {0: Said(None, 40, "wrong_box")}).to_pylist()
    assert (second[0]["gender"], second[0]["age"], second[0]["labelled"]) == (
        "male",
        40,
        "age;gender",
    )
    assert second[0]["x_min"] is None
    untouched = corrected(Faces(first), {}).to_pylist()
    assert (untouched[0]["label_source"], untouched[0]["labelled"]) == ("person", "gender")


def test_a_label_source_of_a_report_is_no_earlier_review() -> None:
    """It says where labels came from, beside ages and genders that are a model's."""
    table = made_table(*(face_at("a.jpg", i, BOXES[i], sha256=DIGEST) for i in range(2)))
    report = table.append_column("label_source", pa.array(["utkface_name"] * 2))
    found = corrected(Faces(report), {0: Said("male")}).to_pylist()
    assert [row["label_source"] for row in found] == ["person", "model"]


def reviewed(tmp_path: Path, kind: str = "parquet") -> Path:
    """An output of three photographs, reviewed: a gender, an age, no face, a wrong box."""
    out = tmp_path / f"people.{kind}"
    table = make_output(tmp_path / "photos", {"a.png": 3, "b.png": 1, "c.png": 0}, out)
    session = session_of(table, out)
    session.say(0, {"verdict": "not_a_face"})
    session.say(1, {"gender": "male", "age": 44})
    session.say(2, {"verdict": "wrong_box"})
    session.say(3, {"age": 7.5})
    return out


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("new", ["new.parquet", "new.csv", "new.jsonl", "new"])
def test_every_format_holds_the_same(tmp_path: Path, kind: str, new: str) -> None:
    out = reviewed(tmp_path, kind)
    before = out.read_bytes(), journal_path(out).read_bytes()
    applied = apply_corrections(out, str(tmp_path / new))
    assert dict(applied.counts) == {"gender": 1, "age": 2, "wrong_box": 1, "not_a_face": 1}
    assert (out.read_bytes(), journal_path(out).read_bytes()) == before
    frame = annotate.read(tmp_path / new)
    assert frame["label_source"].tolist()[:3] == ["person"] * 3
    assert frame["labelled"].fillna("").tolist() == ["age;gender", "", "age", ""]
    assert frame["age"].isna().tolist() == [False, True, False, True]
    apply_corrections(out, str(tmp_path / "other.parquet"))
    expected = annotate.read(tmp_path / "other.parquet")
    pd.testing.assert_frame_equal(frame, expected, check_categorical=False)


def test_what_would_be_lost_is_refused(tmp_path: Path) -> None:
    out = reviewed(tmp_path)
    with pytest.raises(AnnotateError, match="is what is to be read"):
        apply_corrections(out, str(tmp_path / "photos" / ".." / "people.parquet"), overwrite=True)
    with pytest.raises(AnnotateError, match="is what is to be read"):
        apply_corrections(out, str(journal_path(out)), overwrite=True)
    target = tmp_path / "new.parquet"
    target.write_text("precious")
    with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
        apply_corrections(out, str(target))
    target.unlink()
    work = tmp_path / ".new.parquet.annotate"
    work.mkdir()
    with pytest.raises(AnnotateError, match="being made by annotate run"):
        apply_corrections(out, str(target))
    assert work.is_dir()
    journal_path(out).unlink()
    with pytest.raises(AnnotateError, match=r"no corrections in .*annotate review .* makes them"):
        apply_corrections(out, str(tmp_path / "other.parquet"))


def test_a_strangers_columns_stay_where_the_format_can_hold_them(tmp_path: Path) -> None:
    out = reviewed(tmp_path)
    table = open_faces(out).table
    mine = pa.array([[i] for i in range(table.num_rows)])
    write_parquet(table.append_column("mine", mine), out)
    apply_corrections(out, str(tmp_path / "new.parquet"))
    assert annotate.read(tmp_path / "new.parquet")["mine"].tolist() == [[1], [2], [3], [4]]
    with pytest.raises(AnnotateError, match="Parquet holds any column"):
        apply_corrections(out, str(tmp_path / "new.csv"))
    assert not (tmp_path / "new.csv").exists()


def test_an_update_does_not_take_it_for_the_output_of_a_run(
    invoke: Invoke, crop: list[str], tmp_path: Path
) -> None:
    make_output(tmp_path / "photos", {"a.png": 1, "b.png": 1}, tmp_path / "unused.parquet")
    out, new = str(tmp_path / "people.parquet"), str(tmp_path / "new.parquet")
    assert invoke("run", str(tmp_path / "photos"), "-o", out, *crop)[0] == 0
    session = session_of(open_faces(out).table, Path(out))
    session.say(0, {"gender": "male"})
    apply_corrections(out, new)
    assert attributes_of(open_faces(new).table.schema)["corrections"]["gender"] == 1
    code, _, err = invoke("run", str(tmp_path / "photos"), "-o", new, "--update", *crop)
    assert code == 1
    assert "corrections" in one_line(err)
    # The output itself is updated as ever, and its corrections are still there.
    (tmp_path / "photos" / "0.png").write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    assert invoke("run", str(tmp_path / "photos"), "-o", out, "--update", *crop)[0] == 0
    faces = open_faces(out)
    said = place(faces, Journal(journal_path(out)).lines).said
    assert [word.gender for word in said.values()] == ["male"]
    after = corrected(faces, said).to_pandas()
    assert after["path"].tolist() == ["0.png", "a.png", "b.png"]
    assert after["label_source"].tolist() == ["person", "person", "model"]


LABELS = {
    # The face nearest the centre of a.png, and what was said of it; the only one of b.png.
    "a.png": ("male", 44.0),
    "b.png": (None, 7.5),
}
