"""Trials: the file that a seed stands for goes through annotate as a run's would, and is judged.

Runs in a process of its own, `python -m torture.trials FIRST STOP STEP`, which may be killed by
what it reads: `torture.herd` starts it, listens and ends it. What it has to say goes to stdout,
a line of JSON for the start of each trial and one for its end.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from annotate import rows
from annotate.archives import Archive
from annotate.decoding import DecodeOptions, decode_source, load_decoders
from annotate.face_options import FaceOptions
from annotate.images import MAX_PIXELS, MAX_SIDE_PX, SUFFIXES
from annotate.names import escape
from annotate.records import FLAGS, Predictions, Sample, Source, Status
from annotate.selection import ScanOptions, Selection
from torture.mutations import mutated
from torture.seeds import PICTURES, seeds
from torture.seeds import SUFFIXES as ARCHIVE_SUFFIXES

CPU_LIMIT_S = 10
"""A file may take no more. Counted as the time of all threads: other processes do not matter."""

MEMORY_LIMIT_BYTES = 6 * 2**30
"""Address space of the process. The most pixels that are decoded take up to 3 GB."""

DETECT_SHARE = 0.25
"""Of the pictures, those that go through the detector too."""

_SIZE_PX = 32
_CROP = DecodeOptions(size_px=_SIZE_PX)
_DETECT = DecodeOptions(size_px=_SIZE_PX, faces=FaceOptions())
_EXPECTED = {Status.OK, Status.NO_FACE, Status.DECODE_ERROR, Status.TOO_LARGE, Status.UNSUPPORTED}
_EXPECTED_OF_ARCHIVES = _EXPECTED | {Status.UNREADABLE}


@dataclass
class Outcome:
    """What became of one trial. statuses: of its rows. faults: what annotate did wrong."""

    seed: int
    kind: str
    statuses: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    cpu_ms: float = 0.0


def trial(seed: int, folder: Path) -> Outcome:
    """Try one seed. folder: where its file is written."""
    kind, data = mutated(seed)
    outcome = Outcome(seed, kind)
    path = folder / f"{seed}{ARCHIVE_SUFFIXES.get(kind, '.jpg')}"
    path.write_bytes(data)
    started = time.process_time()
    if kind in PICTURES:
        _try_picture(outcome, path, data)
    else:
        _try_archive(outcome, path)
    outcome.cpu_ms = 1000 * (time.process_time() - started)
    return outcome


def _try_picture(outcome: Outcome, path: Path, data: bytes) -> None:
    source = _source(path)
    is_detected = outcome.seed % 100 < 100 * DETECT_SHARE
    for options in (_CROP, _DETECT) if is_detected else (_CROP,):
        sample = decode_source(source, options)
        outcome.statuses.append(_status(sample))
        outcome.faults += faults(sample, _EXPECTED)
        if sample.facts.sha256 != hashlib.sha256(data).hexdigest():
            outcome.faults.append("the hash is not that of the file")


def _try_archive(outcome: Outcome, path: Path) -> None:
    archive = Archive(_source(path, is_archive=True), Selection(ScanOptions(SUFFIXES)))
    for source in archive:
        if (source.failure is None) == (source.data is None):
            outcome.faults.append(f"neither bytes nor a failure, or both: {source}")
        sample = decode_source(source, _CROP)
        outcome.statuses.append(_status(sample))
        outcome.faults += faults(sample, _EXPECTED_OF_ARCHIVES)


def _source(path: Path, *, is_archive: bool = False) -> Source:
    status = path.stat()
    folder, name = escape(bytes(path.parent)), escape(os.fsencode(path.name))
    facts = (status.st_size, status.st_mtime_ns)
    return Source(0, folder, name, bytes(path), *facts, is_archive=is_archive)


def _status(sample: Sample) -> str:
    if sample.failure is not None:
        return str(sample.failure.status)
    return str(Status.OK if sample.faces else Status.NO_FACE)


def faults(sample: Sample, expected: set[Status]) -> list[str]:
    """What is wrong with a sample, whatever its file was."""
    found = [text for text, is_wrong in _checks(sample, expected) if is_wrong]
    zeros = np.zeros(len(sample.faces), np.float32)
    predictions = Predictions(zeros, zeros) if sample.faces else None
    batch = rows.to_record_batch([sample], predictions, rows.schema({}))
    if batch.num_rows != max(1, len(sample.faces)):
        found.append(f"{batch.num_rows} rows")
    return found


def _checks(sample: Sample, expected: set[Status]) -> Iterator[tuple[str, bool]]:
    yield f"status {_status(sample)}", Status(_status(sample)) not in expected
    if sample.failure is not None:
        text = sample.failure.error
        yield f"error {text!r}", not text.isprintable() or not 0 < len(text) <= 300
        yield f"a trace in {text!r}", " at 0x" in text or "Traceback" in text
        yield "a failure with pixels", len(sample.pixels) > 0
        return
    width, height = sample.facts.width or 0, sample.facts.height or 0
    yield f"{width} x {height} pixels", not 0 < width * height <= MAX_PIXELS
    yield f"a side of {max(width, height)}", max(width, height) > MAX_SIDE_PX
    shape = (len(sample.faces), _SIZE_PX, _SIZE_PX, 3)
    yield f"crops {sample.pixels.shape}", sample.pixels.shape != shape
    for face in sample.faces:
        left, top, right, bottom = face.box
        inside = 0 <= left < right <= width and 0 <= top < bottom <= height
        yield f"box {face.box} in {width} x {height}", not inside
        yield f"score {face.score}", face.score is not None and not 0 <= face.score <= 1
        yield f"flags {face.flags}", not set(face.flags) <= set(FLAGS)
        points = [value for point in face.landmarks or () for value in point]
        yield f"landmarks {points}", not all(map(math.isfinite, points))


# The process ------------------------------------------------------------------------------


def main(first: str, stop: str, step: str, try_one: str = "torture.trials:trial") -> None:
    """Try the seeds of a range, one after the other. try_one: MODULE:FUNCTION, as `trial`."""
    module, _, name = try_one.partition(":")
    function: Callable[[int, Path], Outcome] = getattr(importlib.import_module(module), name)
    seeds()
    for options in (_CROP, _DETECT):
        load_decoders(options)
        whole = Source(0, "", "x", b"", 0, 0, data=seeds()["JPEG"][0])
        faults(decode_source(whole, options), _EXPECTED)
    if sys.platform == "linux":  # others do not hold to it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    with os.fdopen(os.dup(1), "w") as said:
        os.dup2(2, 1)
        printed = _Printed()
        for seed in range(int(first), int(stop), int(step)):
            kind = mutated(seed)[0]
            said.write(json.dumps({"seed": seed, "kind": kind}) + "\n")
            said.flush()
            outcome = _judged(function, seed, kind)
            outcome.faults += printed.since()
            said.write(json.dumps(asdict(outcome)) + "\n")
            said.flush()


def _judged(function: Callable[[int, Path], Outcome], seed: int, kind: str) -> Outcome:
    """A trial, of which the kernel ends the process once it has worked for too long, whatever code
    is running. What it raises is a fault.
    """
    with tempfile.TemporaryDirectory() as folder:
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        try:
            return function(seed, Path(folder))
        except KeyboardInterrupt:
            raise
        except BaseException:
            return Outcome(seed, kind, faults=[f"raised {traceback.format_exc()}"])
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


class _Printed:
    """What Python and C have written to stderr, where stdout leads too; it has to be a file."""

    def __init__(self) -> None:
        self._place = os.fstat(2).st_size

    def since(self) -> list[str]:
        """Since this was last asked."""
        sys.stdout.flush()
        text = os.pread(2, max(0, os.fstat(2).st_size - self._place), self._place)
        self._place += len(text)
        return [f"printed {text!r}"] if text else []


if __name__ == "__main__":
    main(*sys.argv[1:])
