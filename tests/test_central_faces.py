"""Central faces: the choice by hand and by exact fractions, and what is counted beside it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.central_faces import FaceCounts, standing_rows
from annotate.labels import Label, LabelSet
from annotate.scoring import score
from tests.hand_made import face_at, guess, no_face, table_of

WIDE = {"width": 200, "height": 100}


def chosen(*rows: dict[str, Any]) -> list[int]:
    return standing_rows(table_of(*rows)).rows.tolist()


def test_distance_is_a_share_of_the_pictures_sides() -> None:
    # From (100, 50): 30 of 200 px to the right is 0.15, 25 of 100 px down is 0.25, though nearer.
    right = face_at("a", 0, (120, 40, 140, 60), **WIDE)
    below = face_at("a", 1, (90, 65, 110, 85), **WIDE)
    assert chosen(right, below) == [0]
    assert chosen(below, right) == [1]


def test_of_equally_near_faces_the_larger_then_the_first_stands() -> None:
    left = face_at("a", 0, (60, 40, 80, 60), **WIDE)
    right = face_at("a", 1, (120, 40, 140, 60), **WIDE)
    larger = face_at("a", 2, (120, 38, 140, 62), **WIDE)
    assert chosen(left, right, larger) == [2]
    assert chosen(left, right) == [0]
    assert chosen(right, left) == [1]


def test_inputs_keep_the_order_of_their_first_rows() -> None:
    rows = (
        face_at("b", 1, (0, 0, 10, 10)),
        no_face("c"),
        face_at("a", 0, (45, 45, 55, 55)),
        face_at("b", 0, (40, 40, 60, 60)),
        guess("d", None, None, status="decode_error", x_min=None),
    )
    standing = standing_rows(table_of(*rows))
    assert standing.rows.tolist() == [3, 1, 2, 4]
    assert standing.faces.tolist() == [2, 0, 1, 0]


def test_a_strangers_boxes_never_end_the_choice() -> None:
    nan, inf = float("nan"), float("inf")
    odd = [
        face_at("a", 0, (nan, 0, 10, 10)),
        face_at("a", 1, (-inf, 0, inf, 10)),
        face_at("a", 2, (3e38, 3e38, 3e38, 3e38)),
        face_at("a", 3, (45, 45, 55, 55), width=0, height=0),
        face_at("a", 4, (45, 45, 55, 55), width=None),
    ]
    far = face_at("a", 5, (0, 0, 1, 1))
    assert chosen(*odd, far) == [5]
    # Of the last two as much is known, but for a distance.
    assert chosen(*odd[:2], *odd[3:]) == [2]


SIDE = 128
side = st.integers(0, SIDE)
box = st.tuples(side, side, side, side)


@settings(max_examples=200, deadline=None)
@given(st.lists(box, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_choice_is_that_of_exact_fractions_in_any_order(
    boxes: list[tuple[int, int, int, int]], random: Any
) -> None:
    def rank(index: int) -> tuple[Fraction, int, int]:
        x_min, y_min, x_max, y_max = boxes[index]
        across = Fraction(x_min + x_max, 2 * SIDE) - Fraction(1, 2)
        down = Fraction(y_min + y_max, 4 * SIDE) - Fraction(1, 2)
        return across**2 + down**2, -(x_max - x_min) * (y_max - y_min), index

    size = {"width": SIDE, "height": 2 * SIDE}
    rows = [face_at("a", index, values, **size) for index, values in enumerate(boxes)]
    random.shuffle(rows)
    (row,) = chosen(*rows)
    assert rows[row]["face_index"] == min(range(len(boxes)), key=rank)


PHOTOGRAPHS = (
    face_at("one", 0, (40, 40, 60, 60), age=33),
    face_at("three", 0, (0, 40, 20, 60), age=70),
    face_at("three", 1, (35, 40, 55, 60), age=44),
    face_at("three", 2, (80, 40, 99, 60), age=10),
    no_face("empty", width=640, height=480),
    no_face("nobody asked"),
    face_at("two unlabelled", 0, (0, 0, 10, 10)),
    face_at("two unlabelled", 1, (40, 40, 60, 60)),
    guess("broken", None, None, status="decode_error", face_index=None, x_min=None),
)
"""Labelled are "one", "three", "empty" and "broken"; the last was never searched."""

LABELS = {
    "one": Label(30.0, "female"),
    "three": Label(40.0, "male", "Asian"),
    "empty": Label(50.0),
    "broken": Label(60.0),
    "nobody asked": Label(race="Asian"),
}


def test_what_was_found_in_labelled_photographs_is_counted() -> None:
    scores = score(table_of(*PHOTOGRAPHS), LabelSet(LABELS))
    assert scores.faces == FaceCounts(searched=3, not_found=1, several=1, passed_over=2)
    assert scores.scored == 2
    assert dict(scores.not_scored) == {"no_face": 2, "no_label": 1, "decode_error": 1}
    assert scores.inputs == 6
    # 33 against 30 and 44 against 40; both are said to be female.
    assert scores.overall.age.mae.value == pytest.approx(3.5)
    assert scores.overall.gender.accuracy.value == 0.5
    assert [(f.kind, f.path, f.detail) for f in scores.faults] == [
        ("decode_error", "broken", "no error was noted"),
        ("no_face", "empty", "no face found in 640 x 480 px"),
    ]


def test_slices_are_over_the_scored_faces() -> None:
    slices = score(table_of(*PHOTOGRAPHS), LabelSet(LABELS)).slices
    bands = {part.where["age_band"]: part.age.mae.value for part in slices["age_band"]}
    assert bands == {"30-39": pytest.approx(3.0), "40-49": pytest.approx(4.0)}
    assert [(part.where, part.n) for part in slices["race"]] == [({"race": "Asian"}, 1)]


def test_all_rows_stay_and_the_scored_ones_are_marked() -> None:
    table = score(table_of(*PHOTOGRAPHS), LabelSet(LABELS)).table
    marks = table.column("scored").to_pylist()
    assert marks == [True, False, True, False, False, False, False, False, False]
    frame = table.to_pandas()
    assert frame["scored"].dtype == np.bool_
    # The analyst's figure is the report's.
    scored = frame[frame["scored"]]
    assert (scored["age"] - scored["label_age"]).abs().mean() == pytest.approx(3.5)
    assert frame["label_age"].dropna().tolist() == [30.0, 40.0, 50.0, 60.0]


def test_only_a_face_is_scored_whatever_a_strangers_row_says() -> None:
    rows = (face_at("a", 0, (0, 0, 9, 9), age=30), no_face("b") | {"age": 20.0})
    scores = score(table_of(*rows), LabelSet({"a": Label(30.0), "b": Label(90.0)}))
    assert scores.overall.age.mae.value == 0.0
    assert scores.faces == FaceCounts(2, 1, 0, 0)


def test_crops_were_not_searched() -> None:
    assert score(table_of(guess("a", 30, 0.9)), LabelSet({"a": Label(30.0)})).faces is None
