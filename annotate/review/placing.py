"""Placing: the lines of a journal and an output in; which of its faces each line is about, out.

The output may be another one than the lines were made on: updated, sorted, made by another model or
with other detector settings, by which boxes move a little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.matching import MIN_IOU, overlap
from annotate.metrics import Integers
from annotate.review.corrections import NOT_A_FACE, WRONG_BOX, FaceName, Line, Said
from annotate.review.faces import Faces, filled

SAME_BOX_IOU = 0.9
"""That a box holds no face, or does not fit one, is said of this box alone. An age and a gender are
said of a face, which is the same from an overlap of MIN_IOU on."""


@dataclass(frozen=True)
class Entry:
    """Something that was said of a face of the output, and counts. row: the first of the face's.

    number: of its line.
    """

    number: int
    row: int
    said: Said


@dataclass(frozen=True)
class Placed:
    """What a journal says of an output. entries: what was not undone, oldest first.

    gone: what the journal says last of faces that the output does not have; nothing that was
    undone or taken back.
    """

    entries: tuple[Entry, ...]
    gone: tuple[Line, ...]

    @property
    def said(self) -> Mapping[int, Said]:
        """What is said of which face, by its first row: the latest counts."""
        return {entry.row: entry.said for entry in self.entries}


def place(faces: Faces, lines: Sequence[Line]) -> Placed:
    """Find the faces that the lines of a journal are about."""
    index = _Index(faces, {line.face.sha256 for line in lines})
    known: dict[FaceName, tuple[int | None, float]] = {}
    entries: list[Entry] = []
    gone: dict[FaceName, Line] = {}
    for line in _standing(lines):
        if line.face not in known:
            known[line.face] = index.find(line.face)
        row, iou = known[line.face]
        is_lost = line.said.verdict in (NOT_A_FACE, WRONG_BOX) and iou < SAME_BOX_IOU
        if row is not None:
            said = replace(line.said, verdict=None) if is_lost else line.said
            entries.append(Entry(line.number, row, said))
        gone.pop(line.face, None)
        if row is None or is_lost:
            gone[line.face] = line
    left = tuple(line for line in gone.values() if line.said.is_correction)
    return Placed(tuple(entries), left)


def _standing(lines: Sequence[Line]) -> list[Line]:
    """The lines that were not undone, and undo nothing."""
    standing: dict[int, Line] = {}
    places: dict[int, list[int]] = {}
    for place, line in enumerate(lines):
        if line.undoes is None:
            standing[place] = line
            places.setdefault(line.number, []).append(place)
        elif places.get(line.undoes):
            # In journals that were put together a number comes twice: the latest is meant.
            del standing[places[line.undoes].pop()]
    return list(standing.values())


class _Index:
    """The rows of the faces in some contents."""

    def __init__(self, faces: Faces, contents: set[str]) -> None:
        self._faces = faces
        wanted = pa.array(sorted(contents), pa.string())
        is_wanted = filled(pc.is_in(faces.table["sha256"], value_set=wanted))
        rows = np.flatnonzero(is_wanted & faces.is_correctable)
        found = faces.table["sha256"].take(pa.array(rows)).to_pylist()
        self._rows: dict[str, list[int]] = {}
        for row, sha256 in zip(rows.tolist(), found, strict=True):
            self._rows.setdefault(sha256, []).append(row)

    def find(self, face: FaceName) -> tuple[int | None, float]:
        """The first row of a face, and how far its box overlaps; None where it is not there."""
        rows = np.array(self._rows.get(face.sha256, []), np.int64)
        if face.box is None:
            same = self._bare(rows, face)
            return (same, 1.0) if same is not None else (None, 0.0)
        boxes = self._faces.boxes[rows]
        iou = np.nan_to_num(overlap(boxes, np.broadcast_to(np.array(face.box), boxes.shape)))
        if not len(iou) or iou.max() < MIN_IOU:
            return None, 0.0
        best = int(np.argmax(iou))
        return int(rows[best]), float(iou[best])

    def _bare(self, rows: Integers, face: FaceName) -> int | None:
        """The first row without a box that has the number of a face."""
        for row in rows.tolist():
            name = self._faces.name(row)
            if name.box is None and name.face_index == face.face_index:
                return int(row)
        return None
