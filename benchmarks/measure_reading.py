"""Measure what `annotate.read` takes: memory and time, by format.

    python benchmarks/measure_reading.py [--rows 1000000] [--folder DIR]

Makes an output of made-up rows as long as real ones, in each format, and reads each in a process of
its own. Prints a line for each: size on disk, memory of the DataFrame, the most memory that the
process took while reading beyond what it had before, and seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotate.rows import schema
from annotate.writers import open_output

FORMATS = ("people.parquet", "people.csv", "people.jsonl")
BATCH_ROWS = 8192

READ = """
import json, resource, sys, time
import annotate, pandas, annotate.readers

def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

columns = json.loads(sys.argv[2])
before, started = most(), time.monotonic()
frame = annotate.read(sys.argv[1], columns=columns)
print(json.dumps({
    "seconds": time.monotonic() - started,
    "peak": most() - before,
    "frame": int(frame.memory_usage(deep=True).sum()),
}))
"""


def batch(first: int, rows: int, rng: np.random.Generator) -> pa.RecordBatch:
    """Rows `first` and on, one face each, no value of which is worth looking at."""
    number = np.arange(first, first + rows)
    age = rng.uniform(1, 90, rows).astype(np.float32)
    probability = rng.uniform(0, 1, rows).astype(np.float32)
    values: dict[str, Any] = {
        "source": ["/mnt/photos/archive"] * rows,
        "path": [f"{1990 + i % 30}/{i // 1000:05d}/IMG_{i:07d}.jpg" for i in number],
        "size_bytes": rng.integers(10**5, 10**7, rows),
        "modified_at": rng.integers(10**15, 2 * 10**15, rows),
        "sha256": [rng.bytes(32).hex() for _ in number],
        "width": np.full(rows, 4000),
        "height": np.full(rows, 3000),
        "captured_at": rng.integers(10**12, 2 * 10**12, rows),
        "status": ["ok"] * rows,
        "face_index": np.zeros(rows),
        "face_count": np.ones(rows),
        "gender": np.where(probability >= 0.5, "female", "male").tolist(),
        "female_probability": probability,
        **dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), age * 10),
        **dict.fromkeys(("age", "age_p10", "age_p90", "age_sd"), age),
        **dict.fromkeys(("detection_score", "minor_probability"), probability),
    }
    arrays = []
    for field in schema():
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        column = pa.array(values.get(field.name, [None] * rows))
        arrays.append(column.cast(plain).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema())


def write(target: Path, rows: int) -> None:
    """Write an output of so many rows."""
    rng = np.random.default_rng(0)
    with open_output(str(target), schema({"model": "base"})) as writer:
        for first in range(0, rows, BATCH_ROWS):
            writer.write(batch(first, min(BATCH_ROWS, rows - first), rng))


def measured(target: Path, columns: list[str] | None) -> dict[str, float]:
    """Seconds and bytes that reading takes in a new process."""
    words = [sys.executable, "-c", READ, str(target), json.dumps(columns)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where the outputs are made; a temporary one if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print("| read | on disk, MB | DataFrame, MB | most while reading, MB | seconds |")
        print("|---|---|---|---|---|")
        for name in FORMATS:
            target = Path(folder, name)
            write(target, options.rows)
            for columns in (None, ["path", "age", "gender"]):
                found = measured(target, columns)
                said = f"{name}, three columns" if columns else name
                sizes = target.stat().st_size, found["frame"], found["peak"]
                cells = [f"{size / 1e6:,.0f}" for size in sizes]
                print(f"| {said} | {' | '.join(cells)} | {found['seconds']:.1f} |", flush=True)
            target.unlink()


if __name__ == "__main__":
    main()
