"""Evaluation: a labelled folder in, an EvaluationReport and its files out.

Predictions come from the pipeline or from an earlier output, labels from UTKFace names or from
a table. A report folder gets `predictions.parquet` and `metrics.json`, each complete or not at
all; both depend on the inputs and options alone, not on the time or the machine.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from annotate.errors import AnnotateError, shown
from annotate.face_options import DETECT_SIZE_PX, MIN_FACE_PX, MIN_SCORE
from annotate.images import SUFFIXES, UNSUPPORTED_SUFFIXES
from annotate.joining import join, typed
from annotate.labels import Fault, LabelSet, labels_from_names, read_label_table
from annotate.metrics import DEFINITIONS, RESAMPLES
from annotate.model import Model, load_model
from annotate.names import escape
from annotate.pipeline import Progress, prepare
from annotate.plan import Plan
from annotate.readers import read_table, to_frame
from annotate.records import Source, Status
from annotate.rows import attributes_of
from annotate.run_config import RunConfig
from annotate.scan import scan
from annotate.scoring import Scores, score
from annotate.selection import ScanOptions
from annotate.slices import FEW
from annotate.version import __version__
from annotate.writers import write_parquet

if TYPE_CHECKING:
    import pandas as pd

METRICS_VERSION = 1
"""`schema_version` of metrics.json. Raised when a name is removed or changes its meaning."""

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"

MAX_RESAMPLES = 100_000

ROW_OPTIONS = ("faces", "detector", "detect_size", "min_face_px", "min_score", "max_faces", "tta")
"""Of an output's metadata, what decided which faces there are and how they were labelled; a report
has them too."""

_EXIT_FAULTS = frozenset(
    {"malformed_name", "invalid_value", "duplicate_row", "missing_file", "no_prediction"}
)
"""Faults that mean that something which was to be scored was not."""

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found.

    folder: absolute path. model, model_sha256, engine: None where given predictions do not say.
    options: as the evaluation was called. inputs: all that were met; scored or counted in
    `not_scored` by reason. skipped: directory entries that are no inputs, by reason.
    label_source: "utkface_name" or "table". joined: for given predictions, inputs found "by_sha256"
    and "by_path". faults: all, in the order in which they were met.
    """

    folder: str
    model: str | None
    model_sha256: str | None
    engine: str | None
    options: Mapping[str, Any]
    inputs: int
    not_scored: Mapping[str, int]
    skipped: Mapping[str, int]
    label_source: str
    joined: Mapping[str, int] | None
    faults: tuple[Fault, ...]
    scores: Scores = field(repr=False)

    @property
    def predictions(self) -> pd.DataFrame:
        """Every input's rows and labels: what predictions.parquet holds."""
        return to_frame(self.scores.table)

    @property
    def fault_counts(self) -> dict[str, int]:
        """Number of faults by kind, sorted by kind."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))

    @property
    def exit_code(self) -> int:
        """0 where all went well, 3 where inputs failed or could not be scored as asked."""
        failures = any(Status(status).is_failure for status in self.scores.by_status)
        return 3 if failures or _EXIT_FAULTS & self.fault_counts.keys() else 0

    def to_dict(self) -> dict[str, Any]:
        """What metrics.json holds: plain values only."""
        scores = self.scores
        overall = scores.overall.to_dict()
        return {
            "schema_version": METRICS_VERSION,
            "annotate_version": __version__,
            "folder": self.folder,
            "model": {"name": self.model, "sha256": self.model_sha256, "engine": self.engine},
            "options": dict(self.options),
            "inputs": {
                "total": self.inputs,
                "by_status": dict(sorted(scores.by_status.items())),
                "scored": scores.scored,
                "not_scored": dict(sorted(self.not_scored.items())),
                "skipped": dict(sorted(self.skipped.items())),
                "joined": None if self.joined is None else dict(self.joined),
            },
            "labels": {"source": self.label_source, **scores.labelled},
            "faces": scores.faces and scores.faces.to_dict(),
            "faults": {
                "counts": self.fault_counts,
                "list": [asdict(fault) for fault in self.faults],
            },
            "duplicate_content": asdict(scores.duplicates),
            "training": asdict(scores.training),
            "age": overall["age"],
            "gender": overall["gender"],
            "minor": scores.minor and scores.minor.to_dict(),
            "not_trained_on": scores.not_trained_on and scores.not_trained_on.to_dict(),
            "slices": {
                name: [part.to_dict() for part in found] for name, found in scores.slices.items()
            },
            "predicted_age_bands": [part.to_dict() for part in scores.predicted_age_bands],
            "largest_gaps": [gap.to_dict() for gap in scores.largest_gaps],
            "few_below": FEW,
            "definitions": DEFINITIONS,
        }

    def render(self) -> str:
        """The report as text for a terminal, without a final newline."""
        from annotate.report.text import render

        return render(self)


def evaluate(
    folder: AnyPath,
    *,
    report_dir: AnyPath | None = None,
    labels: AnyPath | None = None,
    predictions: AnyPath | None = None,
    model: str | Model = "base",
    engine: str = "auto",
    device: str = "auto",
    faces: str = "crop",
    detect_size: int | str = DETECT_SIZE_PX,
    min_face_px: int = MIN_FACE_PX,
    min_score: float = MIN_SCORE,
    max_faces: int | None = None,
    batch_size: int = 64,
    tta: bool = False,
    workers: int | None = None,
    timeout_s: float | None = 120.0,
    limit: int | None = None,
    bootstrap: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Compare predictions with the labels of a folder of images.

    report_dir: where metrics.json and predictions.parquet are written, made if needed; None
    writes nothing. labels: CSV or Parquet with `path` relative to folder and any of `age`,
    `gender`, `race`; None reads UTKFace file names. predictions: an output of `annotate run` to
    take instead of running the model. model: the name of a bundled model, a model folder, or a
    loaded model. faces: "crop" where each image is one aligned face; "detect" for whole
    photographs, of which the face nearest the centre is scored; detect_size to max_faces, tta and
    timeout_s: as in RunConfig. Given predictions were made one way or the other, so these seven
    say nothing of them. limit: the first N inputs. bootstrap: resamples behind the intervals, 0
    for none. progress: called with the run's summary after each batch.
    Raises AnnotateError where nothing can be scored or the report cannot be written.
    """
    root = _checked_folder(folder)
    _check_bootstrap(bootstrap)
    if report_dir is not None:
        _make_report_dir(report_dir)
    config = RunConfig(
        sources=(root,),
        faces=faces,
        model=model.name if isinstance(model, Model) else model,
        engine=engine,
        device=device,
        batch_size=model.batch_size if isinstance(model, Model) else batch_size,
        tta=tta,
        workers=workers,
        timeout_s=timeout_s,
        limit=limit,
        detect_size=detect_size,
        min_face_px=min_face_px,
        min_score=min_score,
        max_faces=max_faces,
    )
    if predictions is None:
        got = _run(config, model, labels, progress)
    else:
        got = _take(config, model, labels, predictions)
    scores = score(got.table, got.labels, parts=got.parts, resamples=bootstrap, seed=seed)
    if not scores.scored:
        raise AnnotateError(_nothing_scored(root, got, scores))
    report = _report(config, got, scores, labels, predictions, bootstrap, seed)
    if report_dir is not None:
        _write(report, report_dir)
    return report


