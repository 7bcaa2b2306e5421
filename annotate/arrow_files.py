"""Arrow's files: a path in, an open file out.

Arrow takes some paths for addresses (`a:b.parquet`), and opens none whose name is not UTF-8. So it
gets files, never names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

AnyPath = str | os.PathLike[str]


def opened(path: AnyPath) -> pa.OSFile:
    """A file to read. Raises OSError."""
    return pa.OSFile(os.fsencode(path))


def created(path: AnyPath) -> pa.OSFile:
    """A file to write; one of that name is replaced. Raises OSError."""
    return pa.OSFile(os.fsencode(path), "wb")


@contextmanager
def parquet(path: AnyPath) -> Iterator[pq.ParquetFile]:
    """A Parquet file, closed at the end. Raises OSError, pa.ArrowException."""
    with opened(path) as source, pq.ParquetFile(source) as file:
        yield file


def count_rows(path: Path) -> int:
    """How many rows the footer of a Parquet file counts. Raises OSError, pa.ArrowException."""
    with parquet(path) as file:
        return int(file.metadata.num_rows)
