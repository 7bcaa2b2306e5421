"""Estimate: a prepared run in, what it would do and about how long it would take out."""

from __future__ import annotations

import time

import numpy as np

from annotate.decoding import DecodeOptions, decode_source
from annotate.engines import usable_cpus
from annotate.pipeline import Run

TRIAL_INPUTS = 64
"""Inputs that are decoded for the estimate, spread evenly over the plan."""

_TRIAL_BATCHES = 3
_START_UP_S = 2.0


def describe(run: Run, output: str | None) -> str:
    """What a run would do, for people; several lines. Decodes a few inputs, writes nothing."""
    plan, model = run.found.plan, run.model
    lines = [f"would label {len(plan):,} inputs ({_size_of(run)}) into {output or 'stdout'}"]
    for why, number in run.found.skipped.most_common():
        lines.append(f"  not inputs: {number:,} {why}")
    lines.append(f"model {model.name}, engine {model.engine} on {model.device_name}")
    lines.append(f"about {_duration(estimate_s(run))}")
    return "\n".join(lines)


def estimate_s(run: Run) -> float:
    """Seconds that a run is expected to take, from a trial on a sample of its inputs.

    Decoding and inference share the cores of a CPU, so their costs add up there.
    """
    plan, model = run.found.plan, run.model
    options = DecodeOptions(model.size_px, run.config.max_pixels)
    chosen = np.unique(np.linspace(0, len(plan) - 1, min(TRIAL_INPUTS, len(plan))).astype(int))
    started = time.perf_counter()
    for key in chosen:
        decode_source(plan[int(key)], options)
    decode_s = (time.perf_counter() - started) / len(chosen)
    batch = np.zeros((model.batch_size, model.size_px, model.size_px, 3), np.uint8)
    model.predict(batch)
    started = time.perf_counter()
    for _ in range(_TRIAL_BATCHES):
        model.predict(batch)
    infer_s = (time.perf_counter() - started) / _TRIAL_BATCHES / model.batch_size
    spread_s = decode_s / min(run.config.workers or usable_cpus(), usable_cpus())
    per_input = max(spread_s, infer_s) if model.device == "gpu" else spread_s + infer_s
    return _START_UP_S + len(plan) * per_input


def _size_of(run: Run) -> str:
    size = float(sum(source.size_bytes for source in run.found.plan))
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
