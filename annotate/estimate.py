"""Estimate: a prepared run in, what it would do and about how long it would take out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from annotate.archives import Archive
from annotate.decoding import decode_source
from annotate.engines import usable_cpus
from annotate.errors import shown
from annotate.pipeline import Run
from annotate.records import Source

TRIAL_INPUTS = 64
"""Items of the plan that are tried for the estimate, spread evenly over it."""

TRIAL_ARCHIVES = 8
TRIAL_MEMBERS = 8
"""Of so many archives among them, so many members each, the first ones."""

TRIAL_S = 5.0
"""When it has taken so long, files are enough as they are, and then one archive is."""

_TRIAL_BATCHES = 3
_START_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to do. inputs: exact where no archive has to be guessed at.

    seconds: with what it takes to start.
    """

    inputs: int
    seconds: float


def describe(run: Run, output: str | None) -> str:
    """What a run would do, for people; several lines. Decodes a few inputs, writes nothing."""
    plan, model = run.found.plan, run.model
    expected = estimate(run)
    noun = "input" if expected.inputs == 1 else "inputs"
    inputs = f"{expected.inputs:,} {noun} ({_size_of(run)})"
    if plan.archives:
        archives = "1 archive" if plan.archives == 1 else f"{plan.archives:,} archives"
        inputs = f"about {inputs}, with those of {archives},"
    into = "stdout" if output is None else shown(output, len(output), quote=False)
    lines = [f"would label {inputs} into {into}"]
    for why, number in run.found.skipped.most_common():
        lines.append(f"  not inputs: {number:,} {why}")
    lines.append(f"model {model.name}, engine {model.engine} on {model.device_name}")
    lines.extend(model.remarks)
    lines.append(f"about {duration(expected.seconds)}")
    return "\n".join(lines)


def estimate(run: Run) -> Estimate:
    """How many inputs a run has, and how long it takes, from a trial on a sample of its inputs.

    Decoding and inference share the cores of a CPU, so their costs add up there.
    """
    plan, model = run.found.plan, run.model
    chosen = np.unique(np.linspace(0, len(plan) - 1, min(TRIAL_INPUTS, len(plan))).astype(int))
    started = time.perf_counter()
    tried, rate = _trial(run, [plan[int(key)] for key in chosen])
    decode_s = (time.perf_counter() - started) / max(tried, 1)
    whole = [s for s in plan if _is_whole(run, s)] if plan.archives else []
    inputs = plan.files + round(sum(source.size_bytes or 0 for source in whole) * rate)
    if run.config.limit is not None:
        inputs = min(inputs, run.config.limit)
    batch = np.zeros((model.batch_size, model.size_px, model.size_px, 3), np.uint8)
    model.predict(batch)
    started = time.perf_counter()
    for _ in range(_TRIAL_BATCHES):
        model.predict(batch)
    infer_s = (time.perf_counter() - started) / _TRIAL_BATCHES / model.batch_size
    spread_s = decode_s / min(run.config.workers or usable_cpus(), usable_cpus())
    per_input = max(spread_s, infer_s) if model.device == "gpu" else spread_s + infer_s
    return Estimate(inputs, _START_UP_S + inputs * per_input)


def _trial(run: Run, sources: list[Source]) -> tuple[int, float]:
    """Decode files, and the first members of some archives.

    Returns how many inputs were decoded, and how many an archive has for each of its bytes.
    """
    options = replace(run.decode_options, crops_dir=None)  # nothing is written
    deadline = time.perf_counter() + TRIAL_S
    files = [source for source in sources if not source.is_archive]
    archives = [source for source in sources if source.is_archive]
    step = -(-len(archives) // TRIAL_ARCHIVES) or 1
    tried, in_archives, packed = 0, 0.0, 0
    # In an order that is spread over the plan wherever it ends.
    for source in [source for first in range(8) for source in files[first::8]]:
        if tried and time.perf_counter() > deadline:
            break
        decode_source(source, options)
        tried += 1
    for number, source in enumerate(archives[::step]):
        if number and time.perf_counter() > deadline:
            break
        archive = run.inputs.archive(source)
        sizes = []
        for member in islice(archive, TRIAL_MEMBERS):
            decode_source(member, options)
            sizes.append(member.size_bytes or 0)
        tried += len(sizes)
        if _is_whole(run, source):
            size = source.size_bytes or 0
            in_archives += _inputs_in(archive, size, sizes)
            packed += size
    return tried, in_archives / max(packed, 1)


def _is_whole(run: Run, source: Source) -> bool:
    """Whether everything in an archive is wanted, so that nobody knows how many inputs it has."""
    return source.is_archive and run.found.plan.wanted(source.key) is None


def _inputs_in(archive: Archive, size: int, sizes: list[int]) -> float:
    """About how many inputs an archive has. size: its bytes. sizes: bytes of its first inputs."""
    if archive.ahead or len(sizes) < TRIAL_MEMBERS:
        return len(sizes) + archive.ahead
    # A tar does not say what is to come. Pictures are about as large in it as they are.
    return max(len(sizes), size * len(sizes) / max(sum(sizes), 1))


def _size_of(run: Run) -> str:
    size = float(sum(source.size_bytes or 0 for source in run.found.plan))
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def duration(seconds: float) -> str:
    """A time for people, in the unit that fits it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
