"""Labels of a reviewed output: what evaluation and training take from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.errors import AnnotateError
from annotate.labels import Label, LabelSet, read_label_table
from annotate.model import Model
from annotate.review.applying import apply_corrections, corrected
from annotate.review.corrections import Said
from annotate.review.faces import Faces
from annotate.reviewed import LabelledFace
from annotate.scoring import score
from annotate.writers import write_parquet
from tests.hand_made import face_at, guess, no_face
from tests.reviews import BOXES, made_table, make_output, session_of
from tests.test_review_applying import DIGEST, LABELS, moved, reviewed
from training.photographs import load_photographs


@pytest.mark.parametrize("new", ["new.parquet", "new.csv", "new.jsonl", "new"])
def test_the_result_is_a_table_of_labels(tmp_path: Path, new: str) -> None:
    apply_corrections(reviewed(tmp_path), str(tmp_path / new))
    found = read_label_table(tmp_path / new, ["a.png", "b.png", "c.png"])
    said = {path: (label.gender, label.age) for path, label in found.labels.items()}
    assert said == LABELS
    assert {fault.kind for fault in found.faults} == {"unlabelled"}
    face = found.labels["a.png"].face
    assert face is not None
    assert face.box == BOXES[1]
    # In other bytes, or in another place of the picture, it is another face.
    assert face.is_scored(face.sha256, moved(BOXES[1], 2))
    assert not face.is_scored(face.sha256, BOXES[0])
    assert not face.is_scored("00" * 32, BOXES[1])
    assert face.is_scored(None, None)


def test_a_models_word_is_never_a_label(tmp_path: Path) -> None:
    out = tmp_path / "people.parquet"
    table = make_output(tmp_path / "photos", {"a.png": 3, "b.png": 1}, out)
    session = session_of(table, out)
    session.say(0, {"gender": "male"})  # not the face nearest the centre
    session.say(3, {"gender": "male"})  # of which only the gender is a person's word
    apply_corrections(out, str(tmp_path / "new.parquet"))
    found = read_label_table(tmp_path / "new.parquet", ["a.png", "b.png"])
    assert {path: (label.gender, label.age) for path, label in found.labels.items()} == {
        "b.png": ("male", None)
    }


def test_pictures_of_one_path_below_two_sources_are_not_mixed_up(tmp_path: Path) -> None:
    rows = [
        guess("a.jpg", 30.0, 0.9, source=source, sha256=digest * 32)
        for source, digest in (("/p", "ab"), ("/q", "cd"))
    ]
    faces = Faces(made_table(*rows))
    write_parquet(corrected(faces, {0: Said("male"), 1: Said("male")}), tmp_path / "both.parquet")
    found = read_label_table(tmp_path / "both.parquet", ["a.jpg"])
    assert (found.labels, [fault.kind for fault in found.faults]) == ({}, ["duplicate_row"])
    write_parquet(corrected(faces, {1: Said("male")}), tmp_path / "one.parquet")
    label = read_label_table(tmp_path / "one.parquet", ["a.jpg"]).labels["a.jpg"]
    assert label.face is not None
    assert not label.face.is_scored("ab" * 32, None)


def test_evaluation_scores_the_faces_that_a_person_labelled(
    tmp_path: Path, fake_model: Model
) -> None:
    """Crops, labelled one by one: ages of the fake model against the person's."""
    folder = tmp_path / "crops"
    make_output(folder, {f"{i}.png": 1 for i in range(4)}, tmp_path / "unused.parquet")
    frame = annotate.run(folder, faces="crop", model=fake_model, workers=1)
    table = made_table(*frame.replace({np.nan: None}).to_dict("records"))  # type: ignore[arg-type]
    out = tmp_path / "people.parquet"
    write_parquet(table, out)
    session = session_of(table, out)
    ages = frame["age"].to_numpy()
    session.say(0, {"age": float(ages[0]) + 2, "gender": "male"})
    session.say(1, {"age": float(ages[1]) - 4})
    session.say(2, {"gender": "female"})
    apply_corrections(out, str(tmp_path / "new.csv"))
    (folder / "0.png").rename(folder / "moved.png")
    shutil.copy(folder / "moved.png", folder / "0.png")
    report = annotate.evaluate(
        folder, labels=tmp_path / "new.csv", model=fake_model, bootstrap=0, workers=1
    )
    found = report.to_dict()
    assert found["age"]["mae"]["value"] == pytest.approx(3, abs=1e-4)
    assert (found["age"]["mae"]["n"], found["gender"]["accuracy"]["n"]) == (2, 2)
    assert found["inputs"]["not_scored"] == {"unlabelled": 2}
    # Other bytes at a path that was labelled are another picture.
    shutil.copy(folder / "3.png", folder / "1.png")
    again = annotate.evaluate(
        folder, labels=tmp_path / "new.csv", model=fake_model, bootstrap=0, workers=1
    )
    assert again.to_dict()["inputs"]["not_scored"] == {"unlabelled": 2, "other_face": 1}


def test_a_label_of_another_face_is_not_scored() -> None:
    rows = [face_at(f"{i}.jpg", 0, BOXES[i], sha256=DIGEST) for i in range(3)]
    table = made_table(*rows, no_face("3.jpg", sha256=DIGEST))
    second = LabelledFace(DIGEST, BOXES[1])
    labels = {f"{i}.jpg": Label(age=20.0, face=second) for i in range(4)}
    scores = score(table, LabelSet(labels, (), "table"), resamples=0)
    assert scores.scored == 1
    assert scores.not_scored == {"other_face": 2, "no_face": 1}
    # A face that was not found is not another one: it counts among those that were not found.
    assert scores.faces is not None
    assert (scores.faces.searched, scores.faces.not_found) == (2, 1)


def test_training_takes_the_same_labels(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    if not portrait.is_file():
        pytest.skip("matplotlib is installed without its sample data")
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(portrait, folder)
    box = (165.0, 135.0, 362.0, 335.0)  # measured by hand
    digest = annotate.run(folder, faces="crop", model="nano", workers=1)["sha256"][0]
    row = face_at(
        "grace_hopper.jpg", 0, box, source=str(folder), sha256=digest, width=512, height=600
    )
    away = row | {"x_min": 0.0, "x_max": 60.0, "y_min": 500.0, "y_max": 560.0}
    said = {0: Said("female", 77)}
    write_parquet(corrected(Faces(made_table(row)), said), tmp_path / "new.parquet")
    found = load_photographs(folder, tmp_path / "new.parquet", 32)
    assert found.faces.ages.tolist() == [77]
    assert found.faces.female.tolist() == [1]
    write_parquet(corrected(Faces(made_table(away)), said), tmp_path / "away.parquet")
    with pytest.raises(AnnotateError, match="no face in any photograph"):
        load_photographs(folder, tmp_path / "away.parquet", 32)


@pytest.mark.parametrize(
    "data",
    [b"", b"label_source,labelled\n\xff", b"{", b"[" * 10_000, b"PAR1", b"\x00" * 100],
)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AnnotateError) as caught:
        read_label_table(tmp_path / name, ["a.jpg"])
    assert str(caught.value).isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(AnnotateError, match="no label table"):
        read_label_table(tmp_path / "labels.csv", ["a.jpg"])


def test_labels_of_other_tables_are_as_ever(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,age,label_source\na.jpg,30,model\n")
    found = read_label_table(tmp_path / "t.csv", ["a.jpg"])
    assert found.labels == {"a.jpg": Label(age=30.0)}
