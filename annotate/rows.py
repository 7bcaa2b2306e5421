"""Rows: samples and predictions in, Arrow record batches with the columns of records.py out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from annotate.records import COLUMNS, FLAGS, Column, Predictions, Sample, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {
    "string": pa.string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
    "timestamp[ms]": pa.timestamp("ms"),
}
_NULLABLE = {"int16": "Int16", "int32": "Int32", "int64": "Int64"}

Plain = str | int | float | None
"""A value of an output's metadata."""

UNCERTAIN_AGE_SD = 10.0
"""Years. `uncertain` is set where age_sd is larger, or where the gender is nearly a toss-up.

The two constants are the whole rule; the README, which states it, is tested against them.
"""

UNCERTAIN_GENDER = (0.2, 0.8)
"""`uncertain` is set where female_probability lies strictly between the two."""


def schema(attributes: Mapping[str, Any] | None = None) -> pa.Schema:
    """The Arrow schema of a row. attributes: what `DataFrame.attrs` shows after reading."""
    fields = [pa.field(column.name, type_of(column)) for column in COLUMNS]
    return with_metadata(pa.schema(fields), attributes or {})


def type_of(column: Column) -> pa.DataType:
    """The Arrow type of a column."""
    return _TYPES[column.type]


def with_metadata(bare: pa.Schema, attributes: Mapping[str, Any]) -> pa.Schema:
    """The schema with what pandas reads: its attributes, and nullable integer columns.

    Source: the "pandas" key and PANDAS_ATTRS, as pandas' and Arrow's own writers set them.
    """
    columns = [_pandas_column(field) for field in bare]
    block = {"index_columns": [], "column_indexes": [], "columns": columns}
    return bare.with_metadata(
        {"pandas": json.dumps(block), "PANDAS_ATTRS": json.dumps(dict(attributes), sort_keys=True)}
    )


def attributes_of(described: pa.Schema) -> dict[str, Any]:
    """The attributes that `schema` was given; empty where there are none or they are broken."""
    try:
        found = json.loads((described.metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def plain(value: object) -> Plain:
    """What an output's metadata may hold of an option; None for what a stranger's may hold else."""
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return None


def _pandas_column(field: pa.Field) -> dict[str, Any]:
    name = str(field.type)
    described: dict[str, Any] = {"name": field.name, "field_name": field.name, "metadata": None}
    if name in _NULLABLE:
        return described | {"pandas_type": name, "numpy_type": _NULLABLE[name]}
    if pa.types.is_dictionary(field.type):
        metadata = {"num_categories": 0, "ordered": False}
        return described | {
            "pandas_type": "categorical",
            "numpy_type": "int32",
            "metadata": metadata,
        }
    if pa.types.is_timestamp(field.type):
        zone = field.type.tz
        unit = f"datetime64[{field.type.unit}]"
        return described | {
            "pandas_type": "datetimetz" if zone else "datetime",
            "numpy_type": unit,
            "metadata": {"timezone": zone} if zone else None,
        }
    text = pa.types.is_string(field.type)
    return described | {
        "pandas_type": "unicode" if text else name,
        "numpy_type": "object" if text else name,
    }


def to_record_batch(
    samples: Sequence[Sample], predictions: Predictions | None, bare: pa.Schema
) -> pa.RecordBatch:
    """Rows of samples: one a face, or one for a sample without faces.

    predictions: of all the samples' faces, in order; None where there are no faces.
    bare: the schema that `schema` made.
    """
    faces = sum(len(sample.faces) for sample in samples)
    if faces != (0 if predictions is None else len(predictions)):
        raise ValueError(f"{faces} faces, but predictions for another number")
    columns: dict[str, list[Any]] = {column.name: [] for column in COLUMNS}
    face_rows: list[int] = []
    for sample in samples:
        of_file = file_values(sample)
        for index in range(max(1, len(sample.faces))):
            if sample.faces:
                face_rows.append(len(columns["path"]))
            for name, value in (of_file | _face_values(sample, index)).items():
                columns[name].append(value)
    count = len(columns["path"])
    _add_predictions(columns, predictions, face_rows, count)
    arrays = [pa.array(columns[f.name], _plain(f.type)).cast(f.type) for f in bare]
    return pa.RecordBatch.from_arrays(arrays, schema=bare)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def file_values(sample: Sample) -> dict[str, Any]:
    """The columns that all rows of an input share."""
    facts, failure = sample.facts, sample.failure
    status = Status.OK if sample.faces else Status.NO_FACE
    count = None if failure is not None else len(sample.faces)
    modified = None
    if facts.modified_ns is not None:
        modified = _EPOCH + timedelta(microseconds=facts.modified_ns // 1000)
    return {
        "source": sample.source.source,
        "path": sample.source.path,
        "size_bytes": facts.size_bytes,
        "modified_at": modified,
        "sha256": facts.sha256,
        "width": facts.width,
        "height": facts.height,
        "captured_at": facts.captured_at,
        "status": str(failure.status if failure is not None else status),
        "error": (failure.error or None) if failure is not None else None,
        "face_count": count,
    }


def _face_values(sample: Sample, index: int) -> dict[str, Any]:
    """The columns of one face that detection fills; nulls where there is none."""
    face = sample.faces[index] if sample.faces else None
    box = face.box if face is not None else (None, None, None, None)
    return {
        "face_index": None if face is None else index,
        "x_min": box[0],
        "y_min": box[1],
        "x_max": box[2],
        "y_max": box[3],
        "detection_score": None if face is None else face.score,
        "flags": None if face is None else ";".join(face.flags) or None,
    }


def _add_predictions(
    columns: dict[str, list[Any]],
    predictions: Predictions | None,
    face_rows: list[int],
    count: int,
) -> None:
    """Fill the columns of the model's heads, and add `uncertain` to the flags."""
    names = ("age", "age_p10", "age_p90", "age_sd", "minor_probability", "female_probability")
    for name in (*names, "gender"):
        columns[name] = [None] * count
        values = getattr(predictions, name) if predictions is not None else None
        if values is not None:
            for row, value in zip(face_rows, values.tolist(), strict=True):
                columns[name][row] = value
    for row in face_rows:
        if _is_uncertain(columns["age_sd"][row], columns["female_probability"][row]):
            flags = [*(columns["flags"][row] or "").split(";"), "uncertain"]
            columns["flags"][row] = ";".join(flag for flag in FLAGS if flag in flags)


def _is_uncertain(age_sd: float | None, female_probability: float) -> bool:
    low, high = UNCERTAIN_GENDER
    return low < female_probability < high or (age_sd is not None and age_sd > UNCERTAIN_AGE_SD)
