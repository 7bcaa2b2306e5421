"""The pipeline: a RunConfig in, rows out. The only place that joins the rooms.

scan -> inputs -> decode (processes) -> batches of fixed shape -> model -> rows. At most three
windows of decoded inputs and one batch exist at a time, whatever the number of inputs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from annotate import rows
from annotate.crops import check_crops_folder, make_crops_folder
from annotate.decoding import DecodeOptions, crashed, decode_source
from annotate.engines import usable_cpus
from annotate.errors import AnnotateError
from annotate.face_options import (
    DETECT_SIZE_PX,
    DETECTOR,
    MIN_FACE_PX,
    MIN_SCORE,
    FaceOptions,
)
from annotate.images import MAX_PIXELS, SUFFIXES, UNSUPPORTED_SUFFIXES, Pixels
from annotate.inputs import Inputs
from annotate.model import Model, load_model
from annotate.records import SCHEMA_VERSION, Predictions, Sample, Source, Status
from annotate.scan import Scan, scan
from annotate.selection import ScanOptions, Selection
from annotate.summary import Summary
from annotate.version import __version__
from annotate.workers import OrderedMap
from annotate.writers import open_output

FACES = ("detect", "crop")
"""What an image holds: "detect", any number of faces; "crop", one aligned face and no more."""

WINDOW_BATCHES = 4
"""Batches of crops that are decoded together. Fewer would let workers wait for each other more
often, more would hold more pixels in memory."""

WINDOW_PHOTOGRAPHS = 16
"""Photographs a worker that are decoded together, but at least a batch: seconds of work."""

CHUNK_CROPS = 16
CHUNK_PHOTOGRAPHS = 2
"""Inputs a worker takes at a time: 10 ms of work or more, against 0.3 ms to hand it over."""

_AT_LEAST_ONE = (
    "batch_size",
    "workers",
    "limit",
    "max_pixels",
    "detect_size",
    "min_face_px",
    "max_faces",
)

Progress = Callable[[Summary], None]


@dataclass(frozen=True)
class RunConfig:
    """What a run is to do. Names and meanings are those of the command line's options.

    sources: folders, files, archives, glob patterns, and "-" for a list of paths on stdin, which
    null_separated says has NULs between them. table, column: a table that lists inputs, and the
    column of their paths; read after the sources.
    workers: decoding processes, None for one a usable core. limit: the first N inputs.
    max_pixels: pictures of more are `too_large`. detect_size: long side in pixels at which
    photographs are searched for faces, or "auto"; min_face_px: shorter side of a face, in pixels
    of the original; min_score: 0 to 1; max_faces: the largest of a photograph, None for all;
    save_crops: a folder for the aligned crops; these five are for faces="detect". tta: average the
    network's outputs for each crop and its mirror image.
    """

    sources: tuple[str, ...] = ()
    faces: str = "detect"
    model: str = "base"
    engine: str = "auto"
    device: str = "auto"
    batch_size: int = 64
    tta: bool = False
    workers: int | None = None
    limit: int | None = None
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    max_pixels: int = MAX_PIXELS
    detect_size: int | str = DETECT_SIZE_PX
    min_face_px: int = MIN_FACE_PX
    min_score: float = MIN_SCORE
    max_faces: int | None = None
    save_crops: str | None = None
    null_separated: bool = False
    table: str | None = None
    column: str = "path"

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise AnnotateError(
                f"faces={self.faces!r}: expected 'detect' for whole photographs, or 'crop' where"
                " each image is one aligned face"
            )
        if self.detect_size != "auto" and not isinstance(self.detect_size, int):
            raise AnnotateError(f"detect_size={self.detect_size!r}: expected pixels or 'auto'")
        if not 0 <= self.min_score <= 1:
            raise AnnotateError(f"min_score must be from 0 to 1, got {self.min_score}")
        if self.save_crops is not None and self.faces != "detect":
            raise AnnotateError("save_crops is for faces='detect': here the images are the crops")
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise AnnotateError(f"{name} must be at least 1, got {value}")

    @property
    def face_options(self) -> FaceOptions | None:
        """Which faces of a photograph count; None where each image is one."""
        if self.faces == "crop":
            return None
        size = None if isinstance(self.detect_size, str) else self.detect_size
        return FaceOptions(size, self.min_face_px, self.min_score, self.max_faces)


@dataclass(frozen=True)
class RunResult:
    """A whole run in memory. table: the columns of records.COLUMNS, metadata set."""

    table: pa.Table
    summary: Summary
    model: Model


@dataclass
class Run:
    """A run that is ready: the plan is made, the model is loaded, nothing is labelled yet."""

    config: RunConfig
    found: Scan
    model: Model
    summary: Summary = field(default_factory=Summary)

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows, with the metadata of the output."""
        return rows.schema(self.attributes)

    @property
    def attributes(self) -> dict[str, Any]:
        """The output's metadata: what `DataFrame.attrs` shows. JSON types only."""
        model = self.model
        return {
            "annotate_version": __version__,
            "schema_version": SCHEMA_VERSION,
            "model": model.name,
            "model_sha256": model.sha256,
            "preprocessing_version": model.preprocessing_version,
            "engine": model.engine,
            "device": model.device,
            "tta": model.tta,
            "faces": self.config.faces,
            "max_pixels": self.config.max_pixels,
        } | self._detection

    @property
    def _detection(self) -> dict[str, Any]:
        """What decided which faces were found; nothing for crops."""
        config = self.config
        if config.faces == "crop":
            return {}
        return {
            "detector": DETECTOR,
            "detect_size": config.detect_size,
            "min_face_px": config.min_face_px,
            "min_score": config.min_score,
            "max_faces": config.max_faces,
        }

    def batches(self, progress: Progress | None = None) -> Generator[pa.RecordBatch, None, None]:
        """Label all inputs: rows in plan order, a record batch at a time."""
        started = time.monotonic()
        bare = self.schema
        if self.config.save_crops is not None:
            make_crops_folder(self.config.save_crops)
        inputs = self.inputs()
        with self._decoded(inputs) as samples:
            for done, predictions in predict_in_batches(samples, self.model):
                batch = rows.to_record_batch(done, predictions, bare)
                self._count(done, batch.num_rows)
                self._count_inputs(inputs)
                self.summary.seconds = time.monotonic() - started
                yield batch
                if progress is not None:
                    progress(self.summary)
        self._count_inputs(inputs)
        self.summary.seconds = time.monotonic() - started
        if not self.summary.done:
            raise _no_images(self.config, self.summary.skipped)
        if self.summary.done != self.summary.inputs:
            raise RuntimeError(f"{self.summary.done} of {self.summary.inputs} inputs have rows")

    @property
    def decode_options(self) -> DecodeOptions:
        """What the worker processes are told."""
        return DecodeOptions(
            self.model.size_px,
            self.config.max_pixels,
            self.config.face_options,
            self.config.save_crops,
        )

    def inputs(self) -> Inputs:
        """The inputs of the plan as a stream, archives expanded."""
        return Inputs(self.found.plan, _scan_options(self.config), _is_unread)

    def _decoded(self, inputs: Inputs) -> OrderedMap[Source, Sample]:
        options = self.decode_options
        workers = self.config.workers or usable_cpus()
        window, chunk = WINDOW_BATCHES * self.config.batch_size, CHUNK_CROPS
        if options.faces is not None:
            window = max(WINDOW_PHOTOGRAPHS * workers, self.config.batch_size)
            chunk = CHUNK_PHOTOGRAPHS
        return OrderedMap(
            partial(decode_source, options=options),
            inputs,
            on_crash=partial(crashed, options=options),
            workers=workers,
            window=max(window, chunk),
            chunk=chunk,
            weight=lambda source: len(source.data or b""),
            stop_items=inputs.stop,
        )

    def _count_inputs(self, inputs: Inputs) -> None:
        """What is known of the inputs by now: archives tell what is in them as they are read."""
        self.summary.inputs, self.summary.is_total_known = inputs.total, inputs.is_total_known
        self.summary.skipped = self.found.skipped + inputs.skipped

    def _count(self, samples: list[Sample], row_count: int) -> None:
        self.summary.rows += row_count
        for sample in samples:
            status = Status.OK if sample.faces else Status.NO_FACE
            if sample.failure is not None:
                status = sample.failure.status
            self.summary.by_status[str(status)] += 1
            if status is Status.UNSUPPORTED:
                suffix = os.path.splitext(sample.source.path)[1].lower()
                self.summary.unsupported[suffix] += 1


