"""The pipeline: a RunConfig in, rows out. The only place that joins the rooms.

scan -> inputs -> decode (processes) -> batches of fixed shape -> model -> rows. At most three
windows of decoded inputs and one batch exist at a time, whatever the number of inputs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from annotate import rows
from annotate.batching import WAITING_BATCHES, predict_in_batches
from annotate.crops import check_crops_folder, check_no_inputs_in, make_crops_folder
from annotate.decoding import DecodeOptions, crashed, decode_step, load_decoders, timed_out
from annotate.engines import usable_cpus
from annotate.errors import AnnotateError
from annotate.face_options import DETECTOR
from annotate.images import is_unsupported
from annotate.inputs import Inputs
from annotate.model import Model, load_model
from annotate.parts import Contents, Item, Part, PartMaker, count
from annotate.previous import Previous
from annotate.records import SCHEMA_VERSION, Cursor, Kept, Sample, Source
from annotate.run_config import RunConfig
from annotate.scan import Scan, scan
from annotate.selection import Selection
from annotate.steps import Steps
from annotate.summary import Summary, Tally
from annotate.version import __version__
from annotate.workers import OrderedMap

WINDOW_PHOTOGRAPHS = 16
"""Photographs a worker that are decoded together, but at least a batch: seconds of work."""

CHUNK_CROPS = 16
CHUNK_PHOTOGRAPHS = 2
"""Inputs a worker takes at a time: 10 ms of work or more, against 0.3 ms to hand it over."""

Progress = Callable[[Summary], None]


@dataclass(frozen=True)
class RunResult:
    """A whole run in memory. table: the columns of records.COLUMNS, metadata set."""

    table: pa.Table
    summary: Summary
    model: Model


@dataclass
class Taken:
    """Where an earlier process left a run, and what is known from there.

    cursor: the place in the plan; tally: of the inputs before; members: names of those that were
    done of an archive there of which some are wanted. previous: a finished output whose
    rows are taken over, steps: which. seen: digests of the contents that have their labels.
    known: a file of the contents that `previous` knows.
    """

    cursor: Cursor = field(default_factory=Cursor)
    tally: Tally = field(default_factory=Tally)
    members: set[bytes] = field(default_factory=set)
    previous: Previous | None = None
    steps: Steps | None = None
    seen: set[bytes] = field(default_factory=set)
    known: Path | None = None


@dataclass
class Run:
    """A run that is ready: the plan is made, the model is loaded, nothing is labelled yet.

    taken: what is done before it. extra_attributes: for the output's metadata, JSON types.
    `inputs`: what is left of the plan. `is_stopped`: whether `stop` was called.
    """

    config: RunConfig
    found: Scan
    model: Model
    taken: Taken = field(default_factory=Taken)
    extra_attributes: dict[str, Any] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    is_stopped: bool = False

    def __post_init__(self) -> None:
        taken = self.taken
        is_kept = taken.steps.is_kept if taken.steps is not None else None
        self.inputs = Inputs(
            self.found.plan,
            self.config.scan_options,
            partial(_is_unread, is_kept=is_kept),
            start=taken.cursor,
            given=taken.tally.of_plan,
            done=taken.members,
        )
        self._besides = taken.tally.done - taken.tally.of_plan
        self.summary.take_up(taken.tally)
        self._count_inputs()

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows, with the metadata of the output."""
        return rows.schema(self.attributes)

    @property
    def attributes(self) -> dict[str, Any]:
        """The output's metadata: what `DataFrame.attrs` shows. JSON types only."""
        return attributes(self.config, self.model) | self.extra_attributes

    def batches(self, progress: Progress | None = None) -> Generator[pa.RecordBatch, None, None]:
        """Label all inputs: rows in plan order, a record batch at a time."""
        clock = self._begin()
        bare = self.schema
        with self._decoded() as decoded:
            for ready in predict_in_batches(self._settled(decoded), self.model):
                batch = rows.to_record_batch(ready.items, ready.predictions, bare)
                tally = Tally(rows=batch.num_rows)
                count(ready.items, tally)
                self._report(tally, clock, progress)
                yield batch
        self.check_whole()

    def parts(self, size: int, progress: Progress | None = None) -> Generator[Part, None, None]:
        """Label all inputs: rows in order, so many inputs at a time, or a few more.

        After `stop`, the last part has fewer.
        """
        clock = self._begin()
        with self._decoded() as decoded:
            maker, whole = self._maker(), Tally()
            for item in self._settled(decoded):
                if (tally := maker.add(item)) is not None:
                    whole.add(tally)
                    self._report(tally, clock, progress)
                # Sizes count from the beginning: a run that was stopped goes on with the parts,
                # and so the batches, that it would have had.
                if (self._committed + maker.count) // size > self._committed // size:
                    yield self._finished(maker, whole, clock, progress)
                    maker, whole = self._maker(), Tally()
            if maker.count:
                yield self._finished(maker, whole, clock, progress)
        self._count_inputs()

    def stop(self) -> None:
        """Take no further inputs; those in flight are finished. For any thread, and signals."""
        self.is_stopped = True
        self.inputs.stop()

    def _begin(self) -> float:
        if self.config.save_crops is not None:
            check_no_inputs_in(self.config.save_crops, self.found.plan)
            make_crops_folder(self.config.save_crops)
        self._committed = self.summary.done
        return time.monotonic()

    def _maker(self) -> PartMaker:
        return PartMaker(self.model, self.schema, self.taken.previous)

    def _finished(
        self, maker: PartMaker, whole: Tally, clock: float, progress: Progress | None
    ) -> Part:
        """The part that a maker has collected."""
        tally = maker.flush()
        whole.add(tally)
        self._report(tally, clock, progress)
        self._committed += whole.done
        return maker.part(whole)

    def _settled(self, decoded: Iterable[Sample | Kept]) -> Iterator[Item]:
        """What becomes of what was decoded, with duplicates and known contents found out."""
        contents = Contents(
            self.taken.previous,
            skip_duplicates=self.config.skip_duplicates,
            seen=self.taken.seen,
        )
        for item in decoded:
            yield from contents.settle(item)

    @property
    def decode_options(self) -> DecodeOptions:
        """What the worker processes are told."""
        known = self.taken.known
        return DecodeOptions(
            self.model.size_px,
            self.config.max_pixels,
            self.config.face_options,
            self.config.save_crops,
            None if known is None else str(known),
            self.config.timeout_s,
        )

    def _decoded(self) -> OrderedMap[Source | Kept, Sample | Kept]:
        options = self.decode_options
        workers = self.config.workers or usable_cpus()
        window, chunk = WAITING_BATCHES * self.config.batch_size, CHUNK_CROPS
        if options.faces is not None:
            window = max(WINDOW_PHOTOGRAPHS * workers, self.config.batch_size)
            chunk = CHUNK_PHOTOGRAPHS
        steps = self.taken.steps
        return OrderedMap(
            partial(decode_step, options=options),
            self.inputs if steps is None else steps.over(self.inputs),
            on_crash=partial(crashed, options=options),
            timeout_s=options.timeout_s,
            on_timeout=partial(timed_out, options=options),
            prepare=partial(load_decoders, options),
            workers=workers,
            window=max(window, chunk),
            chunk=chunk,
            weight=_carried,
            stop_items=self.inputs.stop,
        )

    def _report(self, tally: Tally, clock: float, progress: Progress | None) -> None:
        """Bring the summary up to date, and show it."""
        self.summary.add(tally)
        self._count_inputs()
        self.summary.remarks = self.model.remarks
        self.summary.seconds = time.monotonic() - clock
        if progress is not None and tally.done:
            progress(self.summary)

    def _count_inputs(self) -> None:
        """What is known of the inputs by now: archives tell what is in them as they are read."""
        steps = self.taken.steps
        besides = self._besides + (0 if steps is None else steps.besides)
        self.summary.inputs = self.inputs.total + besides
        self.summary.is_total_known = self.inputs.is_total_known
        self.summary.skipped = self.found.skipped + self.inputs.skipped

    def check_whole(self) -> None:
        """Rows account for every input. Raises AnnotateError where there was none."""
        self._count_inputs()
        if not self.summary.done:
            raise no_images(self.config, self.summary.skipped)
        if self.summary.done != self.summary.inputs:
            raise RuntimeError(f"{self.summary.done} of {self.summary.inputs} inputs have rows")


