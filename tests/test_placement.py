"""Placement of labels: inside the picture, beside their faces, off everything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.report.placement import Placement, place

WIDTH, HEIGHT = 120, 90


def placed(sizes: list[tuple[float, float]], boxes: list[tuple[float, ...]]) -> Placement:
    """Labels in a picture of 120 x 90."""
    return place(np.array(sizes, float), np.array(boxes, float), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("box", "spot"),
    [
        ((40, 40, 60, 60), (40, 30, 70, 40)),  # above, left edges level
        ((40, 5, 60, 25), (40, 25, 70, 35)),  # no room above: below
        ((95, 40, 115, 60), (90, 30, 120, 40)),  # little room to the right: centred
        ((100, 40, 118, 60), (88, 30, 118, 40)),  # less: right edges level
        ((40, 2, 60, 88), (60, 2, 90, 12)),  # neither above nor below: beside
        ((0, 0, 120, 90), (0, 80, 30, 90)),  # the whole picture: inside, at the bottom
    ],
)
def test_a_lone_face(box: tuple[float, ...], spot: tuple[float, ...]) -> None:
    found = placed([(30, 10)], [box])
    assert found.rectangles.tolist() == [list(spot)]
    assert found.is_free == (found.crowding[0] == 0)
    assert found.is_free


def test_neighbours_make_room_for_each_other() -> None:
    """Two faces side by side whose labels would meet above: one label goes elsewhere."""
    found = placed([(30, 10), (30, 10)], [(40, 40, 60, 60), (62, 40, 82, 60)])
    first, second = found.rectangles
    assert found.is_free
    assert first[2] <= second[0] or second[2] <= first[0] or first[1] != second[1]


def test_a_label_keeps_off_the_face_above() -> None:
    boxes = [(40, 10, 60, 30), (40, 32, 60, 52)]
    found = placed([(20, 10), (20, 10)], boxes)
    assert found.is_free
    assert found.rectangles[1].tolist() != [40, 22, 60, 32]


def test_no_room_at_all_is_said() -> None:
    found = placed([(30, 10)] * 40, [(40, 40, 60, 60)] * 40)
    assert not found.is_free
    too_large = placed([(WIDTH * 2, 10)], [(40, 40, 60, 60)])
    assert too_large.rectangles[0, 0] == 0
    assert too_large.crowding[0] == pytest.approx(0.5)  # half of it is outside


def test_no_faces() -> None:
    found = place(np.empty((0, 2)), np.empty((0, 4)), WIDTH, HEIGHT)
    assert found.rectangles.shape == (0, 4)
    assert found.is_free


whole = st.integers
faces = st.tuples(whole(0, 100), whole(0, 70), whole(4, 20), whole(4, 20))
labels = st.tuples(whole(1, 40), whole(1, 15))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(faces, labels), min_size=1, max_size=8))
def test_labels_lie_in_the_picture_beside_their_faces(
    drawn: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    boxes = np.array([(x, y, x + w, y + h) for (x, y, w, h), _ in drawn], float)
    sizes = np.array([size for _, size in drawn], float)
    found = place(sizes, boxes, WIDTH, HEIGHT)
    spots = found.rectangles
    assert (spots[:, :2] >= 0).all()
    assert (spots[:, 2:] <= (WIDTH, HEIGHT)).all()
    assert (spots[:, 2:] - spots[:, :2] == sizes).all()
    # Touching or overlapping: no gap between a label and its own face.
    assert (spots[:, :2] <= boxes[:, 2:]).all()
    assert (spots[:, 2:] >= boxes[:, :2]).all()
    again = place(sizes, boxes, WIDTH, HEIGHT)
    assert (again.rectangles == spots).all()
    assert found.crowding == pytest.approx(counted(spots, boxes), abs=1e-9)


def counted(spots: np.ndarray, boxes: np.ndarray) -> list[float]:
    """The share of each label on what belongs to others, by painting them, twice as fine because
    centred labels lie on half pixels.
    """
    shares = []
    for i, label in enumerate(spots):
        hits = 0
        for thing in [*np.delete(spots, i, 0), *np.delete(boxes, i, 0)]:
            hits += int((painted(label) & painted(thing)).sum())
        shares.append(hits / painted(label).sum())
    return shares


def painted(rectangle: np.ndarray) -> np.ndarray:
    canvas = np.zeros((2 * HEIGHT, 2 * WIDTH), bool)
    left, top, right, bottom = (2 * rectangle).astype(int)
    canvas[top:bottom, left:right] = True
    return canvas
