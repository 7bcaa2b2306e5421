"""Labelled: an output of `annotate run` in; its inputs, each with its faces, out.

The rows are those of strangers: what is no number, box, gender or path counts as absent, and what
other tools could not use is left out for a reason.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.errors import AnnotateError, one_line, shown
from annotate.export.tally import Reason
from annotate.names import posix, split_path, unescape
from annotate.readers import read_table
from annotate.records import FLAGS, Status
from annotate.rows import attributes_of

MAX_AGE = 150.0
"""Years. An age above it, or below 0, is none."""

SMALLEST_PX = 0.01
"""A box with a shorter side is none: formats round to hundredths."""

MAX_PATH_BYTES = 4096
"""No system opens longer paths."""

_COLUMNS = (
    "source", "path", "sha256", "width", "height", "captured_at", "status", "face_index",
    "x_min", "y_min", "x_max", "y_max", "detection_score", "age", "age_p10", "age_p90",
    "gender", "female_probability", "flags",
)  # fmt: skip
_IDENTITY = ("source", "path", "sha256")
_ROWS = 4096
"""Rows that are Python objects at a time."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face as an output labels it; None where the row does not say.

    box: (left, top, right, bottom) in pixels of the upright picture, inside it. age, age_p10,
    age_p90: years. gender: "female" or "male". female_probability, detection_score: 0 to 1.
    """

    box: tuple[float, float, float, float]
    age: float | None = None
    age_p10: float | None = None
    age_p90: float | None = None
    gender: str | None = None
    female_probability: float | None = None
    detection_score: float | None = None
    flags: tuple[str, ...] = ()

    @property
    def gender_probability(self) -> float | None:
        """How probable the gender is, 0 to 1; None where a person gave it."""
        if self.gender is None or self.female_probability is None:
            return None
        return self.female_probability if self.gender == "female" else 1 - self.female_probability


@dataclass(frozen=True, slots=True)
class Input:
    """A file and its faces, left to right.

    location: the path that opens it; relative: that below `Labelled.folder`, with slashes; path:
    as in its rows. width, height: pixels of the upright picture. captured: EXIF capture time in the
    camera's time zone, as `2019-07-04 12:34:56`.
    """

    location: bytes
    relative: bytes
    path: str
    sha256: str | None
    width: int
    height: int
    captured: str | None
    faces: tuple[Face, ...]


class LeftOut(NamedTuple):
    """An input, or a face of one, that cannot be exported. path: as in its rows."""

    reason: Reason
    path: str


class Labelled:
    """The inputs of an output, in the order of their first rows. Iterate as often as needed.

    Gives an `Input` for each that can be exported, those without a face among them, and a `LeftOut`
    for each input or face that cannot. folder: the deepest one that holds all SOURCEs.
    """

    def __init__(self, out: str | os.PathLike[str], *, with_duplicates: bool = False) -> None:
        """with_duplicates: a `duplicate` row has the faces of its content, if there are rows of it.

        Raises AnnotateError where OUT is no output of annotate, or has no rows with a folder.
        """
        table = _with_text(read_table(out, list(_COLUMNS)), "captured_at")
        try:
            table.validate(full=True)  # text that is no UTF-8 would be found in the middle
        except pa.ArrowException as error:
            raise AnnotateError(f"{shown(os.fspath(out))} is damaged: {one_line(error)}") from error
        self._table, self._inputs = _together(table)
        roots = {source: _root(source) for source in self._table["source"].unique().to_pylist()}
        self._roots = {source: root for source, root in roots.items() if root is not None}
        if not self._roots:
            raise AnnotateError(
                f"{shown(os.fspath(out))} has no row of a file: there is nothing to export"
            )
        self.folder = os.path.commonpath(self._roots.values())
        self._below = {source: self._prefix(root) for source, root in self._roots.items()}
        attributes = attributes_of(self._table.schema)
        self.model = _word(attributes.get("model"))
        self.model_sha256 = _word(attributes.get("model_sha256"))
        self._copies = self._contents() if with_duplicates else {}

    def __len__(self) -> int:
        """How many inputs the output has, exported or not."""
        return self._inputs

    def __iter__(self) -> Iterator[Input | LeftOut]:
        for _, rows in groupby(self._rows(self._table), _identity):
            yield from self._input(list(rows))

    @staticmethod
    def _rows(table: pa.Table) -> Iterator[Mapping[str, Any]]:
        for batch in table.to_batches(max_chunksize=_ROWS):
            yield from batch.to_pylist()

    def _contents(self) -> dict[str, list[Mapping[str, Any]]]:
        """By sha256, the rows of an input that others are duplicates of."""
        status, sha256 = self._table["status"], self._table["sha256"]
        copied = sha256.filter(pc.equal(status, str(Status.DUPLICATE))).unique()
        is_first = pc.and_(pc.equal(status, str(Status.OK)), pc.is_in(sha256, copied.drop_null()))
        contents: dict[str, list[Mapping[str, Any]]] = {}
        for (_, _, digest), rows in groupby(self._rows(self._table.filter(is_first)), _identity):
            contents.setdefault(digest, list(rows))
        return contents

    def _input(self, rows: list[Mapping[str, Any]]) -> Iterator[Input | LeftOut]:
        """What the rows of one input come to."""
        first = rows[0]
        path = first["path"] or ""
        place = self._place(first)
        if isinstance(place, Reason):
            yield LeftOut(place, path)
            return
        told = self._told(rows)
        if isinstance(told, Reason):
            yield LeftOut(told, path)
            return
        width, height = told[0]["width"] or 0, told[0]["height"] or 0
        if width <= 0 or height <= 0:
            yield LeftOut(Reason.NO_SIZE, path)
            return
        faces = []
        for face in _faces(told, width, height):
            if isinstance(face, Face):
                faces.append(face)
            else:
                yield LeftOut(face, path)
        captured = _time(told[0]["captured_at"])
        yield Input(*place, path, first["sha256"], width, height, captured, tuple(faces))

    def _told(self, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]] | Reason:
        """The rows that tell of an input's faces, or why none do."""
        status = rows[0]["status"]
        if status in (Status.OK, Status.NO_FACE):
            return rows
        if status == Status.DUPLICATE:
            return self._copies.get(rows[0]["sha256"], Reason.DUPLICATE)
        return Reason.UNSUPPORTED if status == Status.UNSUPPORTED else Reason.FAILED

    def _place(self, row: Mapping[str, Any]) -> tuple[bytes, bytes] | Reason:
        """The file of a row: the path that opens it and that below the common folder."""
        source = row["source"]
        if source not in self._roots or not row["path"]:
            return Reason.BAD_PATH
        file, member = split_path(row["path"])
        if member is not None:
            return Reason.IN_ARCHIVE
        parts = file.split(b"/")
        location = os.path.join(self._roots[source], *parts)
        is_odd = b"\0" in file or any(part in (b"", b".", b"..") for part in parts)
        if is_odd or len(location) > MAX_PATH_BYTES:
            return Reason.BAD_PATH
        return location, self._below[source] + file

    def _prefix(self, root: bytes) -> bytes:
        """What comes before the path of a SOURCE's files below the common folder."""
        below = os.path.relpath(root, self.folder)
        return b"" if below == b"." else posix(below) + b"/"