@dataclass(frozen=True)
class _Got:
    """Rows and labels before they are scored. missing: inputs without rows."""

    table: pa.Table
    labels: LabelSet
    parts: Mapping[str, str]
    skipped: Mapping[str, int]
    missing: int = 0
    joined: Mapping[str, int] | None = None
    faults: tuple[Fault, ...] = ()


def _run(
    config: RunConfig, model: str | Model, labels: AnyPath | None, progress: Progress | None
) -> _Got:
    """Rows of the pipeline. Labels come first: without any, no image needs to be decoded."""
    run = prepare(config, model=model if isinstance(model, Model) else None)
    read = _read_labels(config, labels, run.found.plan)
    table = pa.Table.from_batches(run.batches(progress), run.schema).unify_dictionaries()
    return _Got(table, read, run.model.training_parts(), run.found.skipped)


def _take(
    config: RunConfig, model: str | Model, labels: AnyPath | None, predictions: AnyPath
) -> _Got:
    """Rows of an earlier output."""
    found = scan(config.sources, _scan_options(config.limit))
    if not found.plan:
        raise AnnotateError(f"no images in {shown(config.sources[0])}")
    read = _read_labels(config, labels, found.plan)
    joined = join(typed(read_table(predictions)), found.plan)
    return _Got(
        table=joined.table,
        labels=read,
        parts=_parts_of(model, attributes_of(joined.table.schema)),
        skipped=found.skipped,
        missing=len(found.plan) - joined.by_sha256 - joined.by_path,
        joined={"by_sha256": joined.by_sha256, "by_path": joined.by_path},
        faults=joined.faults,
    )


def _parts_of(model: str | Model, attributes: Mapping[str, Any]) -> Mapping[str, str]:
    """The training parts of a model, if it is the one that made some predictions."""
    if not isinstance(model, Model):
        try:
            model = load_model(model)
        except AnnotateError:
            return {}
    return model.training_parts() if model.sha256 == attributes.get("model_sha256") else {}


