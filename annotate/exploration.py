"""Exploration: a labelled folder in; what is in it, before anything is trained on it, out.

No model is loaded. Labels come from UTKFace names or from a table, the rest from the files, which
are read and decoded in worker processes: what is wrong with one is said in its row.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from annotate.central_faces import floats
from annotate.duplicates import DuplicateContent, duplicate_content, identical_groups
from annotate.errors import AnnotateError, shown
from annotate.frames import to_frame
from annotate.images import SUFFIXES, UNSUPPORTED_SUFFIXES
from annotate.inspection import Progress, inspected
from annotate.label_counts import LabelCounts, count_labels
from annotate.labels import Fault, Label, LabelSet, labels_from_names, read_label_table
from annotate.metrics import Integers
from annotate.names import escape
from annotate.plan import Plan
from annotate.records import COLUMNS, Sample, Source, Status
from annotate.report.folder import make_folder
from annotate.rows import file_values, type_of, with_metadata
from annotate.scan import Scan, scan
from annotate.selection import ScanOptions, Selection
from annotate.version import __version__
from annotate.writers import neutralise, open_output

if TYPE_CHECKING:
    import pandas as pd

EXPLORATION_VERSION = 1
"""`schema_version` of exploration.json. Raised when a name is removed or changes its meaning."""

FACTS = ("source", "path", "size_bytes", "sha256", "width", "height", "status", "error")
"""What the rows of an exploration have of records.COLUMNS; the labels stand behind it."""

SAMPLES = 48
"""Images that are shown."""

GROUPS_LISTED = 1000
"""Groups of byte-identical files that exploration.json names; all are counted."""

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
LABEL_FIELDS = (
    pa.field("path", pa.string()),
    pa.field("age", pa.float32()),
    pa.field("gender", _DICTIONARY),
    pa.field("race", _DICTIONARY),
)
"""The columns of the label table: `path` as `evaluate --labels` wants it, age in years."""

_NOT_USED = frozenset({"malformed_name", "invalid_value", "duplicate_row", "missing_file"})
"""Faults that mean that a label which was given is not used."""

_NO_LABEL = Label()

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Exploration:
    """What is in a labelled folder.

    folder: absolute path. label_source: "utkface_name" or "table". skipped: directory entries that
    are no inputs, by reason. faults: all of the labels, in the order in which they were met.
    rows: a row an input with FACTS and `age`, `gender` and `race`, null where there is no label.
    """

    folder: str
    label_source: str
    limit: int | None
    skipped: Mapping[str, int]
    faults: tuple[Fault, ...]
    duplicates: DuplicateContent
    rows: pa.Table = field(repr=False)

    @property
    def images(self) -> pd.DataFrame:
        """A row an input: path, content, size in pixels, status, and its labels."""
        return to_frame(self.rows)

    @property
    def labels(self) -> pd.DataFrame:
        """The labelled images: path, age, gender and race. What `table` writes."""
        return to_frame(self.label_table)

    @property
    def label_table(self) -> pa.Table:
        """The same as Arrow, which `evaluate --labels` and training take as Parquet or CSV."""
        columns = [self.rows.column(wanted.name) for wanted in LABEL_FIELDS]
        is_labelled = np.logical_or.reduce([column.is_valid().to_numpy() for column in columns[1:]])
        schema = with_metadata(pa.schema(LABEL_FIELDS), {})
        return pa.table(columns, schema=schema).filter(pa.array(is_labelled))

    @property
    def by_status(self) -> dict[str, int]:
        """Inputs by what became of them."""
        return dict(Counter(self.rows.column("status").to_pylist()))

    @property
    def fault_counts(self) -> dict[str, int]:
        """Number of faults by kind, sorted by kind."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))

    @cached_property
    def counts(self) -> LabelCounts:
        """How many images have which labels."""
        genders, races = (
            [value or "" for value in self.rows.column(name).to_pylist()]
            for name in ("gender", "race")
        )
        return count_labels(floats(self.rows, "age"), np.array(genders), np.array(races))

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """(width, height, images) of the decoded images, pixels, the commonest size first."""
        sides = (self.rows.column(name).to_pylist() for name in ("width", "height"))
        counts = Counter(size for size in zip(*sides, strict=True) if None not in size)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [(width, height, n) for (width, height), n in ranked]

    @property
    def size_bytes(self) -> int:
        """Of all files whose size is known."""
        return int(np.nansum(floats(self.rows, "size_bytes")))

    @property
    def identical_rows(self) -> list[list[dict[str, Any]]]:
        """The byte-identical files: for each content the rows that have it."""
        groups = identical_groups(self.rows.column("sha256").to_pylist())
        return [self.rows.take(pa.array(group)).to_pylist() for group in groups]

    @property
    def exit_code(self) -> int:
        """0 where all went well, 3 where images failed or labels could not be used."""
        failures = any(Status(status).is_failure for status in self.by_status)
        return 3 if failures or _NOT_USED & self.fault_counts.keys() else 0

    def samples(self, most: int = SAMPLES, seed: int = 0) -> list[dict[str, Any]]:
        """Rows of decoded images, spread evenly over the ages, the youngest first; chosen by chance
        among those of like age. Without ages, any of the labelled images, or of all.
        """
        chosen = pa.array(_sampled(self.rows, most, seed), pa.int64())
        rows: list[dict[str, Any]] = self.rows.take(chosen).to_pylist()
        return rows

    def to_dict(self) -> dict[str, Any]:
        """What exploration.json holds: plain values only."""
        named = [column.name for column in LABEL_FIELDS]
        return {
            "schema_version": EXPLORATION_VERSION,
            "annotate_version": __version__,
            "folder": self.folder,
            "limit": self.limit,
            "inputs": {
                "total": self.rows.num_rows,
                "by_status": dict(sorted(self.by_status.items())),
                "skipped": dict(sorted(self.skipped.items())),
                "size_bytes": self.size_bytes,
            },
            "labels": {"source": self.label_source, **self.counts.to_dict()},
            "sizes": [
                {"width": width, "height": height, "n": n} for width, height, n in self.sizes
            ],
            "faults": {
                "counts": self.fault_counts,
                "list": [asdict(fault) for fault in self.faults],
            },
            "duplicate_content": asdict(self.duplicates),
            "identical_files": [
                [{name: row[name] for name in named} for row in group]
                for group in self.identical_rows[:GROUPS_LISTED]
            ],
        }

    def render(self) -> str:
        """The exploration as text for a terminal, without a final newline."""
        from annotate.report.exploration_text import render

        return render(self)


