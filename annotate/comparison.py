"""Comparison: two outputs of the same images in; what moved from one to the other, out.

Inputs are joined by their content, faces of one input by their boxes. Nothing is decoded. What is
said of A and B is about the rows that they have; it is a count of all of them, not a sample, so
that there are no intervals.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from annotate.central_faces import floats
from annotate.comparison_figures import (
    AgeShifts,
    BandShifts,
    FaceCounts,
    GenderFlips,
    InputCounts,
    age_shifts,
    by_band,
    face_counts,
    flip_codes,
    gender_flips,
    input_counts,
    rounded,
    statuses_of,
)
from annotate.comparison_names import FACE, PLACE, changed_statuses, faces_of, inputs_of, named
from annotate.comparison_rows import comparison_rows
from annotate.errors import AnnotateError, shown
from annotate.frames import to_frame
from annotate.joining import typed
from annotate.matching import Inputs, match
from annotate.metrics import Floats
from annotate.names import escape
from annotate.readers import read_table
from annotate.rows import Plain, attributes_of, plain
from annotate.version import __version__

if TYPE_CHECKING:
    import pandas as pd

COMPARISON_VERSION = 1
"""`schema_version` of comparison.json. Raised when a name is removed or changes its meaning."""

MADE_WITH = (
    "model",
    "model_sha256",
    "preprocessing_version",
    "engine",
    "device",
    "tta",
    "faces",
    "detector",
    "detect_size",
    "min_face_px",
    "min_score",
    "max_faces",
    "max_pixels",
    "skip_duplicates",
    "annotate_version",
)
"""Of an output's metadata, what decided its rows."""

LISTED = 48
"""Faces that are named of those that moved most."""

NAMED = 1000
"""Inputs and faces of a kind that comparison.json names; comparison.parquet has all."""

