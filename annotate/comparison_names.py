"""Comparison names: the rows of a comparison in; which inputs and faces are new, gone or changed,
by name, out.

Counts say how many there are; whoever has to decide wants to know which. Lists are bounded, for an
output may have a million inputs: comparison.parquet has a row of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.central_faces import Flags
from annotate.comparison_rows import INPUTS
from annotate.metrics import Integers

PLACE = ("source_a", "path_a", "source_b", "path_b")
"""Columns that say where an input lies in A and in B."""

FACE = (*PLACE, "face_index_a", "face_index_b")
"""Columns that say which face of it a row is about."""


def inputs_of(rows: pa.Table, kind: str, most: int) -> list[dict[str, Any]]:
    """The first row of each input of a kind, in the order of the rows, `most` at most.

    rows: with comparison_rows.COLUMNS. kind: one of comparison_rows.INPUTS.
    """
    if kind not in INPUTS:
        raise ValueError(f"{kind!r}: expected one of {', '.join(INPUTS)}")
    return _first(rows, _is(rows, "input", kind), most)


def changed_statuses(rows: pa.Table, most: int) -> list[dict[str, Any]]:
    """The first row of each input that both have and whose status differs, `most` at most."""
    a, b = (rows.column(f"status_{side}").cast(pa.string()) for side in "ab")
    differs = pc.not_equal(a, b).fill_null(False).to_numpy()
    return _first(rows, _is(rows, "input", "both") & differs, most)


def faces_of(rows: pa.Table, kind: str, most: int) -> list[dict[str, Any]]:
    """Rows of the faces that are new or gone in the inputs that both have, `most` at most.

    kind: "new" or "gone".
    """
    chosen = np.flatnonzero(_is(rows, "input", "both") & _is(rows, "face", kind))
    return _taken(rows, chosen, most)


def named(row: Mapping[str, Any], place: tuple[str, ...], *values: str) -> dict[str, Any]:
    """Of a row what comparison.json names it by, and some values of A and B."""
    names = (*place, *(f"{value}_{side}" for value in values for side in "ab"))
    return {name: row[name] for name in names}


def _is(rows: pa.Table, name: str, value: str) -> Flags:
    """Which rows have a word in a column; (N,)."""
    found = pc.equal(rows.column(name).cast(pa.string()), value).fill_null(False)
    flags: Flags = found.to_numpy()
    return flags


def _first(rows: pa.Table, chosen: Flags, most: int) -> list[dict[str, Any]]:
    """Of each input the first of its chosen rows. Rows of one input stand together."""
    at = np.flatnonzero(chosen)
    codes = np.column_stack([_codes(rows.column(name).take(pa.array(at))) for name in PLACE])
    is_first = np.ones(len(at), bool)
    is_first[1:] = (codes[1:] != codes[:-1]).any(axis=1)
    return _taken(rows, at[is_first], most)


def _codes(column: pa.ChunkedArray) -> Integers:
    """A number for each text, the same for the same one, null included; int64 (N,)."""
    texts = column.cast(pa.string()).combine_chunks()
    codes = texts.dictionary_encode(null_encoding="encode").indices
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)


def _taken(rows: pa.Table, at: Integers, most: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.take(pa.array(at[:most])).to_pylist()
    return found
