"""Rows written by hand, as an output would hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from annotate.rows import schema


def table_of(*rows: Mapping[str, Any]) -> pa.Table:
    """Rows with what they are given, nulls elsewhere; `ok` crops of 100 px unless they differ."""
    usual = {"source": "/f", "status": "ok", "width": 100, "height": 100, "face_index": 0}
    usual |= {"x_min": 0, "y_min": 0, "x_max": 100, "y_max": 100}
    filled = [usual | dict(row) for row in rows]
    columns = []
    for field in schema():
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        columns.append(pa.array([row.get(field.name) for row in filled], kind).cast(field.type))
    return pa.table(columns, schema=schema())


def guess(path: str, age: float | None, female: float | None, **more: Any) -> dict[str, Any]:
    """A row of what a model says. sha256: that of the path, unless it is given."""
    gender = None if female is None else "female" if female >= 0.5 else "male"
    sha256 = hashlib.sha256(path.encode()).hexdigest()
    row = {"path": path, "age": age, "female_probability": female, "gender": gender}
    return row | {"sha256": sha256} | more


def face_at(
    path: str, index: int, box: tuple[float, float, float, float], age: float = 30, **more: Any
) -> dict[str, Any]:
    """A face that was found in a photograph. box: (x_min, y_min, x_max, y_max)."""
    sides = dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
    return guess(path, age, 0.9, face_index=index, detection_score=0.99, **(sides | more))


def no_face(path: str, **more: Any) -> dict[str, Any]:
    """A photograph in which no face was found."""
    nothing = dict.fromkeys(("face_index", "x_min", "y_min", "x_max", "y_max"))
    row = guess(path, None, None, status="no_face", face_count=0)
    return row | nothing | more
