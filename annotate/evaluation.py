"""Evaluation: a labelled folder in, an EvaluationReport out.

Predictions come from the pipeline or from an earlier output, labels from UTKFace names or from
a table. `report/files.py` writes what a report folder gets.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from annotate.errors import AnnotateError, shown
from annotate.evaluation_report import EvaluationReport
from annotate.face_options import DETECT_SIZE_PX, MIN_FACE_PX, MIN_SCORE
from annotate.images import SUFFIXES, UNSUPPORTED_SUFFIXES
from annotate.joining import join, typed
from annotate.labels import Fault, LabelSet, labels_from_names, read_label_table
from annotate.metrics import RESAMPLES
from annotate.model import Model, load_model
from annotate.names import escape
from annotate.paired import OtherReport, PairedComparison, compared, read_report
from annotate.pipeline import Progress, prepare
from annotate.plan import Plan
from annotate.readers import read_table
from annotate.records import Source, Status
from annotate.report.folder import make_folder
from annotate.rows import attributes_of, plain
from annotate.run_config import RunConfig
from annotate.scan import scan
from annotate.scoring import Scores, score
from annotate.selection import ScanOptions, Selection

MAX_RESAMPLES = 100_000

ROW_OPTIONS = ("faces", "detector", "detect_size", "min_face_px", "min_score", "max_faces", "tta")
"""Of an output's metadata, what decided which faces there are and how they were labelled; a report
has them too."""

AnyPath = str | os.PathLike[str]


def evaluate(
    folder: AnyPath,
    *,
    report_dir: AnyPath | None = None,
    thumbnails: bool = True,
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
    compare: AnyPath | None = None,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Compare predictions with the labels of a folder of images.

    report_dir: where report.html, its plots, metrics.json, metrics.md and predictions.parquet are
    written, made if needed; None writes nothing. thumbnails: whether report.html shows the faces of
    the largest errors. labels: CSV or Parquet with `path` relative to folder and any of `age`,
    `gender`, `race`; None reads UTKFace file names. predictions: an output of `annotate run` to
    take instead of running the model. model: the name of a bundled model, a model folder, or a
    loaded model. faces: "crop" where each image is one aligned face; "detect" for whole
    photographs, of which the face nearest the centre is scored; detect_size to max_faces, tta and
    timeout_s: as in RunConfig. Given predictions were made one way or the other, so these seven
    say nothing of them. limit: the first N inputs. bootstrap: resamples behind the intervals, 0
    for none. compare: the folder of another report on the same images, to set this one beside; only
    its predictions.parquet is read. progress: called with the run's summary after each batch.
    Raises AnnotateError where nothing can be scored or the report cannot be written.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    root = _checked_folder(folder)
    _check_bootstrap(bootstrap)
    if report_dir is not None:
        _make_report_dir(report_dir, root)
    other = None if compare is None else read_report(compare)
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
    report = EvaluationReport(
        **_described(config, got, scores),
        options=_options(config, got, labels, predictions, bootstrap, seed),
        compared=_compared(scores, other, bootstrap, seed),
        started_at=started_at,
        seconds=time.monotonic() - clock,
    )
    if report_dir is not None:
        from annotate.report.files import write_report

        write_report(report, Path(report_dir), thumbnails=thumbnails)
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
        found = read_label_table(labels, _paths(folder)).only(set(names))
        expected = f"expected their paths below it in the column path of {shown(os.fspath(labels))}"
    if not any(label.age is not None or label.gender for label in found.labels.values()):
        raise AnnotateError(
            f"none of {len(names)} images in {shown(config.sources[0])} has an age or a gender"
            f" label: {expected}"
        )
    return found


def _paths(plan: Iterable[Source]) -> list[str]:
    return [source.path for source in plan]


def _nothing_scored(root: str, got: _Got, scores: Scores) -> str:
    counts = Counter(scores.not_scored)
    counts["no_prediction"] += got.missing
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.most_common() if n)
    hint = "; where each image is one face, pass --faces crop" * bool(counts[Status.NO_FACE])
    return f"no image in {shown(root)} can be scored: {reasons}{hint}"


def _compared(
    scores: Scores, other: OtherReport | None, bootstrap: int, seed: int
) -> PairedComparison | None:
    """How the scores stand beside another report, where there is one."""
    if other is None:
        return None
    return compared(scores.table, other, resamples=bootstrap, seed=seed)


def _described(config: RunConfig, got: _Got, scores: Scores) -> dict[str, Any]:
    """Fields of the report: what was evaluated, and what was found."""
    attributes = attributes_of(got.table.schema)
    not_scored = Counter(scores.not_scored)
    if got.missing:
        not_scored["no_prediction"] += got.missing
    return {
        "folder": escape(os.fsencode(config.sources[0])),
        "model": _text(attributes.get("model")),
        "model_sha256": _text(attributes.get("model_sha256")),
        "engine": _text(attributes.get("engine")),
        "inputs": scores.inputs + got.missing,
        "not_scored": dict(not_scored),
        "skipped": dict(got.skipped),
        "label_source": got.labels.source,
        "joined": got.joined,
        "faults": (*got.labels.faults, *got.faults, *scores.faults),
        "scores": scores,
    }


def _options(
    config: RunConfig,
    got: _Got,
    labels: AnyPath | None,
    predictions: AnyPath | None,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """The report's options: those that rows rest on, and those of the call."""
    attributes = attributes_of(got.table.schema)
    return {
        **{name: plain(attributes.get(name)) for name in ROW_OPTIONS},
        "labels": None if labels is None else os.fspath(labels),
        "predictions": None if predictions is None else os.fspath(predictions),
        "limit": config.limit,
        "bootstrap": bootstrap,
        "seed": seed,
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _checked_folder(folder: AnyPath) -> str:
    root = os.path.abspath(os.fspath(folder))
    if not os.path.isdir(root):
        raise AnnotateError(f"no folder {shown(root)}: expected a folder of labelled images")
    return root


def _check_bootstrap(bootstrap: int) -> None:
    if not 0 <= bootstrap <= MAX_RESAMPLES:
        raise AnnotateError(f"bootstrap must be from 0 to {MAX_RESAMPLES}, got {bootstrap}")


def _make_report_dir(report_dir: AnyPath, root: str) -> None:
    """Make the report's folder before any work is done. Raises AnnotateError."""
    folder = os.fspath(report_dir)
    if Selection(_scan_options(None)).is_walked(root, folder):
        raise AnnotateError(
            f"the report folder {shown(folder, 300)} lies in {shown(root, 300)}, and the next"
            " evaluation would take its plots for images: name one outside, or a hidden one"
        )
    make_folder(folder)