def attributes(config: RunConfig, model: Model) -> dict[str, Any]:
    """What the rows of a run depend on, and who made them; JSON types only."""
    found: dict[str, Any] = {
        "annotate_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "model_sha256": model.sha256,
        "preprocessing_version": model.preprocessing_version,
        "engine": model.engine,
        "device": model.device,
        "tta": model.tta,
        "faces": config.faces,
        "max_pixels": config.max_pixels,
        "skip_duplicates": config.skip_duplicates,
    }
    if config.faces == "detect":  # what decided which faces were found
        found |= {
            "detector": DETECTOR,
            "detect_size": config.detect_size,
            "min_face_px": config.min_face_px,
            "min_score": config.min_score,
            "max_faces": config.max_faces,
        }
    return found


def prepare(config: RunConfig, *, model: Model | None = None) -> Run:
    """Scan the SOURCEs and load the model. model: one that is loaded already.

    Raises AnnotateError where there is nothing to label, the model or the detector cannot be
    loaded, or a loaded model is not as the config says.
    """
    check(config, model)
    return Run(config, find_inputs(config), ready_model(config, model))


def check(config: RunConfig, model: Model | None = None) -> None:
    """Raise AnnotateError where a config cannot be followed, whatever the SOURCEs hold."""
    if not config.sources and config.table is None:
        raise AnnotateError("no SOURCE: expected folders, files, archives, patterns or a table")
    if model is not None and config.tta and not model.tta:
        raise AnnotateError(
            f"tta=True, but the model {model.name!r} was loaded without it: pass"
            " load_model(..., tta=True), or the model's name"
        )
    if config.save_crops is not None:
        check_crops_folder(config.save_crops, config.sources, Selection(config.scan_options))


