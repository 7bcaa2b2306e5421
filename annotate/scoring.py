"""Scoring: rows and labels in, labelled rows and figures out. No files are touched.

One face an input is scored: the one nearest the centre of the picture, as `central_faces` has
it. Every input is either scored or counted under the reason why it is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from annotate.central_faces import (
    FaceCounts,
    Flags,
    floats,
    standing_rows,
    were_searched,
)
from annotate.curves import Curves, curves
from annotate.duplicates import DuplicateContent, duplicate_content
from annotate.gaps import Gap, largest_gaps
from annotate.heads import ADULT_AGE
from annotate.labels import Fault, Label, LabelSet
from annotate.metrics import RESAMPLES, Floats, Integers, MinorMetrics, minor_metrics
from annotate.mistakes import Mistakes, mistakes
from annotate.records import Status
from annotate.rows import attributes_of, with_metadata
from annotate.slices import Pairs, Slice, all_slices, predicted_age_bands, score_slice
from annotate.thresholds import Thresholds, thresholds

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
REPORT_FIELDS = (
    pa.field("label_age", pa.float32()),
    pa.field("label_gender", _DICTIONARY),
    pa.field("label_race", _DICTIONARY),
    pa.field("label_source", _DICTIONARY),
    pa.field("scored", pa.bool_()),
)
"""Columns that a report's `predictions.parquet` has beside those of records.COLUMNS. `scored`:
whether a figure rests on the row."""

NO_LABEL = "no_label"
OTHER_FACE = "other_face"  # the label is of a review, and of another face or of other bytes
NO_PREDICTION = "no_prediction"
_NOT_SCORED = ("malformed_name", "invalid_value", "duplicate_row", "unlabelled")
_ALONE = ("malformed_name", "unlabelled")
"""Faults of which each keeps an input from being scored, whatever else is wrong with it."""

HASH_DIGITS = 16
"""Hexadecimal digits of a SHA-256 by which a model lists the images of its training."""

_NO_LABEL = Label()
_EDGES = ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True, slots=True)
class TrainingOverlap:
    """How many inputs the model met in its training. known: whether the model says so at all.

    train: inputs that its weights were fitted to. validation: inputs that chose among weights.
    test: inputs that its authors measured it on. scored_train, scored_validation: those of them
    with a score; the others do not touch any figure.
    """

    known: bool
    train: int = 0
    validation: int = 0
    test: int = 0
    scored_train: int = 0
    scored_validation: int = 0


@dataclass(frozen=True)
class Scores:
    """What the rows are worth.

    table: all rows, with REPORT_FIELDS; labels are in the row of each input that stands for it.
    by_status: inputs by status. labelled: scored inputs by "age", "gender" and "race" label.
    not_scored: inputs by reason; with `scored` it sums to `inputs`. elsewhere: of the faults of a
    kind, how many are of inputs that not_scored counts under another reason, by that reason: each
    input counts once, and a file with a malformed name may also be broken. faults: "no_face",
    "label_conflict", and the failed inputs, each of the kind that its status names. faces: None
    for crops. pairs: labels and predictions of the scored inputs.
    minor: None where no probability to be a minor can be scored. not_trained_on: figures of the
    images that are new to the model, where only some are. thresholds: None without age labels.
    """

    table: pa.Table
    inputs: int
    by_status: Mapping[str, int]
    scored: int
    labelled: Mapping[str, int]
    not_scored: Mapping[str, int]
    elsewhere: Mapping[str, Mapping[str, int]]
    faces: FaceCounts | None
    faults: tuple[Fault, ...]
    duplicates: DuplicateContent
    training: TrainingOverlap
    overall: Slice
    minor: MinorMetrics | None
    not_trained_on: Slice | None
    slices: Mapping[str, tuple[Slice, ...]]
    predicted_age_bands: tuple[Slice, ...]
    pairs: Pairs
    curves: Curves
    thresholds: Thresholds | None
    mistakes: Mistakes

    @property
    def largest_gaps(self) -> tuple[Gap, ...]:
        """Between which slices the figures differ most."""
        return largest_gaps(self.slices)


def score(
    table: pa.Table,
    labels: LabelSet,
    *,
    parts: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Join labels to rows by `path` and compute every figure.

    table: rows of one SOURCE, as the pipeline makes them. parts: first HASH_DIGITS digits of an
    image's SHA-256 -> its part in the model's training; None or empty where that is not known.
    """
    inputs = _inputs(table, labels)
    pairs = _pairs(table, inputs)
    has_age = np.isfinite(pairs.age_label) & np.isfinite(pairs.age)
    has_gender = np.isfinite(pairs.female_label) & np.isfinite(pairs.female_probability)
    has_gender &= np.isfinite(pairs.female)
    scored = has_age | has_gender
    chosen = pairs.take(scored)
    conflicts, duplicates = duplicate_content(inputs.names, inputs.labels, inputs.sha256)
    training, trained_on = _training_overlap(inputs.sha256, parts or {}, scored)
    new = scored & ~trained_on
    written = _with_report_fields(table, inputs, scored, labels.source)
    reasons = _reasons(inputs, labels, scored)
    not_trained_on = None
    if 0 < new.sum() < scored.sum():
        where = {"trained_on": "no"}
        not_trained_on = score_slice(pairs.take(new), where, resamples=resamples, seed=seed)
    return Scores(
        table=written,
        inputs=len(inputs.rows),
        by_status=dict(Counter(inputs.statuses)),
        scored=int(scored.sum()),
        labelled={
            "age": int(has_age.sum()),
            "gender": int(has_gender.sum()),
            "race": int((chosen.race != "").sum()),
        },
        not_scored=dict(Counter(reason for _, reason in reasons)),
        elsewhere=_elsewhere(labels, dict(reasons)),
        faces=_face_counts(table, inputs),
        faults=(*_failed(table, inputs), *_without_face(table, inputs), *conflicts),
        duplicates=duplicates,
        training=training,
        overall=score_slice(chosen, {}, resamples=resamples, seed=seed),
        minor=_minor_metrics(chosen, resamples, seed),
        not_trained_on=not_trained_on,
        slices=all_slices(chosen, resamples=resamples, seed=seed),
        predicted_age_bands=predicted_age_bands(chosen, resamples=resamples, seed=seed),
        pairs=chosen,
        curves=curves(chosen, resamples=resamples, seed=seed),
        thresholds=thresholds(chosen),
        mistakes=mistakes(written),
    )


