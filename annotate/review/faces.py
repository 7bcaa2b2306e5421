"""Faces: an output's table in; its rows by face, by picture and in words for the page, out.

R is the number of rows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.central_faces import Flags, floats
from annotate.errors import AnnotateError, one_line, shown
from annotate.joining import typed
from annotate.metrics import Floats, Integers
from annotate.readers import read_table
from annotate.records import REVIEW_COLUMNS, Status
from annotate.report.thumbnails import NEEDED
from annotate.review.corrections import SHA256, Box, FaceName
from annotate.rows import type_of

PATH_CHARS = 300
"""Of a path, shown to people."""

EDGES = ("x_min", "y_min", "x_max", "y_max")
_TEXTS = ("source", "path", "status", "error", "gender", "captured_at")
_NUMBERS = ("age", "age_p10", "age_p90", "age_sd", "female_probability", "detection_score")
_COUNTS = ("width", "height", "face_index", "face_count")
_DECODED = (Status.OK, Status.NO_FACE, Status.DUPLICATE)
_LABEL_SOURCE = REVIEW_COLUMNS[0].name


class Faces:
    """The rows of an output.

    table: as `joining.typed` gives it, with REVIEW_COLUMNS if the output has them. is_face: (R,),
    rows of faces. is_correctable: (R,), those of them whose picture's bytes are known. has_picture:
    (R,), rows whose picture a run has decoded. boxes: float64 (R, 4), NaN where a row has none.
    numbers: int64 (R,), `face_index`, -1 for none.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        self.is_face = is_text(table, "status", str(Status.OK))
        is_digest = pc.match_substring_regex(table["sha256"], f"^{SHA256.pattern}$")
        self.is_correctable = self.is_face & filled(is_digest)
        is_decoded = [is_text(table, "status", str(status)) for status in _DECODED]
        self.has_picture = np.logical_or.reduce(is_decoded) & filled(is_digest)
        boxes = np.column_stack([floats(table, name) for name in EDGES])
        self.boxes: Floats = np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, np.nan)
        self.numbers = np.nan_to_num(floats(table, "face_index"), nan=-1.0).astype(np.int64)
        self._contents = codes(table["sha256"])

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def copies(self, row: int) -> Integers:
        """The rows of a face: its own, and those of the same box in copies of the same file."""
        return self._same_faces.like(row)

    def beside(self, row: int) -> list[int]:
        """The rows of the faces in the same picture, from left to right, its own among them."""
        same = self._pictures.like(row)
        same = same[self.is_face[same] & (self._contents[same] == self._contents[row])]
        found: list[int] = same[np.argsort(self.numbers[same], kind="stable")].tolist()
        return found or [row]

    def name(self, row: int) -> FaceName:
        """What a correction of a row calls its face. Raises ValueError where it has no name."""
        box = self.boxes[row]
        known: Box | None = None if np.isnan(box).any() else tuple(box.tolist())
        return FaceName(box=known, **self._values(row, ("sha256", "face_index", "source", "path")))

    def picture(self, row: int) -> dict[str, Any]:
        """What is needed of a row to draw it: the columns thumbnails.NEEDED."""
        return self._values(row, NEEDED)

    def described(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Rows for the page: JSON values, and texts that are fit to be shown."""
        wanted = (*_TEXTS, *_NUMBERS, *_COUNTS, "flags", _LABEL_SOURCE)
        names = [name for name in wanted if name in self.table.schema.names]
        taken = self.table.select(names).take(pa.array(rows, pa.int64()))
        # A stranger's time may lie in a year that Python does not have.
        time = taken["captured_at"].cast(pa.string())
        taken = taken.set_column(names.index("captured_at"), "captured_at", time)
        return [
            self._described(row, values)
            for row, values in zip(rows, taken.to_pylist(), strict=True)
        ]

    def _described(self, row: int, values: Mapping[str, Any]) -> dict[str, Any]:
        texts = {
            name: None if values[name] is None else shown(values[name], PATH_CHARS, quote=False)
            for name in _TEXTS
        }
        flags = shown(values["flags"] or "", PATH_CHARS, quote=False)
        return {
            "row": row,
            **texts,
            **{name: _finite(values[name]) for name in _NUMBERS},
            **{name: values[name] for name in _COUNTS},
            "box": self._shares(row, values),
            "flags": [flag for flag in flags.split(";") if flag],
            "by_person": values.get(_LABEL_SOURCE) == "person",
            "is_correctable": bool(self.is_correctable[row]),
        }

    def _shares(self, row: int, values: Mapping[str, Any]) -> list[float] | None:
        """A row's box as shares of its picture's sides, 0 to 1; None where nothing is in there."""
        sides = [values["width"] or 0, values["height"] or 0] * 2
        if not self.is_face[row] or np.isnan(self.boxes[row]).any() or min(sides) <= 0:
            return None
        left, top, right, bottom = np.clip(self.boxes[row] / sides, 0, 1).tolist()
        return [left, top, right, bottom] if left < right and top < bottom else None

    def _values(self, row: int, names: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = self.table.select(list(names)).slice(row, 1).to_pylist()[0]
        return found

    @cached_property
    def _same_faces(self) -> Groups:
        """Rows of one face: of the same bytes and box, or number where there is no box."""
        import pandas as pd

        keys = pd.DataFrame(self.boxes).assign(content=self._contents)
        keys["number"] = np.where(np.isnan(self.boxes).any(axis=1), self.numbers, 0)
        faces = keys.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy(np.int64)
        alone = -1 - np.arange(len(self))
        return Groups(np.where(self.is_correctable, faces, alone))

    @cached_property
    def _pictures(self) -> Groups:
        """Rows of one SOURCE and path."""
        paths, sources = codes(self.table["path"]), codes(self.table["source"])
        return Groups(sources * (paths.max(initial=0) + 2) + paths)


def open_faces(out: str | os.PathLike[str]) -> Faces:
    """The rows of an output, what others have added to it too.

    Raises AnnotateError where there is none, or it has no rows.
    """
    name = shown(os.fspath(out), 300, quote=False)
    raw = read_table(out)
    table = typed(raw, name)
    types = {column.name: type_of(column) for column in REVIEW_COLUMNS}
    try:
        for extra in raw.schema.names:
            if extra not in table.schema.names:
                kind = types.get(extra, raw.schema.field(extra).type)
                table = table.append_column(extra, raw[extra].cast(kind))
        table.validate(full=True)
    except (KeyError, pa.ArrowException) as error:
        raise AnnotateError(
            f"{name}: {one_line(error)}; expected an output of annotate run"
        ) from error
    if not table.num_rows:
        raise AnnotateError(f"{name} has no rows: there is nothing to review")
    return Faces(table)


class Groups:
    """Rows by a key. keys: int64 (R,)."""

    def __init__(self, keys: Integers) -> None:
        self._keys = keys
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def like(self, row: int) -> Integers:
        """The rows with the key of a row, ascending."""
        key = self._keys[row]
        start, stop = np.searchsorted(self._sorted, [key, key + 1])
        return self._order[start:stop]


def codes(column: pa.ChunkedArray) -> Integers:
    """A number for each row, the same where the text is, -1 for null; (R,)."""
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, -1), np.int64)


def is_text(table: pa.Table, name: str, value: str) -> Flags:
    """In which rows a column holds a text, (R,)."""
    return filled(pc.equal(table[name].cast(pa.string()), value))


def filled(found: pa.ChunkedArray) -> Flags:
    """Booleans, False for null, (R,)."""
    return np.asarray(pc.fill_null(found, False), np.bool_)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value
