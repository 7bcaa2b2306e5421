"""Measure what this machine could do, what annotate does, and the ratio of the two, in one run.

    python benchmarks/run_benchmark.py FOLDER_OF_FACE_CROPS

On the same files: r_dec, plain Pillow (decode with `draft` at the model's size, resize), from
memory, images/s on one core; r_inf, inference alone on one resident batch, all cores, the best of
all engines, thread counts and batch sizes tried; and the whole program, `annotate run` in a
process of its own, start included. On a CPU, decoding and inference share the cores, so the
ceiling is cores / (1 / r_dec + cores / r_inf), and efficiency is measured / ceiling. Parts are
measured before and after the program and their mean counts, because shared machines drift within
minutes; of the engines and settings tried, the one with the best mean.
"""

from __future__ import annotations

import argparse
import datetime
import io
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from annotate.engines import cpu_name, usable_cpus
from annotate.model import load_model
from annotate.version import __version__

SECONDS = 4.0
"""How long each part is measured at a time."""


def read_sample(folder: Path, count: int = 2000) -> list[bytes]:
    """The bytes of `count` files spread evenly over the folder."""
    names = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    chosen = (
        names if len(names) <= count else [names[i * len(names) // count] for i in range(count)]
    )
    return [path.read_bytes() for path in chosen]


def measure_decode(files: list[bytes], size_px: int) -> float:
    """Images per second of plain Pillow on one core: open, draft, decode, resize, array."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        with Image.open(io.BytesIO(files[done % len(files)])) as image:
            image.draft("RGB", (size_px, size_px))
            np.asarray(image.convert("RGB").resize((size_px, size_px), Image.Resampling.BILINEAR))
        done += 1
    return done / (time.perf_counter() - started)


def measure_inference(model: str, engine: str, batch_size: int, threads: int | None) -> float:
    """Images per second of one resident batch, predictions included."""
    loaded = load_model(model, engine=engine, device="cpu", batch_size=batch_size, threads=threads)
    side = loaded.size_px
    batch = np.random.default_rng(0).integers(0, 256, (batch_size, side, side, 3), np.uint8)
    loaded.predict(batch)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        loaded.predict(batch)
        done += batch_size
    return done / (time.perf_counter() - started)


def measure_program(folder: Path, model: str) -> tuple[int, float]:
    """(inputs, seconds) of `annotate run` in a process of its own, start included."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out.parquet"
        started = time.perf_counter()
        command = [sys.executable, "-m", "annotate", "run", str(folder)]
        command += ["--faces", "crop", "--model", model, "-o", str(output)]
        process = subprocess.run(command, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if process.returncode not in (0, 3):
            sys.exit(f"annotate run failed: {process.stderr}")
        import pyarrow.parquet as pq

        inputs = pq.read_metadata(output).num_rows
    return inputs, seconds


def measure_help() -> float:
    """Seconds of CPU that `annotate --help` takes, the least of five."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "annotate", "--help"], check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def main() -> None:
    """Measure, and print a row for benchmarks/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="face crops, such as UTKFace")
    parser.add_argument("--model", default="base")
    parser.add_argument("--keras", action="store_true", help="try the keras engine for r_inf too")
    options = parser.parse_args()
    cores = usable_cpus()
    size_px = load_model(options.model).size_px
    files = read_sample(options.folder)
    decode = [measure_decode(files, size_px)]
    inference: dict[str, list[float]] = {}

    def try_engines() -> None:
        for batch_size in (32, 64, 128):
            for threads in sorted({1, cores}):
                name = f"onnx, {threads} threads, batch {batch_size}"
                rate = measure_inference(options.model, "onnx", batch_size, threads)
                inference.setdefault(name, []).append(rate)
        if options.keras:
            name = "keras, batch 64"
            rate = measure_inference(options.model, "keras", 64, None)
            inference.setdefault(name, []).append(rate)

    try_engines()
    inputs, seconds = measure_program(options.folder, options.model)
    decode.append(measure_decode(files, size_px))
    try_engines()
    r_dec, r_inf = fmean(decode), max(map(fmean, inference.values()))
    ceiling = cores / (1 / r_dec + cores / r_inf)
    measured = inputs / seconds
    for name, rates in inference.items():
        print(f"inference alone, {name}: {', '.join(f'{rate:,.0f}' for rate in rates)} images/s")
    print(f"annotate --help: {measure_help():.2f} s of CPU")
    machine = (
        f"{cpu_name()}, {cores} cores, {platform.system()}, Python {platform.python_version()}"
    )
    print(f"machine: {machine}")
    best = cores / (1 / max(decode) + cores / max(map(max, inference.values())))
    print(f"efficiency against the better of each two measurements: {measured / best:.2f}")
    print()
    print(
        "| date | version | model | images | r_dec /core | r_inf | ceiling | program | efficiency |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {datetime.date.today()} | {__version__} | {options.model} | {inputs:,} | {r_dec:,.0f}"
        f" | {r_inf:,.0f} | {ceiling:,.0f} | {measured:,.0f} | {measured / ceiling:.2f} |"
    )


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    main()
