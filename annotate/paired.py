"""Paired comparison: two evaluations of the same labelled images in; by how much their figures
differ, with intervals, out.

Images are joined by content, and both models are scored on the same faces against the same labels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotate.central_faces import floats
from annotate.errors import AnnotateError, shown
from annotate.joining import typed
from annotate.matching import common_codes, joint_codes, partners
from annotate.metrics import RESAMPLES, Flags, Floats, Integers
from annotate.names import escape
from annotate.paired_metrics import (
    PairedSlice,
    Wins,
    ages_nearer,
    genders_right,
    paired_slice,
    paired_slices,
)
from annotate.readers import read_table
from annotate.rows import attributes_of
from annotate.slices import Pairs
from annotate.version import __version__

PAIRED_VERSION = 1
"""`schema_version` of compared.json. Raised when a name is removed or changes its meaning."""

PREDICTIONS_FILE = "predictions.parquet"

_GENDERS = {"female": 1.0, "male": 0.0}
_LABELS = ("label_age", "label_gender", "label_race", "scored")

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One of the two reports. folder: absolute, None of the report that is being made. model: None
    where it does not say. scored: its scored images; only: of them, those that the other lacks.
    """

    folder: str | None
    model: str | None
    model_sha256: str | None
    scored: int
    only: int


@dataclass(frozen=True)
class PairedComparison:
    """What two evaluations say of the same images.

    labels_differ: of the images in both, those labelled otherwise there; the labels of this report
    count. slices: by dimension; only those that hold faces.
    """

    this: Evaluated
    other: Evaluated
    labels_differ: int
    overall: PairedSlice
    slices: Mapping[str, tuple[PairedSlice, ...]]
    ages_nearer: Wins
    genders_right: Wins

    def to_dict(self) -> dict[str, Any]:
        """What compared.json holds: plain values only."""
        return {
            "schema_version": PAIRED_VERSION,
            "annotate_version": __version__,
            "this": asdict(self.this),
            "other": asdict(self.other),
            "in_both": self.overall.n,
            "labels_differ": self.labels_differ,
            "overall": self.overall.to_dict(),
            "slices": {
                name: [part.to_dict() for part in found] for name, found in self.slices.items()
            },
            "ages_nearer": asdict(self.ages_nearer),
            "genders_right": asdict(self.genders_right),
        }


@dataclass(frozen=True)
class OtherReport:
    """The rows of a report that another one is set beside. folder: absolute."""

    folder: str
    table: pa.Table