def prepare(config: RunConfig, *, model: Model | None = None) -> Run:
    """Scan the SOURCEs and load the model. model: one that is loaded already.

    Raises AnnotateError where there is nothing to label, the model or the detector cannot be
    loaded, or a loaded model is not as the config says.
    """
    if not config.sources and config.table is None:
        raise AnnotateError("no SOURCE: expected folders, files, archives, patterns or a table")
    if model is not None and config.tta and not model.tta:
        raise AnnotateError(
            f"tta=True, but the model {model.name!r} was loaded without it: pass"
            " load_model(..., tta=True), or the model's name"
        )
    if config.save_crops is not None:
        check_crops_folder(config.save_crops, config.sources, Selection(_scan_options(config)))
    found = scan(config.sources, _scan_options(config))
    if not found.plan:
        raise _no_images(config, found.skipped)
    if config.faces == "detect":
        # Loaded here, because runs on crops do without.
        from annotate.face_networks import check_weights

        check_weights()
    if model is None:
        model = load_model(
            config.model,
            engine=config.engine,
            device=config.device,
            batch_size=config.batch_size,
            tta=config.tta,
        )
    run = Run(config, found, model)
    run.summary.inputs, run.summary.skipped = run.inputs().total, found.skipped
    return run


def _scan_options(config: RunConfig) -> ScanOptions:
    return ScanOptions(
        suffixes=SUFFIXES | UNSUPPORTED_SUFFIXES,
        exclude=config.exclude,
        default_excludes=config.default_excludes,
        follow_links=config.follow_links,
        limit=config.limit,
        null_separated=config.null_separated,
        table=config.table,
        column=config.column,
    )