def _minor_metrics(pairs: Pairs, resamples: int, seed: int) -> MinorMetrics | None:
    """Figures of the faces' probability to be younger than ADULT_AGE."""
    age = pairs.age_label
    label = np.where(np.isfinite(age), age < ADULT_AGE, np.nan)
    return minor_metrics(label, pairs.minor_probability, resamples=resamples, seed=seed)


@dataclass(frozen=True)
class _Inputs:
    """What is known of each input: I entries, in the order of the rows.

    rows: int64 (I,), the row that stands for it. faces: int64 (I,), how many it has.
    """

    rows: Integers
    faces: Integers
    names: list[str]
    statuses: list[str]
    sha256: list[str | None]
    labels: list[Label]

    @property
    def is_labelled(self) -> Flags:
        """Whether there is a label to score; (I,)."""
        found = [label.age is not None or label.gender is not None for label in self.labels]
        return np.array(found, np.bool_)

    def are(self, status: Status) -> Flags:
        """Which inputs have a status; (I,)."""
        return np.array([found == status for found in self.statuses], np.bool_)


def _inputs(table: pa.Table, labels: LabelSet) -> _Inputs:
    standing = standing_rows(table)
    taken = table.select(["path", "status", "sha256", *_EDGES]).take(pa.array(standing.rows))
    names = taken.column("path").to_pylist()
    sha256 = taken.column("sha256").to_pylist()
    edges = zip(*(taken.column(name).to_pylist() for name in _EDGES), strict=True)
    boxes = edges if were_searched(table) else [None] * len(names)
    return _Inputs(
        rows=standing.rows,
        faces=standing.faces,
        names=names,
        statuses=taken.column("status").to_pylist(),
        sha256=sha256,
        labels=[
            label if label.face is None or label.face.is_scored(digest, box) else _NO_LABEL
            for label, digest, box in zip(
                (labels.labels.get(name, _NO_LABEL) for name in names), sha256, boxes, strict=True
            )
        ],
    )


def _pairs(table: pa.Table, inputs: _Inputs) -> Pairs:
    """Labels and predictions of the inputs; NaN where a prediction is not finite, or of no face."""
    standing = table.take(pa.array(inputs.rows))
    is_face = inputs.are(Status.OK)
    codes = {"female": 1.0, "male": 0.0}
    nan = float("nan")

    def column(name: str) -> Floats:
        values = floats(standing, name)
        return np.where(np.isfinite(values) & is_face, values, np.nan)

    ages = [nan if label.age is None else label.age for label in inputs.labels]
    genders = [codes.get(label.gender or "", nan) for label in inputs.labels]
    guesses = [codes.get(gender or "", nan) for gender in standing.column("gender").to_pylist()]
    return Pairs(
        # Scored as it is written: label_age is float32.
        age_label=np.array(ages, dtype=np.float32).astype(np.float64),
        age=column("age"),
        age_p10=column("age_p10"),
        age_p90=column("age_p90"),
        female_label=np.array(genders, dtype=np.float64),
        female=np.array(guesses, dtype=np.float64),
        female_probability=column("female_probability"),
        minor_probability=column("minor_probability"),
        race=np.array([label.race or "" for label in inputs.labels], dtype=np.str_),
    )


