"""Matching: which inputs and which faces of two outputs are the same, against plain loops."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from annotate.errors import AnnotateError
from annotate.joining import typed
from annotate.matching import MAX_FACES, MIN_IOU, Found, Matches, match, overlap, partners
from tests.hand_made import face_at, guess, no_face, table_of

Row = dict[str, Any]
BOX = (10.0, 10.0, 50.0, 50.0)


def matched(a: list[Row], b: list[Row]) -> Matches:
    return match(typed(table_of(*a)), typed(table_of(*b)))


def input_pairs(a: list[Row], b: list[Row]) -> list[tuple[str, str, str]]:
    """(place in A, place in B, how it was found) of the inputs that belong together."""
    found = matched(a, b)
    return [
        (
            f"{a[found.a.first[i]]['source']}/{a[found.a.first[i]]['path']}",
            f"{b[found.b.first[j]]['source']}/{b[found.b.first[j]]['path']}",
            Found(how).name,
        )
        for i, j, how in zip(found.input_a, found.input_b, found.found, strict=True)
    ]


def one(source: str, path: str, content: str | None) -> Row:
    return guess(path, 30, 0.9, source=source, sha256=content)


def test_an_input_is_found_by_its_content_wherever_it_lies() -> None:
    a = [one("/old", "a.jpg", "1"), one("/old", "b.jpg", "2"), one("/old", "c.jpg", "3")]
    b = [one("/new", "x/c.jpg", "3"), one("/new", "a.jpg", "2"), one("/new", "new.jpg", "4")]
    assert input_pairs(a, b) == [
        ("/old/c.jpg", "/new/x/c.jpg", "CONTENT"),
        ("/old/b.jpg", "/new/a.jpg", "CONTENT"),
    ]


def test_copies_find_their_place_then_their_path_then_their_order() -> None:
    a = [one("/f", f"{name}.jpg", "1") for name in "abcd"]
    b = [
        one("/f", "z.jpg", "1"),
        one("/g", "c.jpg", "1"),
        one("/f", "b.jpg", "1"),
        one("/f", "y.jpg", "1"),
        one("/f", "x.jpg", "1"),
    ]
    assert input_pairs(a, b) == [
        ("/f/a.jpg", "/f/z.jpg", "CONTENT"),
        ("/f/c.jpg", "/g/c.jpg", "CONTENT"),
        ("/f/b.jpg", "/f/b.jpg", "CONTENT"),
        ("/f/d.jpg", "/f/y.jpg", "CONTENT"),
    ]


def test_where_bytes_are_not_known_or_differ_the_place_decides() -> None:
    a = [one("/f", "raw.nef", None), one("/f", "locked.jpg", None), one("/f", "edited.jpg", "1")]
    b = [one("/f", "locked.jpg", "7"), one("/f", "edited.jpg", "2"), one("/f", "raw.nef", None)]
    assert input_pairs(a, b) == [
        ("/f/locked.jpg", "/f/locked.jpg", "PATH"),
        ("/f/edited.jpg", "/f/edited.jpg", "REWRITTEN"),
        ("/f/raw.nef", "/f/raw.nef", "PATH"),
    ]


def test_a_path_alone_tells_only_where_each_output_has_it_once() -> None:
    a = [one("/old/x", "1.jpg", None), one("/old/y", "1.jpg", None), one("/old/x", "2.jpg", None)]
    b = [one("/new/x", "1.jpg", None), one("/new/y", "1.jpg", None), one("/new/x", "2.jpg", None)]
    assert input_pairs(a, b) == [("/old/x/2.jpg", "/new/x/2.jpg", "PATH")]


def test_a_file_that_moved_over_another_one_is_not_that_one() -> None:
    a = [one("/f", "a.jpg", "1"), one("/f", "b.jpg", "2")]
    b = [one("/f", "a.jpg", "9"), one("/f", "b.jpg", "1")]
    assert input_pairs(a, b) == [("/f/a.jpg", "/f/b.jpg", "CONTENT")]


def test_an_output_that_tells_of_an_input_twice_has_two_inputs() -> None:
    twice = [face_at("a.jpg", i, BOX) for i in (0, 1)] + [
        face_at("a.jpg", i, BOX) for i in (0, 1, 2)
    ]
    found = matched(twice, twice)
    assert found.a.of_row.tolist() == [0, 0, 1, 1, 1]
    assert len(found.input_a) == 2


def test_rows_of_inputs_may_be_mixed() -> None:
    a = [face_at(path, i, (60.0 * i, 0, 60.0 * i + 40, 40)) for i in (0, 1) for path in ("p", "q")]
    b = [a[3], a[0], a[2], a[1]]
    found = matched(a, b)
    assert sorted(zip(found.face_a.tolist(), found.face_b.tolist(), strict=True)) == [
        (0, 1),
        (1, 3),
        (2, 2),
        (3, 0),
    ]


def faces_of(found: Matches) -> list[tuple[int, int, float]]:
    pairs = zip(found.face_a.tolist(), found.face_b.tolist(), found.iou.tolist(), strict=True)
    return [(i, j, round(iou, 6)) for i, j, iou in pairs]


def test_faces_are_told_by_their_boxes() -> None:
    a = [face_at("p", 0, (0, 0, 100, 100)), face_at("p", 1, (200, 0, 300, 100))]
    b = [
        face_at("p", 0, (500, 500, 600, 600)),
        face_at("p", 1, (200, 0, 300, 50)),  # half of it
        face_at("p", 2, (0, 0, 100, 100)),
    ]
    assert faces_of(matched(a, b)) == [(1, 1, 0.5), (0, 2, 1.0)]


def test_faces_of_rewritten_inputs_and_of_other_inputs_are_not_compared() -> None:
    a = [face_at("p", 0, BOX, sha256="1"), face_at("q", 0, BOX, sha256="2"), no_face("r")]
    b = [face_at("p", 0, BOX, sha256="9"), face_at("s", 0, BOX, sha256="3"), face_at("r", 0, BOX)]
    assert faces_of(matched(a, b)) == []


def test_boxes_that_hardly_overlap_are_two_faces() -> None:
    low, high = (face_at("p", 0, (0, 0, width, 10)) for width in (MIN_IOU * 100 - 1, 100))
    assert faces_of(matched([low], [high])) == []
    just = face_at("p", 0, (0, 0, MIN_IOU * 100, 10))
    assert faces_of(matched([just], [high])) == [(0, 0, MIN_IOU)]


def test_faces_without_boxes_keep_their_order() -> None:
    nothing = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"))
    rows = [guess("p", 30, 0.9, face_index=i, **nothing) for i in range(2)]
    found = matched(rows, rows)
    assert found.face_b.tolist() == [0, 1]
    assert np.isnan(found.iou).all()


def plain_overlap(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return width * height / (sum(areas) - width * height)


def greedy(a: list[Row], b: list[Row]) -> set[tuple[int, int]]:
    """The pairs of a plain loop over all faces of the same path, most overlap first."""
    edges = ("x_min", "y_min", "x_max", "y_max")
    candidates = sorted(
        (-plain_overlap(tuple(p[e] for e in edges), tuple(q[e] for e in edges)), i, j)
        for i, p in enumerate(a)
        for j, q in enumerate(b)
        if p["path"] == q["path"]
    )
    pairs: set[tuple[int, int]] = set()
    for overlapping, i, j in candidates:
        is_free = all(i != k and j != m for k, m in pairs)
        if -overlapping >= MIN_IOU and is_free:
            pairs.add((i, j))
    return pairs


@pytest.mark.parametrize("seed", range(8))
def test_crowds_are_matched_as_a_plain_loop_does(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.matching._PAIRS_AT_ONCE", 40)
    chance = random.Random(seed)

    def crowd(shift: int) -> list[Row]:
        found = []
        for path in "pqrst":
            for index in range(chance.randrange(1, 9)):
                x, y = chance.randrange(60), chance.randrange(60)
                box = (x, y, x + 20 + chance.randrange(shift), y + 20)
                found.append(face_at(path, index, box))
        return found

    a, b = crowd(9), crowd(5)
    found = matched(a, b)
    assert set(zip(found.face_a.tolist(), found.face_b.tolist(), strict=True)) == greedy(a, b)


def test_more_faces_than_annotate_finds_are_no_output_of_it() -> None:
    crowd = [face_at("p", index, (index, 0, index + 1, 1)) for index in range(MAX_FACES + 1)]
    with pytest.raises(AnnotateError, match="2,001 faces"):
        matched(crowd, crowd[:1])


def test_overlaps_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 10]], float)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 10]], float)
    assert overlap(boxes, others)[:3].tolist() == [1.0, 1 / 3, 0.0]
    assert np.isnan(overlap(boxes, others)[3])


def test_keys_are_paired_in_their_order() -> None:
    a, b = np.array([5, 7, 5, -1, 5]), np.array([-1, 5, 5, 9, 7])
    at_a, at_b = partners(a, b)
    assert list(zip(at_a.tolist(), at_b.tolist(), strict=True)) == [(0, 1), (2, 2), (1, 4)]