def _is_unread(suffix: str) -> bool:
    """Whether members of archives with this suffix need not be read."""
    return suffix in UNSUPPORTED_SUFFIXES


def _no_images(config: RunConfig, skipped: Counter[str]) -> AnnotateError:
    named = [*config.sources, *([] if config.table is None else [config.table])]
    passed = ", ".join(f"{why} {n:,}" for why, n in skipped.most_common())
    return AnnotateError(
        f"no images in {', '.join(named)}" + (f" (passed over: {passed})" * bool(passed))
    )


def write(
    run: Run, target: str, *, overwrite: bool = False, progress: Progress | None = None
) -> Summary:
    """Label all inputs of a run into OUT. Raises AnnotateError."""
    with (
        open_output(target, run.schema, overwrite=overwrite) as writer,
        contextlib.closing(run.batches(progress)) as batches,
    ):
        for batch in batches:
            writer.write(batch)
    return run.summary


def run_table(
    config: RunConfig, *, progress: Progress | None = None, model: Model | None = None
) -> RunResult:
    """Label all inputs into a table in memory. Raises AnnotateError."""
    run = prepare(config, model=model)
    table = pa.Table.from_batches(run.batches(progress), run.schema).unify_dictionaries()
    return RunResult(table, run.summary, run.model)


def predict_in_batches(
    samples: Iterable[Sample], model: Model
) -> Generator[tuple[list[Sample], Predictions | None], None, None]:
    """Run the model over the faces of samples in full batches, however they fall on samples.

    Yields (samples that are done, in order; the predictions of all their faces, or None).
    Samples without faces wait for those before them, so the order of the inputs stays.
    """
    waiting: deque[Sample] = deque()
    pixels: list[Pixels] = []
    pending = 0
    ready: list[Predictions] = []
    for sample in samples:
        waiting.append(sample)
        pixels.append(sample.pixels)
        pending += len(sample.faces)
        if pending >= model.batch_size or len(waiting) >= WINDOW_BATCHES * model.batch_size:
            whole = pending - pending % model.batch_size or pending
            faces = np.concatenate(pixels)
            if whole:
                ready.append(model.predict(faces[:whole]))
            # A copy, so that the batch's pixels are not kept alive by its rest.
            pixels, pending = [faces[whole:].copy()], pending - whole
            yield _done(waiting, ready)
    if pending:
        ready.append(model.predict(np.concatenate(pixels)))
    if waiting:
        yield _done(waiting, ready)


def _done(
    waiting: deque[Sample], ready: list[Predictions]
) -> tuple[list[Sample], Predictions | None]:
    """Take the samples whose faces are all predicted off the front of `waiting` and `ready`."""
    known = sum(len(part) for part in ready)
    done: list[Sample] = []
    used = 0
    while waiting and used + len(waiting[0].faces) <= known:
        used += len(waiting[0].faces)
        done.append(waiting.popleft())
    if not ready:
        return done, None
    together = Predictions.concatenate(ready)
    ready[:] = [together.part(used, known)] if used < known else []
    return done, together.part(0, used) if used else None
