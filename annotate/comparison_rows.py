"""Comparison rows: two outputs and what they have in common in, one table of both out.

A row a face of either output, and one for each input in which neither has a face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.central_faces import Flags, floats
from annotate.matching import Found, Inputs, Matches
from annotate.metrics import Floats, Integers
from annotate.records import Column
from annotate.rows import type_of, with_metadata

INPUTS = ("both", "rewritten", "new", "vanished")
FACES = ("both", "new", "gone")
FLIPS = ("no", "to_female", "to_male")

COLUMNS = (
    Column("input", "dictionary", "`both` have the input; `rewritten`: the same path, other bytes;"
           " `new`: only B has it; `vanished`: only A"),
    Column("face", "dictionary", "`both` have the face; `new`: only B has it; `gone`: only A;"
           " null where neither has a face"),
    Column("source_a", "dictionary", "`source` in A"),
    Column("path_a", "string", "`path` in A"),
    Column("source_b", "dictionary", "`source` in B"),
    Column("path_b", "string", "`path` in B"),
    Column("status_a", "dictionary", "what became of the input in A"),
    Column("status_b", "dictionary", "what became of the input in B"),
    Column("face_index_a", "int16", "the face's number in A"),
    Column("face_index_b", "int16", "the face's number in B"),
    Column("face_count_a", "int16", "how many faces the input has in A"),
    Column("face_count_b", "int16", "how many it has in B"),
    Column("iou", "float32", "how far its two boxes overlap, 0 to 1: intersection over union"),
    Column("age_a", "float32", "years, in A"),
    Column("age_b", "float32", "years, in B"),
    Column("age_shift", "float32", "years, `age_b` - `age_a`"),
    Column("gender_a", "dictionary", "`female` or `male`, in A"),
    Column("gender_b", "dictionary", "the same in B"),
    Column("gender_flip", "dictionary", "`no`, `to_female` or `to_male`; null where either has"
           " none"),
    Column("female_probability_a", "float32", "0 to 1, in A"),
    Column("female_probability_b", "float32", "0 to 1, in B"),
    Column("sha256", "string", "of the content; of B, in rows without B of A, as are the next six"),
    Column("width", "int32", "pixels of the picture"),
    Column("height", "int32", "pixels of the picture"),
    Column("x_min", "float32", "left edge of the face, pixels"),
    Column("y_min", "float32", "top edge"),
    Column("x_max", "float32", "right edge"),
    Column("y_max", "float32", "bottom edge"),
)  # fmt: skip
"""The columns of `comparison.parquet`, in order. Missing values are null."""

_PLACED = ("sha256", "width", "height", "x_min", "y_min", "x_max", "y_max")
_GENDERS = ("female", "male")


@dataclass(frozen=True)
class _Rows:
    """Which rows and inputs of A and B each row of the comparison is about: int64 (N,), -1 none."""

    a: Integers
    b: Integers
    input_a: Integers
    input_b: Integers

    def take(self, order: Integers) -> _Rows:
        return _Rows(self.a[order], self.b[order], self.input_a[order], self.input_b[order])


def comparison_rows(a: pa.Table, b: pa.Table, matches: Matches) -> pa.Table:
    """The table of two outputs, with COLUMNS: B's rows in their order, then what only A has.

    a, b: as `joining.typed` gives them. A face that only one has comes behind those of its input
    that both have.
    """
    rows = _ordered(_all_rows(matches), matches)
    is_rewritten = np.zeros(len(matches.b), bool)
    is_rewritten[matches.input_b[matches.found == Found.REWRITTEN]] = True
    columns: dict[str, pa.Array] = {
        "input": _named(INPUTS, _input_codes(rows, is_rewritten)),
        "face": _named(FACES, _face_codes(rows)),
        "iou": _numbers(_overlaps(rows, matches)),
    }
    for side, table, inputs, of_input, of_row in (
        ("a", a, matches.a, rows.input_a, rows.a),
        ("b", b, matches.b, rows.input_b, rows.b),
    ):
        first = np.where(of_input >= 0, inputs.first[of_input], -1) if len(inputs) else of_input
        for name in ("source", "path", "status"):
            columns[f"{name}_{side}"] = _taken(table, name, first)
        for name in ("face_index", "face_count", "age", "gender", "female_probability"):
            columns[f"{name}_{side}"] = _taken(table, name, of_row)
    columns |= _differences(columns) | _placed(a, b, rows, matches)
    fields = [pa.field(column.name, type_of(column)) for column in COLUMNS]
    described = with_metadata(pa.schema(fields), {})
    return pa.table([columns[field.name].cast(field.type) for field in fields], schema=described)


def _all_rows(matches: Matches) -> _Rows:
    """Faces that both have, that only B has, that only A has, and inputs without any."""
    a, b = matches.a, matches.b
    partner_a, partner_b = np.full(len(a), -1), np.full(len(b), -1)
    partner_a[matches.input_a], partner_b[matches.input_b] = matches.input_b, matches.input_a
    only_a, only_b = _unmatched(a, matches.face_a), _unmatched(b, matches.face_b)
    faceless_b = np.flatnonzero(~_has_face(b) & ~_has_face(a, partner_b))
    faceless_a = np.flatnonzero(~_has_face(a) & (partner_a < 0))
    none_a, none_b = np.full(len(only_b), -1), np.full(len(only_a), -1)
    face_a, face_b = matches.face_a, matches.face_b
    return _Rows(
        _joined(face_a, none_a, only_a, np.full(len(faceless_b) + len(faceless_a), -1)),
        _joined(face_b, only_b, none_b, np.full(len(faceless_b) + len(faceless_a), -1)),
        _joined(
            a.of_row[face_a],
            partner_b[b.of_row[only_b]],
            a.of_row[only_a],
            partner_b[faceless_b],
            faceless_a,
        ),
        _joined(
            b.of_row[face_b],
            b.of_row[only_b],
            partner_a[a.of_row[only_a]],
            faceless_b,
            np.full(len(faceless_a), -1),
        ),
    )


def _joined(*parts: Integers) -> Integers:
    return np.concatenate([part.astype(np.int64) for part in parts])


def _unmatched(inputs: Inputs, matched: Integers) -> Integers:
    """Rows of faces that are not among those matched."""
    is_left = inputs.is_face.copy()
    is_left[matched] = False
    return np.flatnonzero(is_left)


def _has_face(inputs: Inputs, chosen: Integers | None = None) -> Flags:
    """Whether each input has a face, or each of the chosen ones; False for -1."""
    has = np.zeros(len(inputs) + 1, bool)  # the last one is that of -1
    has[inputs.of_row[inputs.is_face]] = True
    return has[:-1] if chosen is None else has[chosen]


def _ordered(rows: _Rows, matches: Matches) -> _Rows:
    place = np.where(rows.input_b >= 0, rows.input_b, len(matches.b) + rows.input_a)
    far = len(matches.b.of_row)
    return rows.take(np.lexsort((rows.a, np.where(rows.b >= 0, rows.b, far), place)))


def _input_codes(rows: _Rows, is_rewritten: Flags) -> Integers:
    in_a, in_b = rows.input_a >= 0, rows.input_b >= 0
    other = in_a & in_b
    other[other] = is_rewritten[rows.input_b[other]]
    return np.select([other, in_a & in_b, in_b], [1, 0, 2], 3)


def _face_codes(rows: _Rows) -> Integers:
    has_a, has_b = rows.a >= 0, rows.b >= 0
    return np.select([has_a & has_b, has_b, has_a], [0, 1, 2], -1)


def _overlaps(rows: _Rows, matches: Matches) -> Floats:
    """The overlap of each row's two boxes; NaN where there are not two."""
    of_row = np.full(len(matches.b.of_row) + 1, np.nan)
    of_row[matches.face_b] = matches.iou
    return np.where(rows.a >= 0, of_row[rows.b], np.nan)


