"""Rows: samples and predictions to record batches, and the schema that pandas reads."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate.records import (
    COLUMNS,
    FLAGS,
    Face,
    Facts,
    Failure,
    Predictions,
    Sample,
    Source,
    Status,
)
from annotate.rows import (
    UNCERTAIN_AGE_SD,
    UNCERTAIN_GENDER,
    attributes_of,
    schema,
    to_record_batch,
    with_metadata,
)


def sample(
    path: str, *faces: Face, failure: Failure | None = None, facts: Facts | None = None
) -> Sample:
    pixels = np.zeros((len(faces), 2, 2, 3), np.uint8)
    return Sample(
        Source(0, "/in", path, path.encode(), 1, 2), facts or Facts(), faces, pixels, failure
    )


def predictions(count: int, **heads: list[float]) -> Predictions:
    values = {"age": [30.0] * count, "female_probability": [0.9] * count} | heads
    return Predictions(**{name: np.array(v, np.float32) for name, v in values.items()})


def test_one_row_a_face_and_one_for_an_input_without(tmp_path: Path) -> None:
    samples = [
        sample("none.png"),
        sample("two.png", Face((0, 1, 2, 3), 0.5), Face((4.5, 5, 6, 7), 0.25, ("edge",))),
        sample("bad.png", failure=Failure(Status.DECODE_ERROR, "broken")),
        sample("one.png", Face((0, 0, 9, 9))),
    ]
    made = predictions(3, age=[1, 2, 3], female_probability=[0.0, 1.0, 0.5])
    rows = to_record_batch(samples, made, schema()).to_pylist()
    shown = [
        (
            r["path"],
            r["status"],
            r["error"],
            r["face_index"],
            r["face_count"],
            r["age"],
            r["gender"],
        )
        for r in rows
    ]
    assert shown == [
        ("none.png", "no_face", None, None, 0, None, None),
        ("two.png", "ok", None, 0, 2, 1.0, "male"),
        ("two.png", "ok", None, 1, 2, 2.0, "female"),
        ("bad.png", "decode_error", "broken", None, None, None, None),
        ("one.png", "ok", None, 0, 1, 3.0, "female"),
    ]
    assert [r["detection_score"] for r in rows] == [None, 0.5, 0.25, None, None]
    assert [r["x_min"] for r in rows] == [None, 0.0, 4.5, None, 0.0]
    assert [r["flags"] for r in rows] == [None, None, "edge", None, "uncertain"]
    assert all(r["age_p10"] is None and r["minor_probability"] is None for r in rows)


def test_flags_keep_their_order_and_uncertainty_is_strict() -> None:
    low, high = UNCERTAIN_GENDER
    # Probabilities a little outside and inside, where the rounding to float32 decides nothing.
    female = [low - 1e-6, low + 1e-6, high - 1e-6, high + 1e-6, 0.0, 1.0, 0.0]
    sd = [1, 1, 1, 1, UNCERTAIN_AGE_SD, UNCERTAIN_AGE_SD - 1e-5, UNCERTAIN_AGE_SD + 1e-5]
    faces = [Face((0, 0, 1, 1), flags=("small_face", "edge"))] * 7
    made = predictions(
        7,
        female_probability=female,
        age_sd=sd,
        age_p10=[0] * 7,
        age_p90=[0] * 7,
        minor_probability=[0] * 7,
    )
    flags = to_record_batch([sample("a", *faces)], made, schema()).column("flags").to_pylist()
    plain, marked = "small_face;edge", "small_face;edge;uncertain"
    assert flags == [plain, marked, marked, plain, plain, plain, marked]
    assert FLAGS.index("uncertain") == len(FLAGS) - 1


def test_times_and_facts() -> None:
    facts = Facts(
        size_bytes=2**40,
        modified_ns=1_700_000_000_123_456_789,
        sha256="ab",
        width=70_000,
        height=1,
        captured_at=datetime(2019, 7, 4, 12, 34, 56, 789_000),
    )
    (row,) = to_record_batch([sample("a", facts=facts)], None, schema()).to_pylist()
    assert row["modified_at"].isoformat() == "2023-11-14T22:13:20.123456+00:00"
    assert row["captured_at"] == facts.captured_at
    assert (row["size_bytes"], row["width"], row["height"]) == (2**40, 70_000, 1)


@pytest.mark.parametrize("ns", [2**63 - 1, -(2**63), -1])
def test_the_ends_of_time(ns: int) -> None:
    batch = to_record_batch([sample("a", facts=Facts(modified_ns=ns))], None, schema())
    assert batch.column("modified_at").cast(pa.int64()).to_pylist() == [ns // 1000]


def test_predictions_must_be_as_many_as_faces() -> None:
    one = sample("a", Face((0, 0, 1, 1)))
    for made in (None, predictions(2)):
        with pytest.raises(ValueError, match="faces"):
            to_record_batch([one], made, schema())


def test_no_samples_make_an_empty_batch() -> None:
    batch = to_record_batch([], None, schema())
    assert (batch.num_rows, batch.schema.names) == (0, [column.name for column in COLUMNS])


def test_pandas_reads_the_types_that_the_schema_promises(tmp_path: Path) -> None:
    facts = Facts(1, 10**18, "ab", 5, 6, datetime(2019, 7, 4))
    samples = [sample("a", Face((0, 0, 1, 1)), facts=facts), sample("b")]
    attributes = {"model": "fake", "deep": {"a": [1, None, "é"]}}
    described = schema(attributes)
    table = pa.Table.from_batches([to_record_batch(samples, predictions(1), described)])
    pq.write_table(table, tmp_path / "x.parquet")
    frame = pd.read_parquet(tmp_path / "x.parquet")
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert frame.attrs == attributes
    assert isinstance(frame.index, pd.RangeIndex)
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert {kinds[n] for n in ("source", "status", "gender")} == {"category"}
    assert kinds["size_bytes"] == "Int64"
    assert kinds["width"] == kinds["height"] == "Int32"
    assert kinds["face_index"] == kinds["face_count"] == "Int16"
    assert kinds["modified_at"] == "datetime64[us, UTC]"
    assert kinds["captured_at"] == "datetime64[ms]"
    assert kinds["age"] == kinds["female_probability"] == kinds["x_min"] == "float32"
    assert frame["face_index"].isna().tolist() == [False, True]
    assert frame["gender"].cat.categories.tolist() == ["female"]
    assert frame.groupby("gender", observed=True)["age"].mean().to_dict() == {"female": 30.0}


def test_attributes_survive_and_broken_ones_count_as_none() -> None:
    assert attributes_of(schema({"a": 1})) == {"a": 1}
    assert attributes_of(schema()) == {}
    assert attributes_of(pa.schema([])) == {}
    for broken in (b"{", b"[]", b"\xff"):
        assert attributes_of(pa.schema([], metadata={b"PANDAS_ATTRS": broken})) == {}


def test_metadata_of_any_schema_is_json() -> None:
    bare = pa.schema([("a", pa.int16()), ("b", pa.string()), ("c", pa.timestamp("us", "UTC"))])
    described = with_metadata(bare, {})
    names = [c["name"] for c in json.loads(described.metadata[b"pandas"])["columns"]]
    assert names == ["a", "b", "c"]


def test_a_sample_checks_itself() -> None:
    source = Source(0, "/in", "a", b"a", 1, 2)
    with pytest.raises(ValueError, match="1 faces but 2 crops"):
        Sample(source, Facts(), (Face((0, 0, 1, 1)),), np.zeros((2, 2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="no faces"):
        sample("a", Face((0, 0, 1, 1)), failure=Failure(Status.CRASHED, "x"))
    with pytest.raises(ValueError, match="shape"):
        predictions(2, age=[1.0])


def test_the_statuses_are_the_closed_list() -> None:
    failures = {"decode_error", "too_large", "unreadable", "changed", "timeout", "crashed"}
    assert {str(s) for s in Status if s.is_failure} == failures
    assert {str(s) for s in Status} - failures == {"ok", "no_face", "duplicate", "unsupported"}