def _with_text(table: pa.Table, name: str) -> pa.Table:
    """The table with a column as text. Arrow knows times that Python has no datetime for."""
    return table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.string()))


def _together(table: pa.Table) -> tuple[pa.Table, int]:
    """The table with the rows of each input one after the other, else in its order; and how many
    inputs there are.

    Outputs have them so. Whoever sorts or joins outputs, by age for example, has not.
    """
    keys = b"".join(
        hashlib.blake2b(repr(values).encode("utf-8"), digest_size=8).digest()
        for batch in table.select(list(_IDENTITY)).to_batches(max_chunksize=_ROWS)
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    _, first, inverse = np.unique(
        np.frombuffer(keys, np.uint64), return_index=True, return_inverse=True
    )
    place = first[inverse]
    if (np.diff(place) < 0).any():
        table = table.take(pa.array(np.argsort(place, kind="stable")))
    return table, len(first)


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _IDENTITY)


def _root(source: str | None) -> bytes | None:
    """The folder that a SOURCE is, None where it is no path that annotate writes."""
    root = unescape(source or "")
    is_path = os.path.isabs(root) and os.path.normpath(root) == root and b"\0" not in root
    return root if is_path else None


def _faces(rows: list[Mapping[str, Any]], width: int, height: int) -> Iterator[Face | Reason]:
    """The faces of an input's rows, and why others are none."""
    seen: set[int] = set()
    for row in sorted(rows, key=_index) if rows[0]["status"] == Status.OK else ():
        index = row["face_index"]
        box = _box(row, width, height)
        if index is not None and index in seen:
            yield Reason.TOLD_TWICE
        elif box is None:
            yield Reason.NO_BOX
        else:
            yield _face(row, box)
        seen.update(() if index is None else (index,))


def _index(row: Mapping[str, Any]) -> float:
    """Where a face stands among those of its picture; behind them where the row does not say."""
    return math.inf if row["face_index"] is None else row["face_index"]


def _face(row: Mapping[str, Any], box: tuple[float, float, float, float]) -> Face:
    flags = (row["flags"] or "").split(";")
    return Face(
        box,
        age=_number(row["age"], MAX_AGE),
        age_p10=_number(row["age_p10"], MAX_AGE),
        age_p90=_number(row["age_p90"], MAX_AGE),
        gender=row["gender"],
        female_probability=_number(row["female_probability"], 1.0),
        detection_score=_number(row["detection_score"], 1.0),
        flags=tuple(flag for flag in FLAGS if flag in flags),
    )


def _box(
    row: Mapping[str, Any], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """The box of a row inside its picture; None where there is nothing of it in there."""
    edges = [row[name] for name in ("x_min", "y_min", "x_max", "y_max")]
    if any(edge is None or not math.isfinite(edge) for edge in edges):
        return None
    left, right = (min(max(float(edge), 0.0), float(width)) for edge in edges[::2])
    top, bottom = (min(max(float(edge), 0.0), float(height)) for edge in edges[1::2])
    is_seen = right - left >= SMALLEST_PX and bottom - top >= SMALLEST_PX
    return (left, top, right, bottom) if is_seen else None


def _number(value: float | None, highest: float) -> float | None:
    """A number from 0 to the highest, else None."""
    return value if value is not None and 0 <= value <= highest else None


def _time(text: str | None) -> str | None:
    """A time as Arrow writes it, without its milliseconds; None where it is of no year we know."""
    found = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text or "", re.ASCII)
    return found[0] if found else None


def _word(value: object) -> str | None:
    """A name out of an output's metadata, which may hold anything."""
    return shown(value, 80, quote=False) if isinstance(value, str) and value else None