def find_inputs(config: RunConfig) -> Scan:
    """Scan the SOURCEs. Raises AnnotateError where there is nothing to label."""
    found = scan(config.sources, config.scan_options)
    if not found.plan:
        raise no_images(config, found.skipped)
    return found


def ready_model(config: RunConfig, model: Model | None = None) -> Model:
    """The model of a config, loaded, or the one that is; and the detector is checked.

    Raises AnnotateError.
    """
    if config.faces == "detect":
        # Loaded here, because runs on crops do without.
        from annotate.face_networks import check_weights

        check_weights()
    if model is not None:
        return model
    return load_model(
        config.model,
        engine=config.engine,
        device=config.device,
        batch_size=config.batch_size,
        tta=config.tta,
    )


def _is_unread(member: Source, is_kept: Callable[[Source], bool] | None) -> bool:
    """Whether the bytes of an archive's member are not needed."""
    is_known = is_kept is not None and is_kept(member)
    return is_known or is_unsupported(member.path)


def _carried(step: Source | Kept) -> int:
    """Bytes that come with a step."""
    return 0 if isinstance(step, Kept) else len(step.data or b"")


def no_images(config: RunConfig, skipped: Counter[str]) -> AnnotateError:
    """The error of a run that has nothing to label."""
    named = [*config.sources, *([] if config.table is None else [config.table])]
    passed = ", ".join(f"{why} {n:,}" for why, n in skipped.most_common())
    found = f"passed over: {passed}" if passed else "nothing is there"
    return AnnotateError(
        f"no images in {', '.join(named)} ({found}): expected files with the names of images, such"
        " as .jpg, .png or .heic, or an archive that is named itself"
    )


def run_table(
    config: RunConfig, *, progress: Progress | None = None, model: Model | None = None
) -> RunResult:
    """Label all inputs into a table in memory. Raises AnnotateError."""
    run = prepare(config, model=model)
    table = pa.Table.from_batches(run.batches(progress), run.schema).unify_dictionaries()
    return RunResult(table, run.summary, run.model)
