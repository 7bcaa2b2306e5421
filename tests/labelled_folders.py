"""Labelled folders of which the predictions are written by hand."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from annotate import EvaluationReport, evaluate
from annotate.writers import write_parquet
from tests.hand_made import guess, table_of

WRITTEN_NS = 1_700_000_000_000_000_000
"""When all files were written, as rows have it."""

Row = dict[str, Any]


def scored(tmp_path: Path, rows: Iterable[Mapping[str, Any]], **options: Any) -> EvaluationReport:
    """The evaluation of a folder in tmp_path that holds the files which rows are about.

    A row that brings `data` gets a file of these bytes; others one that holds its name.
    """
    folder = tmp_path / "labelled"
    folder.mkdir(exist_ok=True)
    told = []
    for row in rows:
        values = dict(row)
        data = values.pop("data", values["path"].encode())
        (folder / values["path"]).write_bytes(data)
        os.utime(folder / values["path"], ns=(WRITTEN_NS, WRITTEN_NS))
        told.append(values | {"sha256": hashlib.sha256(data).hexdigest()})
    write_parquet(table_of(*told), tmp_path / "said.parquet")
    return evaluate(folder, predictions=tmp_path / "said.parquet", **({"bootstrap": 20} | options))


def drawn(path: str, age: float, female: float, colour: str = "teal", **more: Any) -> Row:
    """A row about a picture of one colour, 100 px wide and high, which comes with it."""
    data = io.BytesIO()
    Image.new("RGB", (100, 100), colour).save(data, "PNG")
    # What follows the picture is no part of it, but makes each file another.
    return guess(path, age, female, data=data.getvalue() + path.encode(), **more)


def forty() -> list[Row]:
    """Labels from 15 to 54 years, women and men by turns; estimates 3 years too old, with an
    interval from 3 years below the label to 5 above; one gender wrong, of which the model is sure.
    """
    rows = []
    for i in range(40):
        female = 0.875 if i % 2 else 0.125
        years = {"age_sd": 4.0, "age_p10": 12.0 + i, "age_p90": 20.0 + i}
        minor = {"minor_probability": 0.75 if i < 3 else 0.05}
        name = f"{15 + i}_{i % 2}_{i % 5}_{i}.jpg"
        rows.append(drawn(name, 18 + i, 0.995 if i == 0 else female, **years, **minor))
    return rows
