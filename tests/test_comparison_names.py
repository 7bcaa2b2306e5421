"""Comparison: which inputs and faces are named, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate import Comparison
from annotate.report.comparison_text import where
from tests.compared_outputs import BOX, OTHER, compared
from tests.compared_outputs import moved as moved
from tests.hand_made import face_at, no_face


def test_what_came_and_went_is_named(tmp_path: Path, moved: Comparison) -> None:
    found = moved.to_dict()
    paths = {
        kind: [(row["path_a"], row["path_b"]) for row in found[kind]]
        for kind in ("new_inputs", "vanished_inputs", "rewritten_inputs", "changed_statuses")
    }
    assert paths == {
        "new_inputs": [(None, "fresh.jpg")],
        "vanished_inputs": [("gone.jpg", None)],
        "rewritten_inputs": [("edited.jpg", "edited.jpg")],
        "changed_statuses": [("wall.jpg", "wall.jpg"), ("broken.jpg", "broken.jpg")],
    }
    (gone,) = found["gone_faces"]
    assert (gone["path_a"], gone["face_index_a"], gone["age_a"]) == ("party.jpg", 1, 40)
    assert [(row["path_b"], row["age_b"]) for row in found["new_faces"]] == [
        ("wall.jpg", 9),
        ("broken.jpg", 44),
    ]
    text = moved.render()
    for block in (
        "inputs new in B 1\n  fresh.jpg\n\n",
        "inputs vanished from A 1\n  gone.jpg\n\n",
        "inputs rewritten 1\n  edited.jpg\n\n",
        "  wall.jpg: no_face -> ok\n  broken.jpg: decode_error -> ok\n\n",
        "faces gone from A 1\n  party.jpg, face 2 in A: 40 years, female\n\n",
    ):
        assert block in text


def test_names_are_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    b = [no_face(f"{i:03}.jpg") for i in range(14)] + [no_face("same.jpg")]
    found = compared(tmp_path, [no_face("same.jpg")], b)
    assert "  009.jpg: no_face\n  … and 4 more" in found.render()
    assert [row["path_b"] for row in found.inputs_of("new", 2)] == ["000.jpg", "001.jpg"]
    with pytest.raises(ValueError, match="expected one of"):
        found.inputs_of("fresh")


def test_a_rewritten_input_may_have_another_status(tmp_path: Path) -> None:
    a = [no_face("edited.jpg"), no_face("same.jpg")]
    b = [no_face("edited.jpg", status="decode_error", sha256="0" * 64), no_face("same.jpg")]
    found = compared(tmp_path, a, b)
    assert found.status_changes == {}
    assert found.rewritten_status_changes == {("no_face", "decode_error"): 1}
    assert found.to_dict()["rewritten_statuses"] == [
        {"a": "no_face", "b": "decode_error", "inputs": 1}
    ]
    assert "  no_face -> decode_error 1, rewritten" in found.render()
    assert "  edited.jpg: no_face -> decode_error" in found.render()


@pytest.mark.parametrize(
    ("index", "count", "said"),
    [
        (0, 1, "p.jpg"),
        (0, None, "p.jpg"),
        (0, 5, "p.jpg, face 1 of 5 in B"),
        (16, 29, "p.jpg, face 17 of 29 in B"),
        (1, None, "p.jpg, face 2 in B"),
    ],
)
def test_a_face_is_named_by_its_place_among_those_of_its_output(
    tmp_path: Path, index: int, count: int | None, said: str
) -> None:
    # In A the same face has another number.
    a = [face_at("p.jpg", 3, BOX, age=30, face_count=7)]
    b = [face_at("p.jpg", index, BOX, age=50, face_count=count)]
    found = compared(tmp_path, a, b)
    assert where(found.largest_shifts()[0]) == said
    assert f"  +20.0  30.0 -> 50.0  {said}\n" in found.render() + "\n"


def test_what_only_a_has_is_named_as_a_does(tmp_path: Path) -> None:
    a = [
        face_at("old/p.jpg", i, box, face_count=2, sha256="1") for i, box in enumerate((BOX, OTHER))
    ]
    found = compared(tmp_path, a, [face_at("p.jpg", 0, BOX, face_count=1, sha256="1")])
    assert where(found.faces_of("gone")[0]) == "old/p.jpg, face 2 of 2 in A"