LEAST_SHIFT = 0.5
"""Years: smaller shifts are not named, for two engines make them."""

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two outputs. path: absolute. made_with: MADE_WITH as its metadata has it; empty
    where there is none, as in CSV and JSON lines.
    """

    path: str
    rows: int
    inputs: int
    faces: int
    made_with: Mapping[str, Plain]


@dataclass(frozen=True)
class Comparison:
    """What moved from output A to output B.

    statuses: inputs that both have, by status in A and in B; rewritten_statuses: the rewritten ones
    likewise. by_band: only bands that hold faces.
    rows: the table that comparison.parquet holds, with comparison_rows.COLUMNS.
    """

    a: Side
    b: Side
    inputs: InputCounts
    statuses: Mapping[tuple[str, str], int]
    rewritten_statuses: Mapping[tuple[str, str], int]
    faces: FaceCounts
    age: AgeShifts
    gender: GenderFlips
    by_band: tuple[BandShifts, ...]
    rows: pa.Table = field(repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """A row a face of either output, and one for each input without: comparison.parquet."""
        return to_frame(self.rows)

    @property
    def is_made_known(self) -> bool:
        """Whether both outputs say how they were made."""
        return bool(self.a.made_with and self.b.made_with)

    @property
    def made_differently(self) -> dict[str, tuple[Plain, Plain]]:
        """In what the making of A and B differs, as far as they say."""
        a, b = self.a.made_with, self.b.made_with
        return {
            name: (a.get(name), b.get(name))
            for name in MADE_WITH
            if self.is_made_known and a.get(name) != b.get(name)
        }

    @property
    def status_changes(self) -> dict[tuple[str, str], int]:
        """Inputs that both have and whose status differs, by both statuses, most first."""
        return _changed(self.statuses)

    @property
    def rewritten_status_changes(self) -> dict[tuple[str, str], int]:
        """Rewritten inputs whose status differs: their bytes do, too."""
        return _changed(self.rewritten_statuses)

    def inputs_of(self, kind: str, most: int = NAMED) -> list[dict[str, Any]]:
        """The first row of each input that is "new", "vanished" or "rewritten", in order."""
        return inputs_of(self.rows, kind, most)

    def changed_statuses(self, most: int = NAMED) -> list[dict[str, Any]]:
        """The first row of each input that both have and whose status differs, in order."""
        return changed_statuses(self.rows, most)

    def faces_of(self, kind: str, most: int = NAMED) -> list[dict[str, Any]]:
        """Rows of the faces that are "new" or "gone" in the inputs that both have, in order."""
        return faces_of(self.rows, kind, most)

    def largest_shifts(self, most: int = LISTED) -> list[dict[str, Any]]:
        """Rows of the faces whose age moved most, at least by LEAST_SHIFT, largest first."""
        size = np.abs(floats(self.rows, "age_shift"))
        return self._first(np.where(size >= LEAST_SHIFT, -size, np.nan), most)

    def surest_flips(self, most: int = LISTED) -> list[dict[str, Any]]:
        """Rows of the faces whose gender changed, first those of which both were surest."""
        sides = [np.abs(floats(self.rows, f"female_probability_{side}") - 0.5) for side in "ab"]
        sureness = np.nan_to_num(np.minimum(*sides), nan=0.0)
        return self._first(np.where(flip_codes(self.rows) > 0, -sureness, np.nan), most)

    def _first(self, keys: Floats, most: int) -> list[dict[str, Any]]:
        """The rows of the smallest keys, ascending, those with NaN left out."""
        known = np.flatnonzero(~np.isnan(keys))
        order = known[np.argsort(keys[known], kind="stable")][:most]
        rows: list[dict[str, Any]] = self.rows.take(pa.array(order)).to_pylist()
        return rows

    def to_dict(self) -> dict[str, Any]:
        """What comparison.json holds: plain values only."""
        return {
            "schema_version": COMPARISON_VERSION,
            "annotate_version": __version__,
            "a": asdict(self.a),
            "b": asdict(self.b),
            "made_differently": {
                name: {"a": a, "b": b} for name, (a, b) in self.made_differently.items()
            },
            "inputs": asdict(self.inputs),
            "statuses": _counted(self.statuses),
            "rewritten_statuses": _counted(self.rewritten_statuses),
            "faces": asdict(self.faces),
            "age": self.age.to_dict(),
            "gender": self.gender.to_dict(),
            "by_age_band_of_a": [part.to_dict() for part in self.by_band],
            "largest_age_shifts": [_face(row, "age") for row in self.largest_shifts()],
            "surest_gender_flips": [
                _face(row, "gender", "female_probability") for row in self.surest_flips()
            ],
            "new_inputs": [_input(row) for row in self.inputs_of("new")],
            "vanished_inputs": [_input(row) for row in self.inputs_of("vanished")],
            "rewritten_inputs": [_input(row) for row in self.inputs_of("rewritten")],
            "changed_statuses": [_input(row) for row in self.changed_statuses()],
            "new_faces": [_face(row, "age", "gender") for row in self.faces_of("new")],
            "gone_faces": [_face(row, "age", "gender") for row in self.faces_of("gone")],
        }

    def render(self) -> str:
        """The comparison as text for a terminal, without a final newline."""
        from annotate.report.comparison_text import render

        return render(self)


def compare(
    a: AnyPath, b: AnyPath, *, report_dir: AnyPath | None = None, thumbnails: bool = True
) -> Comparison:
    """Compare two outputs of `annotate run` over the same images: what moved from A to B.

    a, b: Parquet, CSV, JSON lines or a folder. report_dir: where comparison.html, its plots as PNG,
    comparison.json and comparison.parquet are written, made if needed; None writes nothing.
    thumbnails: whether the page shows the faces that moved most, or names them only.
    Raises AnnotateError where one of them is no output, or the report cannot be written.
    """
    if report_dir is not None:
        from annotate.report.folder import make_folder

        make_folder(report_dir)
    table_a, table_b = _read(a), _read(b)
    matches = match(table_a, table_b)
    rows = comparison_rows(table_a, table_b, matches)
    found = Comparison(
        a=_side(a, table_a, matches.a),
        b=_side(b, table_b, matches.b),
        inputs=input_counts(matches),
        statuses=statuses_of(table_a, table_b, matches),
        rewritten_statuses=statuses_of(table_a, table_b, matches, rewritten=True),
        faces=face_counts(rows),
        age=age_shifts(floats(rows, "age_shift")),
        gender=gender_flips(flip_codes(rows)),
        by_band=by_band(rows),
        rows=rows,
    )
    if report_dir is not None:
        from annotate.report.comparison_page import write_report

        write_report(found, report_dir, thumbnails=thumbnails)
    return found


def _read(path: AnyPath) -> pa.Table:
    name = shown(os.fspath(path), 300)
    table = typed(read_table(path), name)
    if not table.num_rows:
        raise AnnotateError(f"{name} has no rows: there is nothing to compare")
    return table


def _side(path: AnyPath, table: pa.Table, inputs: Inputs) -> Side:
    said = attributes_of(table.schema)
    made = {name: plain(said[name]) for name in MADE_WITH if name in said}
    return Side(
        escape(os.fsencode(os.path.abspath(path))),
        table.num_rows,
        len(inputs),
        int(inputs.is_face.sum()),
        made,
    )


def _changed(statuses: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Those pairs of statuses of which one is not the other, most inputs first."""
    changed = {pair: n for pair, n in statuses.items() if pair[0] != pair[1]}
    return dict(sorted(changed.items(), key=lambda item: (-item[1], item[0])))


def _counted(statuses: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [{"a": a, "b": b, "inputs": n} for (a, b), n in sorted(statuses.items())]


def _input(row: Mapping[str, Any]) -> dict[str, Any]:
    """What comparison.json says of a named input."""
    return named(row, PLACE, "status")


def _face(row: Mapping[str, Any], *values: str) -> dict[str, Any]:
    """What comparison.json says of a named face; numbers to six decimals."""
    said = named(row, FACE, *values)
    return {n: rounded(v) if isinstance(v, float) else v for n, v in said.items()}
