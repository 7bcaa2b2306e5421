"""Applying: an output and what a person said of its faces in, the corrected output out.

What a person said takes the place of what the model said, and what the model said besides goes
where it is not true any more. R is the number of rows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from annotate.central_faces import Flags
from annotate.errors import AnnotateError, one_line, shown
from annotate.metrics import Integers
from annotate.records import REVIEW_COLUMNS, Status
from annotate.review.corrections import NOT_A_FACE, NOTHING, WRONG_BOX, Line, Said
from annotate.review.faces import EDGES, Faces, filled, open_faces
from annotate.review.filters import finite
from annotate.review.journal import Journal, journal_path
from annotate.review.placing import place
from annotate.rows import UNCERTAIN_AGE_SD, UNCERTAIN_GENDER, attributes_of, type_of, with_metadata
from annotate.targets import check_target, located, work_folder
from annotate.writers import ROW_GROUP_ROWS, open_output

ATTRIBUTE = "corrections"
"""In the output's metadata. It tells `annotate run --update` that no run made these rows."""

_AGE = ("age_p10", "age_p90", "age_sd", "minor_probability")
_BOX = (*EDGES, "detection_score")
_LABEL_SOURCE, _LABELLED = REVIEW_COLUMNS


@dataclass(frozen=True)
class Applied:
    """What became of the corrections.

    counts: of how many faces a person said "gender", "age", "not_a_face" and "wrong_box". gone:
    what is said of faces that the output does not have. unreadable: lines of the journal.
    """

    counts: Mapping[str, int]
    gone: tuple[Line, ...]
    unreadable: int


def apply_corrections(
    out: str | os.PathLike[str], target: str, *, overwrite: bool = False
) -> Applied:
    """Write an output anew, with its corrections. Raises AnnotateError.

    target: as the -o of `annotate run`. Neither the output nor its corrections are changed.
    """
    path = journal_path(out)
    _check_target(out, path, target, overwrite=overwrite)
    faces = open_faces(out)
    journal = Journal(path)
    if not journal.lines:
        raise AnnotateError(
            f"no corrections in {shown(str(path), 300)}: annotate review"
            f" {shown(os.fspath(out), 300, quote=False)} makes them"
        )
    placed = place(faces, journal.lines)
    table = corrected(faces, placed.said)
    try:
        with open_output(target, table.schema, overwrite=overwrite) as writer:
            for batch in table.to_batches(max_chunksize=ROW_GROUP_ROWS):
                writer.write(batch)
    except (pa.ArrowException, ValueError) as error:
        # A column that others have added, or a number of theirs, for which the format has no text.
        raise AnnotateError(
            f"cannot write {shown(target, 300)}: {one_line(error)}; Parquet holds any column"
        ) from error
    return Applied(_counts(placed.said), placed.gone, journal.unreadable)


def corrected(faces: Faces, said: Mapping[int, Said]) -> pa.Table:
    """The rows of an output with what a person said. said: by the first row of each face.

    An age takes the place of the model's, whose interval, deviation and probability to be under age
    become null; a gender that of the model's, whose probability becomes null. Where the box does
    not fit, it becomes null, and so does all that a model said of what is in it. A row that is no
    face goes, and the others of its picture are numbered anew; the last one becomes `no_face`.
    REVIEW_COLUMNS say whose word a row is.
    """
    words = _Words(faces, said)
    table = faces.table
    for name, (where, values) in words.replacements().items():
        table = _replaced(table, name, where, values)
    for column, (name, values) in zip(REVIEW_COLUMNS, words.review_columns().items(), strict=True):
        if name in table.schema.names:
            table = table.drop_columns([name])
        array = pa.array(values, pa.string()).cast(type_of(column))
        table = table.append_column(pa.field(name, array.type), array)
    table = table.filter(pa.array(~words.is_dropped)).unify_dictionaries()
    attributes = attributes_of(table.schema) | {ATTRIBUTE: _counts(said)}
    described = with_metadata(table.schema, attributes).metadata
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **described})


def _counts(said: Mapping[int, Said]) -> dict[str, int]:
    """Of how many faces what was said."""
    words = list(said.values())
    return {
        "gender": sum(word.gender is not None for word in words),
        "age": sum(word.age is not None for word in words),
        NOT_A_FACE: sum(word.verdict == NOT_A_FACE for word in words),
        WRONG_BOX: sum(word.verdict == WRONG_BOX for word in words),
    }