def explore(
    folder: AnyPath,
    *,
    labels: AnyPath | None = None,
    report_dir: AnyPath | None = None,
    thumbnails: bool = True,
    table: AnyPath | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    workers: int | None = None,
    timeout_s: float | None = 120.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Exploration:
    """Look at a folder of labelled images before anything is trained on it.

    labels: CSV or Parquet with `path` relative to folder and any of `age`, `gender`, `race`; None
    reads UTKFace file names. report_dir: where exploration.html, its plots as PNG and
    exploration.json are written, made if needed. thumbnails: whether it shows sample images. table:
    a .parquet or .csv file for the labels, which replaces another only if overwrite is set. limit:
    the first N images. workers: processes, None for one a usable core. timeout_s: how long one
    image may take. seed: of the images that are shown. progress: called with a summary at times.
    Raises AnnotateError where there is no image, or something cannot be read or written.
    """
    root = os.path.abspath(os.fspath(folder))
    if not os.path.isdir(root):
        raise AnnotateError(f"no folder {shown(root, 300)}: expected a folder of labelled images")
    if table is not None:
        _check_table(Path(table), overwrite=overwrite)
    if report_dir is not None:
        _make_report_folder(root, report_dir)
    found = _scanned(root, limit)
    read = _read_labels(root, labels, found.plan, limit)
    if table is not None:
        _check_cells(read, Path(table))
    samples = inspected(found.plan, workers=workers, timeout_s=timeout_s, progress=progress)
    explored = _explored(root, found, read, samples, limit)
    if table is not None:
        _write_table(explored.label_table, Path(table))
    if report_dir is not None:
        from annotate.report.exploration_page import write_report

        write_report(explored, report_dir, thumbnails=thumbnails, seed=seed)
    return explored


def _explored(
    root: str, found: Scan, read: LabelSet, samples: Iterable[Sample], limit: int | None
) -> Exploration:
    rows = _rows(samples, read.labels)
    names = rows.column("path").to_pylist()
    conflicts, duplicates = duplicate_content(
        names,
        [read.labels.get(name, _NO_LABEL) for name in names],
        rows.column("sha256").to_pylist(),
    )
    return Exploration(
        folder=escape(os.fsencode(root)),
        label_source=read.source,
        limit=limit,
        skipped=dict(found.skipped),
        faults=(*read.faults, *conflicts),
        duplicates=duplicates,
        rows=rows,
    )


def _scanned(root: str, limit: int | None) -> Scan:
    """The inputs of the folder. Raises AnnotateError where there are none."""
    found = scan((root,), _scan_options(limit))
    if not found.plan:
        passed = ", ".join(f"{why} {n:,}" for why, n in found.skipped.most_common())
        raise AnnotateError(
            f"no images in {shown(root, 300)}" + (f" (passed over: {passed})" * bool(passed))
        )
    return found


def _scan_options(limit: int | None) -> ScanOptions:
    return ScanOptions(suffixes=SUFFIXES | UNSUPPORTED_SUFFIXES, limit=limit)


def _read_labels(root: str, labels: AnyPath | None, plan: Plan, limit: int | None) -> LabelSet:
    """Labels of the inputs of a plan."""
    names = _paths(plan)
    if labels is None:
        return labels_from_names(names)
    # Of a limited look the table may name files that come after the limit.
    folder = scan((root,), _scan_options(None)).plan if limit else plan
    return read_label_table(labels, _paths(folder)).only(set(names))


def _paths(plan: Sequence[Source]) -> list[str]:
    return [source.path for source in plan]


def _rows(samples: Iterable[Sample], labels: Mapping[str, Label]) -> pa.Table:
    """The table of an exploration."""
    columns: dict[str, list[Any]] = {name: [] for name in (*FACTS, "age", "gender", "race")}
    for sample in samples:
        values = file_values(sample)
        label = labels.get(sample.source.path, _NO_LABEL)
        for name in FACTS:
            columns[name].append(values[name])
        for name in ("age", "gender", "race"):
            columns[name].append(getattr(label, name))
    fields = [
        *(pa.field(column.name, type_of(column)) for column in COLUMNS if column.name in FACTS),
        *LABEL_FIELDS[1:],
    ]
    arrays = []
    for wanted in fields:
        kind = wanted.type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        arrays.append(pa.array(columns[wanted.name], plain).cast(kind))
    return pa.table(arrays, schema=with_metadata(pa.schema(fields), {}))


def _sampled(rows: pa.Table, most: int, seed: int) -> Integers:
    """Rows to show, see Exploration.samples."""
    is_decoded = np.array([status == Status.OK for status in rows.column("status").to_pylist()])
    age = floats(rows, "age")
    chosen = np.flatnonzero(is_decoded & np.isfinite(age))
    chance = np.random.default_rng(seed)
    if not len(chosen):
        is_labelled = is_decoded & rows.column("gender").is_valid().to_numpy()
        candidates = np.flatnonzero(is_labelled if is_labelled.any() else is_decoded)
        return np.sort(chance.permutation(candidates)[:most])
    left = chance.permutation(chosen)
    left = left[np.argsort(age[left], kind="stable")]
    picked = []
    for target in np.linspace(age[left[0]], age[left[-1]], min(most, len(left))):
        at = int(np.argmin(np.abs(age[left] - target)))
        picked.append(left[at])
        left = np.delete(left, at)
    found = np.array(picked)
    return found[np.argsort(age[found], kind="stable")]


def _make_report_folder(root: str, report_dir: AnyPath) -> None:
    """Make the report's folder before any work is done. Raises AnnotateError."""
    if Selection(_scan_options(None)).is_walked(root, os.fspath(report_dir)):
        raise AnnotateError(
            f"the report folder {shown(os.fspath(report_dir), 300)} lies in {shown(root, 300)},"
            " whose images would be joined by its plots: name one outside, or a hidden one"
        )
    make_folder(report_dir)


def _check_table(path: Path, *, overwrite: bool) -> None:
    """Raise AnnotateError where the label table cannot be written, before any work is done."""
    name = shown(str(path), 300)
    try:
        if path.suffix.lower() not in (".parquet", ".csv"):
            raise AnnotateError(f"cannot write {name}: expected a .parquet or .csv file")
        if path.is_dir() or not path.parent.is_dir():
            raise AnnotateError(f"cannot write {name}: it is a folder, or lies in none")
        if path.exists() and not overwrite:
            raise AnnotateError(
                f"{name} exists: pass --overwrite to replace it, or another --table"
            )
    except (OSError, ValueError) as error:
        raise AnnotateError(f"cannot write {name}: {getattr(error, 'strerror', error)}") from error


def _check_cells(read: LabelSet, path: Path) -> None:
    """Raise AnnotateError where a CSV would hold what spreadsheets run: an apostrophe before it,
    as outputs have it, would make it another path.
    """
    if path.suffix.lower() != ".csv":
        return
    for name, label in read.labels.items():
        for cell in (name, label.race or ""):
            if neutralise(cell) != cell:
                raise AnnotateError(
                    f"{shown(cell)} may not stand in a CSV, for spreadsheets would run it: write"
                    f" the table as {shown(str(path.with_suffix('.parquet')), 300)}"
                )


def _write_table(table: pa.Table, path: Path) -> None:
    with open_output(str(path), table.schema, overwrite=True) as writer:
        for batch in table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]:
            writer.write(batch)