def _reasons(inputs: _Inputs, labels: LabelSet, scored: Flags) -> list[tuple[str, str]]:
    """The path of each input that is not scored, and why it is not."""
    by_path = {f.path: f.kind for f in reversed(labels.faults) if f.kind in _NOT_SCORED}
    reasons = []
    for index in np.flatnonzero(~scored):
        name, status, label = inputs.names[index], inputs.statuses[index], inputs.labels[index]
        if status != Status.OK:
            reason: str = status
        elif label.age is None and label.gender is None:
            is_of_other = labels.labels.get(name, _NO_LABEL) != label
            reason = OTHER_FACE if is_of_other else by_path.get(name, NO_LABEL)
        else:
            reason = NO_PREDICTION
        reasons.append((name, reason))
    return reasons


def _elsewhere(labels: LabelSet, reasons: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Of faults of _ALONE, those of inputs that count under another reason, by that reason.

    An input without a row is one that given predictions lack.
    """
    counts = Counter(
        (fault.kind, reasons.get(fault.path, NO_PREDICTION))
        for fault in labels.faults
        if fault.kind in _ALONE
    )
    found: dict[str, dict[str, int]] = {}
    for (kind, reason), n in sorted(counts.items()):
        if reason != kind:
            found.setdefault(kind, {})[reason] = n
    return found


def _face_counts(table: pa.Table, inputs: _Inputs) -> FaceCounts | None:
    """What detection found in the labelled inputs; None for crops."""
    if not were_searched(table):
        return None
    labelled = inputs.is_labelled
    found, missed = labelled & inputs.are(Status.OK), labelled & inputs.are(Status.NO_FACE)
    return FaceCounts(
        searched=int((found | missed).sum()),
        not_found=int(missed.sum()),
        several=int((inputs.faces[found] > 1).sum()),
        passed_over=int((inputs.faces[found] - 1).sum()),
    )


def _failed(table: pa.Table, inputs: _Inputs) -> list[Fault]:
    """A fault for each input that could not be read, of the kind that its status names."""
    failed = [i for i, status in enumerate(inputs.statuses) if Status(status).is_failure]
    rows = pa.array(inputs.rows[failed], pa.int64())
    errors = table.column("error").take(rows).to_pylist()
    return [
        Fault(str(inputs.statuses[index]), inputs.names[index], error or "no error was noted")
        for index, error in zip(failed, errors, strict=True)
    ]


def _without_face(table: pa.Table, inputs: _Inputs) -> list[Fault]:
    """A fault for each labelled input in which no face was found."""
    missed = np.flatnonzero(inputs.are(Status.NO_FACE) & inputs.is_labelled)
    sizes = table.select(["width", "height"]).take(pa.array(inputs.rows[missed])).to_pylist()
    return [
        Fault("no_face", inputs.names[index], _size_text(size["width"], size["height"]))
        for index, size in zip(missed, sizes, strict=True)
    ]


def _size_text(width: int | None, height: int | None) -> str:
    return "no face found" if width is None else f"no face found in {width} x {height} px"


def _training_overlap(
    sha256: list[str | None], parts: Mapping[str, str], scored: Flags
) -> tuple[TrainingOverlap, Flags]:
    """How many inputs the model met, and for each input whether its weights were fitted to it."""
    met = [parts.get(digest[:HASH_DIGITS]) if digest else None for digest in sha256]
    trained_on, chosen_by = (
        np.array([part == name for part in met], dtype=np.bool_) for name in ("train", "validation")
    )
    counts = Counter(met)
    overlap = TrainingOverlap(
        known=bool(parts),
        train=counts["train"],
        validation=counts["validation"],
        test=counts["test"],
        scored_train=int((trained_on & scored).sum()),
        scored_validation=int((chosen_by & scored).sum()),
    )
    return overlap, trained_on


def _with_report_fields(table: pa.Table, inputs: _Inputs, scored: Flags, source: str) -> pa.Table:
    """The table with REPORT_FIELDS: labels in the standing rows, null in all others."""
    columns: dict[str, list[Any]] = {f.name: [None] * table.num_rows for f in REPORT_FIELDS}
    columns["scored"] = [False] * table.num_rows
    for row, label, is_scored in zip(
        inputs.rows.tolist(), inputs.labels, scored.tolist(), strict=True
    ):
        columns["label_age"][row] = label.age
        columns["label_gender"][row] = label.gender
        columns["label_race"][row] = label.race
        columns["label_source"][row] = None if label == _NO_LABEL else source
        columns["scored"][row] = is_scored
    for field in REPORT_FIELDS:
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        table = table.append_column(field, pa.array(columns[field.name], plain).cast(field.type))
    described = with_metadata(table.schema, attributes_of(table.schema))
    return table.replace_schema_metadata(described.metadata)
