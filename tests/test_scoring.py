"""Scoring: rows and labels to figures, and what is not scored with its reason; figures by hand."""

from __future__ import annotations

import hashlib

import pytest

from annotate.labels import Fault, Label, LabelSet
from annotate.scoring import Scores, score
from tests.hand_made import guess, table_of


def labelled(*faults: Fault, **labels: Label) -> LabelSet:
    return LabelSet(labels, faults)


def accounted(scores: Scores) -> bool:
    return scores.scored + sum(scores.not_scored.values()) == scores.inputs


def test_in_detect_mode_the_face_nearest_the_centre_is_scored() -> None:
    left = {"face_index": 0, "x_min": 0, "x_max": 20, "y_min": 40, "y_max": 60}
    middle = {"face_index": 1, "x_min": 45, "x_max": 65, "y_min": 40, "y_max": 60}
    right = {"face_index": 2, "x_min": 80, "x_max": 99, "y_min": 40, "y_max": 60}
    table = table_of(
        guess("a.jpg", 70, 0.1, **left),
        guess("a.jpg", 31, 0.9, **middle),
        guess("a.jpg", 5, 0.2, **right),
        {"path": "b.jpg", "status": "no_face", "face_index": None, "x_min": None},
    )
    people = {"a.jpg": Label(30.0, "female"), "b.jpg": Label(50.0, "male")}
    scores = score(table, labelled(**people))
    assert scores.overall.age.mae.value == pytest.approx(1.0)
    assert scores.overall.age.mae.n == 1
    assert dict(scores.not_scored) == {"no_face": 1}
    assert (scores.inputs, dict(scores.by_status)) == (2, {"ok": 1, "no_face": 1})
    # A mean over the labelled rows is the report's figure, and the label of b.jpg is kept.
    assert scores.table.column("label_age").to_pylist() == [None, 30.0, None, 50.0]


def test_every_input_is_scored_or_counted_with_its_reason() -> None:
    table = table_of(
        guess("ok", 30, 0.9),
        guess("bad_name", 30, 0.9),
        guess("bad_cell", 30, 0.9),
        guess("silent", 30, 0.9),
        guess("no_number", float("nan"), None),
        guess("broken", None, None, status="decode_error"),
        guess("age_only", 25, 0.3),
    )
    labels = labelled(
        Fault("malformed_name", "bad_name", ""),
        Fault("invalid_value", "bad_cell", ""),
        ok=Label(30.0, "female", "Asian"),
        no_number=Label(30.0, "female"),
        broken=Label(30.0, "female"),
        age_only=Label(20.0),
        silent=Label(race="Asian"),
    )
    scores = score(table, labels)
    assert dict(scores.not_scored) == {
        "malformed_name": 1,
        "invalid_value": 1,
        "no_label": 1,
        "no_prediction": 1,
        "decode_error": 1,
    }
    assert accounted(scores)
    assert scores.labelled == {"age": 2, "gender": 1, "race": 1}
    assert scores.overall.age.mae.value == pytest.approx(2.5)
    assert scores.overall.gender.accuracy.n == 1


def test_identical_files_are_counted_and_their_conflicts_listed() -> None:
    same, other = {"sha256": "a" * 64}, {"sha256": "b" * 64}
    table = table_of(
        guess("p", 30, 0.9, **same),
        guess("q", 30, 0.9, **same),
        guess("r", 30, 0.9, **same),
        guess("s", 30, 0.9, **other),
        guess("t", 30, 0.9, **other),
        guess("u", 30, 0.9),
    )
    female = {name: Label(30.0, "female") for name in "stu"}
    labels = labelled(p=Label(30.0, "female"), q=Label(33.0, "male"), r=Label(33.0), **female)
    scores = score(table, labels)
    found = scores.duplicates
    assert (found.groups, found.files) == (2, 5)
    assert (found.age_conflicts, found.gender_conflicts, found.race_conflicts) == (1, 1, 0)
    assert [(f.kind, f.path, f.detail) for f in scores.faults] == [
        ("label_conflict", "p", "age 30 / 33, gender female / male; same bytes as q; r")
    ]
    assert scores.scored == 6


def test_images_of_the_training_are_counted_and_set_apart() -> None:
    table = table_of(*[guess(name, 30, 0.9) for name in "abcd"])
    labels = labelled(a=Label(30.0), b=Label(40.0), c=Label(50.0), d=Label(60.0))
    digits = {name: hashlib.sha256(name.encode()).hexdigest()[:16] for name in "abcd"}
    parts = {
        digits["a"]: "train",
        digits["b"]: "train",
        digits["c"]: "validation",
        "f" * 16: "train",
    }
    scores = score(table, labels, parts=parts)
    assert scores.training.known
    assert (scores.training.train, scores.training.validation) == (2, 1)
    assert scores.overall.age.mae.value == pytest.approx(15.0)
    assert scores.not_trained_on is not None
    assert scores.not_trained_on.n == 2
    assert scores.not_trained_on.age.mae.value == pytest.approx(25.0)
    everything = score(table, labels, parts=dict.fromkeys(digits.values(), "train"))
    assert (everything.training.train, everything.not_trained_on) == (4, None)
    unknown = score(table, labels)
    assert (unknown.training.known, unknown.not_trained_on) == (False, None)