class _Words:
    """What a person said of which row, and what that makes of it. Arrays are (R,).

    is_dropped: rows that go, because they are no faces.
    """

    def __init__(self, faces: Faces, said: Mapping[int, Said]) -> None:
        self._faces = faces
        self._table = faces.table
        words = np.full(len(faces), NOTHING, object)
        for first, word in said.items():
            words[faces.copies(first)] = word
        self._is_said = np.array([word.is_correction for word in words], bool)
        self._age = np.array([word.age for word in words], np.float64)
        self._gender = np.array([word.gender for word in words], object)
        self._is_wrong = np.array([word.verdict == WRONG_BOX for word in words], bool)
        self._has_age = ~np.isnan(self._age) | self._was_labelled("age")
        self._has_gender = _is_there(self._gender) | self._was_labelled("gender")
        self._take_out(np.array([word.verdict == NOT_A_FACE for word in words], bool))

    def _was_labelled(self, name: str) -> Flags:
        """In which rows a person said an age, or a gender, when the output was made."""
        if _LABELLED.name not in self._table.schema.names:
            return np.zeros(len(self._faces), bool)
        return filled(pc.match_substring(self._table[_LABELLED.name], name))

    def _take_out(self, is_none: Flags) -> None:
        """Number the faces anew that are left in the pictures of those that are none."""
        self.is_dropped = np.zeros(len(is_none), bool)
        self._is_empty = self.is_dropped.copy()
        self._is_renumbered = self.is_dropped.copy()
        self._face_index = self._faces.numbers.copy()
        self._face_count = np.nan_to_num(finite(self._table, "face_count")).astype(np.int64)
        seen: set[int] = set()
        for row in np.flatnonzero(is_none).tolist():
            if row in seen:
                continue
            # An output that was put together of several may tell of a picture more than once.
            group = np.array(self._faces.beside(row), np.int64)
            seen.update(group.tolist())
            numbers, is_gone = self._faces.numbers[group], is_none[group]
            gone = np.unique(numbers[is_gone])
            is_last = is_gone.all() & (numbers == numbers.min())
            self._is_empty[group] = is_last
            self.is_dropped[group] = is_gone & ~is_last
            self._is_renumbered[group] = True
            self._face_index[group] -= np.searchsorted(gone, numbers)
            self._face_count[group] -= len(gone)
        self._face_index[self._is_empty] = -1

    def replacements(self) -> Mapping[str, tuple[Flags, Any]]:
        """By column, which rows change, and what stands there then; None for null."""
        is_void = self._is_wrong | self._is_empty
        age, gender = ~np.isnan(self._age), _is_there(self._gender)
        return {
            "age": (age | (is_void & ~self._has_age), self._age),
            **dict.fromkeys(_AGE, (age | is_void, None)),
            "gender": (gender | (is_void & ~self._has_gender), self._gender),
            "female_probability": (gender | is_void, None),
            **dict.fromkeys(_BOX, (is_void, None)),
            "flags": (self._is_said, self._flags(is_void)),
            "status": (self._is_empty, np.full(len(age), str(Status.NO_FACE), object)),
            "face_index": (self._is_renumbered, _or_none(self._face_index)),
            "face_count": (self._is_renumbered, np.maximum(self._face_count, 0)),
        }

    def _flags(self, is_void: Flags) -> list[str | None]:
        """The flags of all rows. `uncertain` goes with what was uncertain."""
        low, high = UNCERTAIN_GENDER
        female = finite(self._table, "female_probability")
        is_uncertain = ~self._has_gender & (low < female) & (female < high)
        is_uncertain |= ~self._has_age & (finite(self._table, "age_sd") > UNCERTAIN_AGE_SD)
        found: list[str | None] = self._table["flags"].to_pylist()
        for row in np.flatnonzero(self._is_said).tolist():
            flags = [] if is_void[row] else (found[row] or "").split(";")
            kept = [flag for flag in flags if flag != "uncertain" or is_uncertain[row]]
            found[row] = ";".join(kept) or None
        return found

    def review_columns(self) -> Mapping[str, list[str | None]]:
        """REVIEW_COLUMNS, by name."""
        source: list[str | None] = self._known(_LABEL_SOURCE.name)
        labelled: list[str | None] = self._known(_LABELLED.name)
        for row, is_face in enumerate(self._faces.is_face.tolist()):
            if self._is_said[row]:
                source[row] = "person"
                labels = {"age": self._has_age[row], "gender": self._has_gender[row]}
                names = [name for name, is_there in labels.items() if is_there]
                labelled[row] = None if self._is_empty[row] else ";".join(names) or None
            elif is_face and source[row] is None:
                source[row] = "model"
        return {_LABEL_SOURCE.name: source, _LABELLED.name: labelled}

    def _known(self, name: str) -> list[str | None]:
        """A column of the output, if it was reviewed before: reports have `label_source`, too."""
        if not {_LABEL_SOURCE.name, _LABELLED.name} <= set(self._table.schema.names):
            return [None] * len(self._faces)
        found: list[str | None] = self._table[name].to_pylist()
        return found


def _is_there(values: npt.NDArray[np.object_]) -> Flags:
    return np.array([value is not None for value in values], bool)


def _or_none(numbers: Integers) -> list[int | None]:
    return [number if number >= 0 else None for number in numbers.tolist()]


def _replaced(table: pa.Table, name: str, where: Flags, values: Any) -> pa.Table:
    """A table with other values in some rows of a column. values: (R,), None for null."""
    if not where.any():
        return table
    kept = table.schema.field(name)
    kind = kept.type.value_type if pa.types.is_dictionary(kept.type) else kept.type
    new = pa.nulls(len(where), kind) if values is None else pa.array(values, kind, from_pandas=True)
    column = pc.if_else(pa.array(where), new, table[name].cast(kind)).cast(kept.type)
    return table.set_column(table.schema.get_field_index(name), kept, column)


def _check_target(
    out: str | os.PathLike[str], corrections: Path, target: str, *, overwrite: bool
) -> None:
    """Raise AnnotateError where the target is what is read, or somebody else is at it."""
    if check_target(target, overwrite=overwrite) == "stdout":
        return
    place = located(target)
    if os.path.realpath(place) in map(os.path.realpath, (out, corrections)):
        raise AnnotateError(
            f"{shown(target, 300)} is what is to be read: name another -o, such as"
            f" {shown(f'{Path(out).stem}-reviewed.parquet', 300)}"
        )
    if (work := work_folder(place)).exists():
        raise AnnotateError(
            f"{shown(target, 300)} is being made by annotate run, or was when that ended: finish"
            f" that, or remove {shown(str(work), 300)}"
        )
