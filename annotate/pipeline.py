"""The pipeline: a RunConfig in, rows out. The only place that joins the rooms.

scan -> decode (processes) -> batches of fixed shape -> model -> rows. At most three windows of
decoded inputs and one batch exist at a time, whatever the number of inputs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from annotate import rows
from annotate.decoding import DecodeOptions, crashed, decode_source
from annotate.engines import usable_cpus
from annotate.errors import AnnotateError
from annotate.images import MAX_PIXELS, SUFFIXES, UNSUPPORTED_SUFFIXES, Pixels
from annotate.model import Model, load_model
from annotate.records import SCHEMA_VERSION, Predictions, Sample, Source, Status
from annotate.scan import Scan, ScanOptions, scan
from annotate.summary import Summary
from annotate.version import __version__
from annotate.workers import OrderedMap
from annotate.writers import open_output

FACES = ("crop",)
"""What an image holds: "crop" is one aligned face."""

WINDOW_BATCHES = 4
"""Batches whose inputs are decoded together. Fewer would let workers wait for each other more
often, more would hold more pixels in memory."""

CHUNK_INPUTS = 16
"""Inputs a worker takes at a time: about 10 ms of work, against 0.3 ms to hand it over."""

Progress = Callable[[Summary], None]


@dataclass(frozen=True)
class RunConfig:
    """What a run is to do. Names and meanings are those of the command line's options.

    workers: decoding processes, None for one a usable core. limit: the first N inputs.
    max_pixels: pictures of more are `too_large`.
    """

    sources: tuple[str, ...]
    faces: str = "crop"
    model: str = "base"
    engine: str = "auto"
    device: str = "auto"
    batch_size: int = 64
    workers: int | None = None
    limit: int | None = None
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise AnnotateError(
                f"faces={self.faces!r} is not available: whole photographs cannot be read yet,"
                " pass faces='crop' for images that are one aligned face each"
            )
        for name in ("batch_size", "workers", "limit", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise AnnotateError(f"{name} must be at least 1, got {value}")


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
            "faces": self.config.faces,
            "max_pixels": self.config.max_pixels,
        }

    def batches(self, progress: Progress | None = None) -> Generator[pa.RecordBatch, None, None]:
        """Label all inputs: rows in plan order, a record batch at a time."""
        started = time.monotonic()
        bare = self.schema
        with self._decoded() as samples:
            for done, predictions in predict_in_batches(samples, self.model):
                batch = rows.to_record_batch(done, predictions, bare)
                self._count(done, batch.num_rows)
                self.summary.seconds = time.monotonic() - started
                yield batch
                if progress is not None:
                    progress(self.summary)
        self.summary.seconds = time.monotonic() - started
        if self.summary.done != self.summary.inputs:
            raise RuntimeError(f"{self.summary.done} of {self.summary.inputs} inputs have rows")

    def _decoded(self) -> OrderedMap[Source, Sample]:
        options = DecodeOptions(self.model.size_px, self.config.max_pixels)
        return OrderedMap(
            partial(decode_source, options=options),
            self.found.plan,
            on_crash=partial(crashed, options=options),
            workers=self.config.workers or usable_cpus(),
            window=max(WINDOW_BATCHES * self.config.batch_size, CHUNK_INPUTS),
            chunk=CHUNK_INPUTS,
        )

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

    Raises AnnotateError where there is nothing to label, or the model cannot be loaded.
    """
    options = ScanOptions(
        suffixes=SUFFIXES | UNSUPPORTED_SUFFIXES,
        exclude=config.exclude,
        default_excludes=config.default_excludes,
        follow_links=config.follow_links,
        limit=config.limit,
    )
    if not config.sources:
        raise AnnotateError("no SOURCE: expected folders, files or glob patterns")
    found = scan(config.sources, options)
    if not found.plan:
        passed = ", ".join(f"{why} {n:,}" for why, n in found.skipped.most_common())
        raise AnnotateError(
            f"no images in {', '.join(config.sources)}"
            + (f" (passed over: {passed})" * bool(passed))
        )
    if model is None:
        model = load_model(
            config.model, engine=config.engine, device=config.device, batch_size=config.batch_size
        )
    summary = Summary(inputs=len(found.plan), skipped=found.skipped)
    return Run(config, found, model, summary)


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
