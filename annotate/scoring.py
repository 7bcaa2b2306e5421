"""Scoring: rows and labels in, labelled rows and figures out. No files are touched.

One face an input is scored: the one nearest the centre of the picture. Every input is either
scored or counted under the reason why it is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annotate.labels import Fault, Label, LabelSet
from annotate.metrics import RESAMPLES, Floats
from annotate.records import Status
from annotate.rows import attributes_of, with_metadata
from annotate.slices import Pairs, Slice, all_slices, score_slice

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
LABEL_FIELDS = (
    pa.field("label_age", pa.float32()),
    pa.field("label_gender", _DICTIONARY),
    pa.field("label_race", _DICTIONARY),
    pa.field("label_source", _DICTIONARY),
)
"""Columns that a report's `predictions.parquet` has beside those of records.COLUMNS."""

NO_LABEL = "no_label"
NO_PREDICTION = "no_prediction"
_NOT_SCORED = ("malformed_name", "invalid_value", "duplicate_row", "unlabelled")
HASH_DIGITS = 16
"""Hexadecimal digits of a SHA-256 by which a model lists the images of its training."""

_NO_LABEL = Label()


@dataclass(frozen=True, slots=True)
class DuplicateContent:
    """Byte-identical files. groups: of two files or more. files: in all groups together.

    *_conflicts: groups whose files are labelled differently.
    """

    groups: int
    files: int
    age_conflicts: int
    gender_conflicts: int
    race_conflicts: int


@dataclass(frozen=True, slots=True)
class TrainingOverlap:
    """How many inputs the model met in its training. known: whether the model says so at all.

    train: inputs that its weights were fitted to. validation: inputs that chose among weights.
    test: inputs that its authors measured it on. scored_train: inputs of `train` with a score.
    """

    known: bool
    train: int = 0
    validation: int = 0
    test: int = 0
    scored_train: int = 0


@dataclass(frozen=True)
class Scores:
    """What the rows are worth.

    table: all rows, with LABEL_FIELDS filled for the row of each input that stands for it.
    by_status: inputs by status. labelled: scored inputs by "age", "gender" and "race" label.
    not_scored: inputs by reason; with `scored` it sums to `inputs`. faults: "label_conflict".
    not_trained_on: figures of the images that are new to the model, where only some are.
    """

    table: pa.Table
    inputs: int
    by_status: Mapping[str, int]
    scored: int
    labelled: Mapping[str, int]
    not_scored: Mapping[str, int]
    faults: tuple[Fault, ...]
    duplicates: DuplicateContent
    training: TrainingOverlap
    overall: Slice
    not_trained_on: Slice | None
    slices: Mapping[str, tuple[Slice, ...]]


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
    names: list[str] = table.column("path").to_pylist()
    statuses: list[str] = table.column("status").to_pylist()
    sha256: list[str | None] = table.column("sha256").to_pylist()
    rows = _standing_rows(table, names)
    of_rows = [labels.labels.get(names[row], _NO_LABEL) for row in rows]
    pairs = _pairs(table, rows, of_rows)
    has_age = np.isfinite(pairs.age_label) & np.isfinite(pairs.age)
    has_gender = np.isfinite(pairs.female_label) & np.isfinite(pairs.female_probability)
    has_gender &= np.isfinite(pairs.female)
    scored = has_age | has_gender
    reasons = _reasons(
        [names[row] for row in rows], [statuses[row] for row in rows], of_rows, labels
    )
    hashes = [sha256[row] for row in rows]
    faults, duplicates = _duplicate_content([names[row] for row in rows], hashes, of_rows)
    training, trained_on = _training_overlap(hashes, parts or {}, scored)
    new = scored & ~trained_on
    not_trained_on = None
    if 0 < new.sum() < scored.sum():
        where = {"trained_on": "no"}
        not_trained_on = score_slice(pairs.take(new), where, resamples=resamples, seed=seed)
    chosen = pairs.take(scored)
    return Scores(
        table=_with_labels(table, rows, of_rows, labels.source),
        inputs=len(rows),
        by_status=dict(Counter(statuses[row] for row in rows)),
        scored=int(scored.sum()),
        labelled={
            "age": int(has_age.sum()),
            "gender": int(has_gender.sum()),
            "race": int((chosen.race != "").sum()),
        },
        not_scored=dict(Counter(r for r, yes in zip(reasons, scored, strict=True) if not yes)),
        faults=faults,
        duplicates=duplicates,
        training=training,
        overall=score_slice(chosen, {}, resamples=resamples, seed=seed),
        not_trained_on=not_trained_on,
        slices=all_slices(chosen, resamples=resamples, seed=seed),
    )


def _numbers(table: pa.Table, name: str) -> Floats:
    """A numeric column as float64, NaN for null."""
    return np.asarray(
        table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
    )