def _scan_options(limit: int | None) -> ScanOptions:
    return ScanOptions(suffixes=SUFFIXES | UNSUPPORTED_SUFFIXES, limit=limit)


def _read_labels(config: RunConfig, labels: AnyPath | None, plan: Plan) -> LabelSet:
    """Labels of the inputs of a plan. Raises AnnotateError where there are none."""
    names = _paths(plan)
    if labels is None:
        found = labels_from_names(names)
        expected = "expected UTKFace names, [age]_[gender]_[race]_[timestamp].jpg; or pass --labels"
    else:
        # Of a limited run the table may name files that come after the limit.
        folder = scan(config.sources, _scan_options(None)).plan if config.limit else plan
        found = _only(read_label_table(labels, _paths(folder)), set(names))
        expected = f"expected their paths below it in the column path of {shown(os.fspath(labels))}"
    if not any(label.age is not None or label.gender for label in found.labels.values()):
        raise AnnotateError(
            f"none of {len(names)} images in {shown(config.sources[0])} has an age or a gender"
            f" label: {expected}"
        )
    return found


def _paths(plan: Iterable[Source]) -> list[str]:
    return [source.path for source in plan]


def _only(found: LabelSet, names: set[str]) -> LabelSet:
    """What a table says of some inputs, and all faults that are not about other inputs."""
    faults = tuple(f for f in found.faults if f.kind != "unlabelled" or f.path in names)
    labels = {path: label for path, label in found.labels.items() if path in names}
    return LabelSet(labels, faults, found.source)


def _nothing_scored(root: str, got: _Got, scores: Scores) -> str:
    counts = Counter(scores.not_scored)
    counts["no_prediction"] += got.missing
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.most_common() if n)
    hint = "; where each image is one face, pass --faces crop" * bool(counts[Status.NO_FACE])
    return f"no image in {shown(root)} can be scored: {reasons}{hint}"


def _report(
    config: RunConfig,
    got: _Got,
    scores: Scores,
    labels: AnyPath | None,
    predictions: AnyPath | None,
    bootstrap: int,
    seed: int,
) -> EvaluationReport:
    attributes = {name: _plain(v) for name, v in attributes_of(got.table.schema).items()}
    not_scored = Counter(scores.not_scored)
    if got.missing:
        not_scored["no_prediction"] += got.missing
    options = {
        **{name: attributes.get(name) for name in ROW_OPTIONS},
        "labels": None if labels is None else os.fspath(labels),
        "predictions": None if predictions is None else os.fspath(predictions),
        "limit": config.limit,
        "bootstrap": bootstrap,
        "seed": seed,
    }
    return EvaluationReport(
        folder=escape(os.fsencode(config.sources[0])),
        model=_text(attributes.get("model")),
        model_sha256=_text(attributes.get("model_sha256")),
        engine=_text(attributes.get("engine")),
        options=options,
        inputs=scores.inputs + got.missing,
        not_scored=dict(not_scored),
        skipped=dict(got.skipped),
        label_source=got.labels.source,
        joined=got.joined,
        faults=(*got.labels.faults, *got.faults, *scores.faults),
        scores=scores,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _plain(value: object) -> str | int | float | None:
    """What an output's metadata may hold of an option; a stranger's may hold anything."""
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return None


def _checked_folder(folder: AnyPath) -> str:
    root = os.path.abspath(os.fspath(folder))
    if not os.path.isdir(root):
        raise AnnotateError(f"no folder {shown(root)}: expected a folder of labelled images")
    return root


def _check_bootstrap(bootstrap: int) -> None:
    if not 0 <= bootstrap <= MAX_RESAMPLES:
        raise AnnotateError(f"bootstrap must be from 0 to {MAX_RESAMPLES}, got {bootstrap}")


def _make_report_dir(report_dir: AnyPath) -> None:
    """Make the report's folder before any work is done. Raises AnnotateError."""
    try:
        os.makedirs(report_dir, exist_ok=True)
    except OSError as error:
        raise AnnotateError(
            f"cannot make the report folder {shown(os.fspath(report_dir))}: {error.strerror}"
        ) from error


def _write(report: EvaluationReport, report_dir: AnyPath) -> None:
    folder = Path(report_dir)
    write_parquet(report.scores.table, folder / PREDICTIONS_FILE)
    text = json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n"
    _write_text(folder / METRICS_FILE, text)


def _write_text(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all. Raises AnnotateError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise AnnotateError(f"cannot write {shown(str(path))}: {error.strerror}") from error
