"""Pairs of outputs, compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from annotate import Comparison, compare
from annotate.writers import write_parquet
from tests.hand_made import face_at, guess, no_face, table_of

Row = dict[str, Any]


BOX = (10.0, 10.0, 50.0, 50.0)


OTHER = (60.0, 10.0, 90.0, 50.0)


def compared(tmp_path: Path, a: list[Row], b: list[Row], **options: Any) -> Comparison:
    for name, rows in (("a", a), ("b", b)):
        write_parquet(table_of(*rows), tmp_path / f"{name}.parquet")
    return compare(tmp_path / "a.parquet", tmp_path / "b.parquet", **options)


@pytest.fixture
def moved(tmp_path: Path) -> Comparison:
    """Two outputs of the same photographs, a month apart."""
    a = [
        face_at("party.jpg", 0, BOX, age=30),
        face_at("party.jpg", 1, OTHER, age=40),
        guess("ann.jpg", 20, 0.9),
        guess("bob.jpg", 60, 0.4),
        guess("edited.jpg", 50, 0.1),
        guess("gone.jpg", 70, 0.1),
        no_face("wall.jpg"),
        no_face("broken.jpg", status="decode_error"),
    ]
    b = [
        face_at("party.jpg", 0, BOX, age=33),  # the other one is not found any more
        guess("new/ann.jpg", 14, 0.2, sha256=a[2]["sha256"]),  # moved, and now male
        guess("bob.jpg", 60.25, 0.6),  # now female
        guess("edited.jpg", 55, 0.9, sha256="0" * 64),
        guess("fresh.jpg", 5, 0.3),
        face_at("wall.jpg", 0, BOX, age=9),
        guess("broken.jpg", 44, 0.7),
    ]
    return compared(tmp_path, a, b)
