"""Plan files: a frozen plan to a file and back, and the digest that tells plans apart.

An Arrow file: a column an array of the plan, and what few items have as JSON beside them.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotate.arrow_files import opened
from annotate.durable import new_file
from annotate.errors import AnnotateError, one_line
from annotate.plan import Plan, PlanArrays
from annotate.records import Failure, Status

_KEY = b"annotate"
_ARRAYS = {"root_of": ("I", np.uint32), "sizes": ("q", np.int64), "times": ("q", np.int64)}
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RecursionError, pa.ArrowException)


def save(plan: Plan, path: Path) -> None:
    """Write a plan, on disk when this returns. Raises OSError."""
    arrays = plan.arrays
    offsets = pa.py_buffer(array("q", [0]) + array("q", arrays.ends))
    paths = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(plan), [None, offsets, pa.py_buffer(bytes(arrays.paths))]
    )
    columns = {"path": paths} | {
        name: pa.array(np.asarray(getattr(arrays, name), kind))
        for name, (_, kind) in _ARRAYS.items()
    }
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(_extras(arrays))})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with new_file(path) as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)


def load(path: Path) -> Plan:
    """Read a plan. Raises AnnotateError where the file does not hold one."""
    try:
        with opened(path) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all().combine_chunks()
        return Plan(_arrays(table))
    except _UNREADABLE as error:
        raise AnnotateError(
            f"cannot read the plan of the unfinished run in {path.parent}: {one_line(error)};"
            " --overwrite starts again"
        ) from error


def digest(plan: Plan, items: int | None = None) -> str:
    """Hexadecimal digest of the first so many items, all of them by default.

    The same for the same paths in the same order with the same sizes and times.
    """
    arrays = plan.arrays
    count = len(plan) if items is None else items
    hashed = hashlib.blake2b(digest_size=16)
    end = arrays.ends[count - 1] if count else 0
    for part in (arrays.ends, arrays.root_of, arrays.sizes, arrays.times):
        hashed.update(memoryview(part)[:count])
    hashed.update(memoryview(arrays.paths)[:end])
    extras = _extras(arrays, count)
    # Of roots, only those that these items have.
    used = max(arrays.root_of[:count], default=-1) + 1
    extras["roots"] = extras["roots"][:used]
    hashed.update(json.dumps(extras, sort_keys=True).encode())
    return hashed.hexdigest()


def _extras(arrays: PlanArrays, count: int | None = None) -> dict[str, Any]:
    """What few items have: JSON types. Names are bytes, so they go as hexadecimal digits."""

    def first(items: dict[int, Any]) -> list[tuple[int, Any]]:
        return [(key, value) for key, value in items.items() if count is None or key < count]

    return {
        "roots": [root.hex() for root in arrays.root_names],
        "failures": [(key, str(f.status), f.error) for key, f in first(arrays.failures)],
        "wanted": [
            (key, None if names is None else [name.hex() for name in names])
            for key, names in first(arrays.wanted)
        ],
    }


def _arrays(table: pa.Table) -> PlanArrays:
    extras = json.loads(table.schema.metadata[_KEY])
    paths = table.column("path").combine_chunks()
    _, offsets, data = paths.buffers()
    arrays = PlanArrays(
        paths=bytearray(data or b""),
        ends=array("Q", memoryview(offsets).cast("q")[1 : len(table) + 1]),
        root_names=[bytes.fromhex(root) for root in extras["roots"]],
        failures={key: Failure(Status(status), text) for key, status, text in extras["failures"]},
        wanted={
            key: None if names is None else {bytes.fromhex(name): None for name in names}
            for key, names in extras["wanted"]
        },
    )
    for name, (code, kind) in _ARRAYS.items():
        column = table.column(name).to_numpy().astype(kind, casting="no")
        setattr(arrays, name, array(code, column.tobytes()))
    return arrays
