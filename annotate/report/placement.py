"""Placement: the sizes of labels and the boxes of their faces in, a free spot for each label out.

Pure geometry in pixels; a rectangle is (left, top, right, bottom).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SWEEPS = 8
"""How often every label may move again after the others did; few pictures need more than three."""

_IN_THE_WAY = 4.0
"""What a label wholly on another label or on another's face costs; on its own face it costs 1."""

_PUSHED = 0.5
"""What being pushed back into the picture by its own size costs a label."""

_SECOND_CHOICE = 0.01
"""What each step down the list of spots costs."""

_CROWDED = 0.01
"""The share of a label that may lie on what belongs to another: less is not seen."""


@dataclass(frozen=True)
class Placement:
    """Where N labels go. rectangles: (N, 4). crowding: (N,), the share of each label that lies on
    other labels, on other faces, or outside the picture; more than 1 where these pile up.
    """

    rectangles: Floats
    crowding: Floats

    @property
    def is_free(self) -> bool:
        """Whether no label hides anything that belongs to another."""
        return not (self.crowding > _CROWDED).any()


def place(sizes: Floats, boxes: Floats, width: int, height: int, *, room: float = 0.0) -> Placement:
    """Put each label beside its face: within the picture, off other faces and off other labels.

    sizes: (N, 2), width and height of the labels. boxes: (N, 4) of their faces. room: pixels that
    a label keeps from other faces where it can, so that nobody takes it for theirs.
    Where there is no free spot, as little as can be is hidden. The same input gives the same spots.
    """
    limits = np.array([width, height], np.float64)
    spots, costs = _spots(sizes, boxes, limits)
    reach = np.concatenate([spots[..., :2].min(axis=1), spots[..., 2:].max(axis=1)], axis=1)
    grown = boxes + np.array([-room, -room, room, room])
    # A label meets few of the others, whatever their number: only those are looked at.
    faces_near = [_others(_touching(area, grown), i) for i, area in enumerate(reach)]
    labels_near = [_others(_touching(area, reach), i) for i, area in enumerate(reach)]
    for i, near in enumerate(faces_near):
        costs[i] += _hidden(spots[i], boxes[i : i + 1])
        costs[i] += _IN_THE_WAY * _hidden(spots[i], grown[near])
    chosen = costs.argmin(axis=1)
    for _ in range(SWEEPS):
        before = chosen.copy()
        for i, near in enumerate(labels_near):
            others = spots[near, chosen[near]]
            chosen[i] = (costs[i] + _IN_THE_WAY * _hidden(spots[i], others)).argmin()
        if np.array_equal(chosen, before):
            break
    labels = spots[np.arange(len(sizes)), chosen]
    crowding = 1 - _hidden(labels, np.array([[0, 0, *limits]]))
    for i in range(len(sizes)):
        things = np.concatenate([labels[labels_near[i]], boxes[faces_near[i]]])
        crowding[i] += _hidden(labels[i : i + 1], things)[0]
    return Placement(labels, crowding)


def _spots(sizes: Floats, boxes: Floats, limits: Floats) -> tuple[Floats, Floats]:
    """Where each label may go, best first, and what that costs by itself: (N, K, 4), (N, K).

    Above, below, beside, at last inside its own box; pushed back into the picture.
    """
    (across, down), (left, top, right, bottom) = sizes.T, boxes.T
    columns = (left, (left + right - across) / 2, right - across)
    rows = (top, (top + bottom - down) / 2, bottom - down)
    corners = [(x, y) for y in (top - down, bottom) for x in columns]
    corners += [(x, y) for x in (right, left - across) for y in rows]
    corners += [(x, y) for y in (bottom - down, top) for x in columns]
    wanted = np.array(corners, np.float64).transpose(2, 0, 1)
    # A label larger than the picture starts at its corner.
    start = np.clip(wanted, 0, np.maximum(limits - sizes, 0)[:, None])
    pushed = (np.abs(start - wanted) / sizes[:, None]).sum(axis=-1)
    costs = _PUSHED * pushed + _SECOND_CHOICE * np.arange(len(corners))
    return np.concatenate([start, start + sizes[:, None]], axis=-1), costs


def _touching(area: Floats, things: Floats) -> npt.NDArray[np.bool_]:
    """Which of the rectangles (M, 4) share pixels with one (4,)."""
    return np.asarray(((things[:, :2] < area[2:]) & (things[:, 2:] > area[:2])).all(axis=1))


def _others(found: npt.NDArray[np.bool_], index: int) -> npt.NDArray[np.intp]:
    found[index] = False
    return np.flatnonzero(found)


def _hidden(labels: Floats, things: Floats) -> Floats:
    """The share of each label (N, 4) that lies on things (M, 4), summed over these; (N,)."""
    first, second = labels[:, None], things[None]
    right_bottom = np.minimum(first[..., 2:], second[..., 2:])
    sides = right_bottom - np.maximum(first[..., :2], second[..., :2])
    shared = np.maximum(sides, 0).prod(axis=-1).sum(axis=-1)
    return np.asarray(shared / (labels[:, 2:] - labels[:, :2]).prod(axis=-1))
