"""Reviewed outputs: what a person said of faces, in the output of a review, as labels of pictures.

A label of a picture is about one face, so it is that of the face which an evaluation scores: the
one nearest the centre. It counts where the same face of the same bytes is scored.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.arrow_files import AnyPath, parquet
from annotate.central_faces import standing_rows
from annotate.matching import MIN_IOU, overlap
from annotate.readers import read_table
from annotate.records import REVIEW_COLUMNS

PERSON = "person"
_LABEL_SOURCE, _LABELLED = (column.name for column in REVIEW_COLUMNS)
_EDGES = ("x_min", "y_min", "x_max", "y_max")
_NAMES = ("path", "sha256", "age", "gender", "detection_score", *_EDGES, _LABEL_SOURCE, _LABELLED)
_HEAD_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """What a label was given to. sha256: of the picture's bytes. box: x_min, y_min, x_max, y_max in
    pixels of the upright picture; None where the whole picture is meant. None too: not known.
    """

    sha256: str | None
    box: tuple[float, float, float, float] | None

    def is_scored(self, sha256: str | None, box: tuple[float | None, ...] | None) -> bool:
        """Whether it is the face that is scored. sha256: of its picture, None where that is not
        known. box: None for a crop; without edges where no face was found, which is no other face.
        """
        if None not in (sha256, self.sha256) and sha256 != self.sha256:
            return False
        if self.box is None or box is None or None in box:
            return True
        return bool(overlap(np.array([self.box]), np.array([box], np.float64))[0] >= MIN_IOU)


def is_reviewed(path: str) -> bool:
    """Whether a table is the output of a review. Raises OSError."""
    if not os.path.isfile(path) and not os.path.isdir(path):
        return False
    try:
        return {_LABEL_SOURCE, _LABELLED} <= set(_column_names(path))
    except (ValueError, csv.Error, RecursionError, pa.ArrowException):
        return False  # whatever it is, it is for others to say what is wrong with it


def _column_names(path: str) -> list[str]:
    if os.path.isdir(path):
        part = next(iter(sorted(Path(path).glob("part-*.parquet"))), None)
        return [] if part is None else _parquet_names(part)
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return _parquet_names(path)
    line = head.decode("utf-8-sig", "replace").partition("\n")[0]
    if path.lower().endswith(".jsonl"):
        found = json.loads(line)
        return list(found) if isinstance(found, dict) else []
    return next(csv.reader([line]), [])


def _parquet_names(path: AnyPath) -> list[str]:
    with parquet(path) as file:
        return list(file.schema_arrow.names)


def labels_in(path: str) -> Iterator[tuple[int, dict[str, Any], LabelledFace]]:
    """Number of the row, from 1, its cells path, age and gender, and the face they are about.

    Only of pictures whose face nearest the centre a person labelled, and only what the person
    said: all else is a model's word. Raises AnnotateError where the table is no output.
    """
    table = read_table(path)
    rows = _standing(table)
    is_person = pc.fill_null(pc.equal(table[_LABEL_SOURCE].cast(pa.string()), PERSON), False)
    rows = rows[np.asarray(is_person, bool)[rows]]
    found = table.select(list(_NAMES)).take(pa.array(rows)).to_pylist()
    for row, cells in zip(rows.tolist(), found, strict=True):
        labelled = (cells[_LABELLED] or "").split(";")
        label = {name: cells[name] for name in ("age", "gender") if name in labelled}
        if label:
            # A crop is one face, wherever a detector would find it.
            edges = tuple(cells[name] for name in _EDGES)
            is_crop = cells["detection_score"] is None or None in edges
            face = LabelledFace(cells["sha256"], None if is_crop else edges)
            yield row + 1, {"path": cells["path"], **label}, face


def _standing(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The row of each picture that an evaluation scores, ascending."""
    # Two SOURCEs may have pictures of the same path.
    sources = pc.fill_null(table["source"].cast(pa.string()), "")
    keys = pc.binary_join_element_wise(sources, pc.fill_null(table["path"], ""), "\0")
    place = table.schema.get_field_index("path")
    return np.sort(standing_rows(table.set_column(place, "path", keys)).rows)