def _standing_rows(table: pa.Table, names: list[str]) -> list[int]:
    """For each input, in order, the row of the face nearest the centre of its picture.

    Of two that are equally near the first; of an input without faces its only row.
    """
    across = (_numbers(table, "x_min") + _numbers(table, "x_max") - _numbers(table, "width")) / 2
    down = (_numbers(table, "y_min") + _numbers(table, "y_max") - _numbers(table, "height")) / 2
    distance = np.nan_to_num(np.hypot(across, down), nan=np.inf)
    nearest: dict[str, int] = {}
    for row, name in enumerate(names):
        best = nearest.setdefault(name, row)
        if distance[row] < distance[best]:
            nearest[name] = row
    return list(nearest.values())


def _pairs(table: pa.Table, rows: list[int], labels: list[Label]) -> Pairs:
    """Labels and predictions of the standing rows; predictions that are not finite are NaN."""
    standing = table.take(pa.array(rows, pa.int64()))
    codes = {"female": 1.0, "male": 0.0}
    nan = float("nan")

    def column(name: str) -> Floats:
        values = _numbers(standing, name)
        return np.where(np.isfinite(values), values, np.nan)

    ages = [nan if label.age is None else label.age for label in labels]
    genders = [codes.get(label.gender or "", nan) for label in labels]
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
        race=np.array([label.race or "" for label in labels], dtype=np.str_),
    )


def _reasons(
    names: list[str], statuses: list[str], of_rows: list[Label], labels: LabelSet
) -> list[str]:
    """For each input why it is not scored, if it is not."""
    by_path = {f.path: f.kind for f in reversed(labels.faults) if f.kind in _NOT_SCORED}
    reasons = []
    for name, status, label in zip(names, statuses, of_rows, strict=True):
        if status != Status.OK:
            reasons.append(status)
        elif label.age is None and label.gender is None:
            reasons.append(by_path.get(name, NO_LABEL))
        else:
            reasons.append(NO_PREDICTION)
    return reasons


def _duplicate_content(
    names: list[str], sha256: list[str | None], labels: list[Label]
) -> tuple[tuple[Fault, ...], DuplicateContent]:
    """Groups of byte-identical files, and a fault for each group whose labels disagree."""
    groups: dict[str, list[int]] = {}
    for index, digest in enumerate(sha256):
        if digest is not None:
            groups.setdefault(digest, []).append(index)
    several = [group for group in groups.values() if len(group) > 1]
    conflicts: Counter[str] = Counter()
    faults = []
    for group in several:
        differing = {
            name: found
            for name in ("age", "gender", "race")
            if len(found := _distinct([getattr(labels[index], name) for index in group])) > 1
        }
        conflicts.update(differing.keys())
        if differing:
            said = ", ".join(f"{name} {' / '.join(f)}" for name, f in differing.items())
            others = "; ".join(names[index] for index in group[1:])
            detail = f"{said}; same bytes as {others}"
            faults.append(Fault("label_conflict", names[group[0]], detail))
    return tuple(faults), DuplicateContent(
        groups=len(several),
        files=sum(map(len, several)),
        age_conflicts=conflicts["age"],
        gender_conflicts=conflicts["gender"],
        race_conflicts=conflicts["race"],
    )


def _distinct(values: list[Any]) -> list[str]:
    """The different labels among some, in order, as text; absent ones say nothing."""
    known = dict.fromkeys(value for value in values if value is not None)
    return [f"{value:g}" if isinstance(value, float) else value for value in known]


def _training_overlap(
    sha256: list[str | None], parts: Mapping[str, str], scored: npt.NDArray[np.bool_]
) -> tuple[TrainingOverlap, npt.NDArray[np.bool_]]:
    """How many inputs the model met, and for each input whether its weights were fitted to it."""
    met = [parts.get(digest[:HASH_DIGITS]) if digest else None for digest in sha256]
    trained_on = np.array([part == "train" for part in met], dtype=np.bool_)
    counts = Counter(met)
    overlap = TrainingOverlap(
        known=bool(parts),
        train=counts["train"],
        validation=counts["validation"],
        test=counts["test"],
        scored_train=int((trained_on & scored).sum()),
    )
    return overlap, trained_on


def _with_labels(table: pa.Table, rows: list[int], labels: list[Label], source: str) -> pa.Table:
    """The table with LABEL_FIELDS, filled in the standing rows, null in all others."""
    columns: dict[str, list[Any]] = {f.name: [None] * table.num_rows for f in LABEL_FIELDS}
    for row, label in zip(rows, labels, strict=True):
        columns["label_age"][row] = label.age
        columns["label_gender"][row] = label.gender
        columns["label_race"][row] = label.race
        columns["label_source"][row] = None if label == _NO_LABEL else source
    for field in LABEL_FIELDS:
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        table = table.append_column(field, pa.array(columns[field.name], plain).cast(field.type))
    described = with_metadata(table.schema, attributes_of(table.schema))
    return table.replace_schema_metadata(described.metadata)