def _differences(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """What moved in each row."""
    found = pa.table({name: columns[name] for name in ("age_a", "age_b", "gender_a", "gender_b")})
    with np.errstate(invalid="ignore"):  # endless ages
        shift = floats(found, "age_b") - floats(found, "age_a")
    was, now = (_gender_codes(found.column(f"gender_{side}")) for side in "ab")
    flips = np.select([(was < 0) | (now < 0), was == now, now == 0], [-1, 0, 1], 2)
    return {
        "age_shift": _numbers(np.where(np.isfinite(shift), shift, np.nan)),
        "gender_flip": _named(FLIPS, flips),
    }


def _gender_codes(column: pa.ChunkedArray) -> Integers:
    """0 female, 1 male, -1 for none and for what a stranger's table may hold else; (N,)."""
    codes = np.full(len(column), -1)
    texts = column.cast(pa.string())
    for code, name in enumerate(_GENDERS):
        codes[pc.equal(texts, name).fill_null(False).to_numpy()] = code
    return codes


def _placed(a: pa.Table, b: pa.Table, rows: _Rows, matches: Matches) -> dict[str, pa.Array]:
    """Content, size and box: of B's face or input, of A's in rows that are about A alone."""
    both = pa.concat_tables([table.select(_PLACED) for table in (b, a)])
    is_of_a = (rows.b < 0) & ((rows.a >= 0) | (rows.input_b < 0))
    row = np.where(is_of_a, rows.a, rows.b)
    inputs = np.where(is_of_a, rows.input_a, rows.input_b)
    firsts = np.concatenate((matches.b.first, matches.a.first))
    row = np.where(row >= 0, row, firsts[inputs + is_of_a * len(matches.b)])
    row += is_of_a * b.num_rows
    return {name: _taken(both, name, row) for name in _PLACED}


def _taken(table: pa.Table, name: str, rows: Integers) -> pa.Array:
    """A column's values in some rows, null for -1; text of categories."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    taken = column.take(pa.array(rows, mask=rows < 0))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _named(names: tuple[str, ...], codes: Integers) -> pa.Array:
    """Names by their codes, null for -1."""
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, list(names))


def _numbers(values: Floats) -> pa.Array:
    """float32, null for NaN."""
    return pa.array(values.astype(np.float32), mask=np.isnan(values))