def compared(
    table: pa.Table,
    other: OtherReport | AnyPath,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedComparison:
    """Set an evaluation beside another one, joined by content.

    table: this report's, with the columns of scoring.REPORT_FIELDS. other: the folder of the other
    report, or what read_report has read of it.
    Raises AnnotateError where there is none, or where the two have no scored image in common.
    """
    if not isinstance(other, OtherReport):
        other = read_report(other)
    this_scored, other_scored = _scored(table), _scored(other.table)
    rows_this, rows_other = _same_content(this_scored, other_scored)
    if not len(rows_this):
        raise AnnotateError(
            f"none of the {this_scored.num_rows:,} scored images is among the"
            f" {other_scored.num_rows:,} of {shown(other.folder, 300)}: expected a report on the"
            " same images"
        )
    this, others = this_scored.take(rows_this), other_scored.take(rows_other)
    labels = _labels(this)
    pairs, other_pairs = _pairs(this, labels), _pairs(others, labels)
    return PairedComparison(
        this=_evaluated(None, table, this_scored.num_rows, len(rows_this)),
        other=_evaluated(other.folder, other.table, other_scored.num_rows, len(rows_this)),
        labels_differ=_differing(this, others),
        overall=paired_slice(pairs, other_pairs, {}, resamples=resamples, seed=seed),
        slices=paired_slices(pairs, other_pairs, resamples=resamples, seed=seed),
        ages_nearer=ages_nearer(pairs, other_pairs),
        genders_right=genders_right(pairs, other_pairs),
    )


def read_report(folder: AnyPath) -> OtherReport:
    """Read the `predictions.parquet` of a report. Raises AnnotateError."""
    path = Path(folder) / PREDICTIONS_FILE
    name = shown(str(path), 300)
    if not path.is_file():
        raise AnnotateError(
            f"no {name}: expected the folder of a report, which `annotate evaluate --report` makes"
        )
    found = read_table(path)
    rows = typed(found, name)
    kinds = (pa.float32(), pa.string(), pa.string(), pa.bool_())
    for column, kind in zip(_LABELS, kinds, strict=True):
        try:
            values = found.column(column)
            if pa.types.is_dictionary(values.type):
                values = values.cast(values.type.value_type)
            rows = rows.append_column(column, values.cast(kind))
        except (KeyError, pa.ArrowException) as error:
            raise AnnotateError(
                f"column {column!r} of {name} is not what annotate writes:"
                f" {shown(str(error), 200, quote=False)}; expected the report of an evaluation"
            ) from error
    return OtherReport(escape(os.fsencode(os.path.abspath(folder))), rows)


def _scored(table: pa.Table) -> pa.Table:
    """The rows that figures rest on, by content: what comes out does not depend on their order."""
    chosen = table.filter(table.column("scored").fill_null(False))
    texts = [chosen.column(name).cast(pa.string()).to_pylist() for name in ("sha256", "path")]
    keys = [tuple(value or "" for value in key) for key in zip(*texts, strict=True)]
    return chosen.take(pa.array(sorted(range(len(keys)), key=keys.__getitem__), pa.int64()))


def _same_content(a: pa.Table, b: pa.Table) -> tuple[Integers, Integers]:
    """Rows of the same images, ascending: copies by their path, then in their order."""
    content, path = (common_codes(a.column(name), b.column(name)) for name in ("sha256", "path"))
    found = []
    free_a, free_b = np.ones(len(content[0]), bool), np.ones(len(content[1]), bool)
    for keys_a, keys_b in (joint_codes(content, path), content):
        at_a, at_b = partners(np.where(free_a, keys_a, -1), np.where(free_b, keys_b, -1))
        free_a[at_a] = free_b[at_b] = False
        found.append((at_a, at_b))
    rows_a, rows_b = (np.concatenate(side) for side in zip(*found, strict=True))
    order = np.argsort(rows_a)
    return rows_a[order], rows_b[order]


def _labels(table: pa.Table) -> dict[str, Any]:
    """The labels of a report's rows, as Pairs has them."""
    race = [value or "" for value in table.column("label_race").cast(pa.string()).to_pylist()]
    return {
        "age_label": floats(table, "label_age"),
        "female_label": _gender(table, "label_gender"),
        "race": np.array(race, dtype=np.str_),
    }


def _pairs(table: pa.Table, labels: Mapping[str, Any]) -> Pairs:
    """Labels, and the predictions of a report's rows; NaN for what is no number."""

    def column(name: str) -> Floats:
        values = floats(table, name)
        return np.where(np.isfinite(values), values, np.nan)

    return Pairs(
        **labels,
        age=column("age"),
        age_p10=column("age_p10"),
        age_p90=column("age_p90"),
        female=_gender(table, "gender"),
        female_probability=column("female_probability"),
        minor_probability=column("minor_probability"),
    )


def _gender(table: pa.Table, name: str) -> Floats:
    """1 female, 0 male, NaN for anything else."""
    texts = table.column(name).cast(pa.string()).to_pylist()
    return np.array([_GENDERS.get(text or "", np.nan) for text in texts], dtype=np.float64)


def _differing(this: pa.Table, other: pa.Table) -> int:
    """How many images the two reports label differently, where both say something."""
    ages = [floats(table, "label_age") for table in (this, other)]
    genders = [_gender(table, "label_gender") for table in (this, other)]
    differ: Flags = np.zeros(this.num_rows, bool)
    for a, b in (ages, genders):
        differ |= np.isfinite(a) & np.isfinite(b) & (a != b)
    return int(differ.sum())


def _evaluated(folder: str | None, table: pa.Table, scored: int, joined: int) -> Evaluated:
    said = attributes_of(table.schema)
    model, sha256 = (
        value if isinstance(value := said.get(name), str) else None
        for name in ("model", "model_sha256")
    )
    return Evaluated(folder, model, sha256, scored, scored - joined)
