"""Speed: a model folder in, faces a second by inference alone out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from annotate.engines import cpu_name, usable_cpus
from annotate.model import load_model

BATCH_SIZE = 64
ROUNDS = 5
SECONDS_A_ROUND = 1.0


def measure_speed(model: str | Path) -> dict[str, Any]:
    """What model.json says of a model's speed: the best of some rounds, by the ONNX engine.

    One resident batch, all cores, predictions included. The best round, because whatever else
    the machine does can only make a round slower.
    """
    loaded = load_model(model, engine="onnx", batch_size=BATCH_SIZE)
    shape = (BATCH_SIZE, loaded.size_px, loaded.size_px, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    loaded.predict(batch)
    return {
        "crops_per_s": round(max(_rate(loaded, batch) for _ in range(ROUNDS))),
        "what": f"inference alone by the onnx engine, batches of {BATCH_SIZE}, all cores",
        "machine": f"{usable_cpus()} cores of {cpu_name()}",
        "command": "python -m training speed --model MODEL",
    }


def _rate(loaded: Any, batch: Any) -> float:
    """Faces a second in one round."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS_A_ROUND:
        loaded.predict(batch)
        done += len(batch)
    return done / (time.perf_counter() - started)
