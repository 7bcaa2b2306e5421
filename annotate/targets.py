"""Targets: the name of an output in; its format, and whether it may be put there, out.

Nothing here writes.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from annotate.errors import AnnotateError, shown
from annotate.names import absolute
from annotate.plan import Plan

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl"}

_PART = re.compile(r"part-\d{5,}\.parquet", re.ASCII)
_HIDDEN = ("_", ".")
_OF_PARTS = ("_metadata", "_common_metadata")
"""Files of other tools that say what is in the parts beside them."""

Standing = list[list[int]] | None


def check_target(target: str, *, overwrite: bool) -> str:
    """As output_kind, and the target is not there yet, unless `overwrite`. Raises AnnotateError."""
    kind = output_kind(target)
    if kind != "stdout" and not overwrite and is_output(target):
        raise AnnotateError(f"{target} exists: pass --overwrite to replace it, or another -o")
    return kind


def is_output(target: str) -> bool:
    """Whether there is something at a target: an empty folder is nothing."""
    path = Path(target)
    with explained(target):
        return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def output_kind(target: str) -> str:
    """The format of a target: "parquet", "csv", "jsonl", "folder" or "stdout".

    Raises AnnotateError where it cannot be written, so that no work is done in vain.
    """
    if target == "-":
        return "stdout"
    if not target:
        raise AnnotateError("the name of the output is empty")
    with explained(target):  # asking may fail too: a name can be too long
        return _kind(target, Path(target))


def _kind(target: str, path: Path) -> str:
    """The format of a file or folder. Raises OSError, AnnotateError."""
    if path.suffix.lower() not in SUFFIXES and path.suffix and not path.is_dir():
        known = ", ".join(SUFFIXES)
        raise AnnotateError(f"cannot write {target}: expected {known}, a folder, or - for stdout")
    if not path.parent.is_dir():
        raise AnnotateError(f"cannot write {target}: there is no folder {path.parent}")
    if path.exists() and not path.is_dir() and not path.is_file():
        raise AnnotateError(
            f"cannot write {target}: it is a device or a pipe, which an output would replace: pass"
            " - for stdout, or another name"
        )
    if not path.is_dir():
        kind = SUFFIXES.get(path.suffix.lower(), "folder")
        if kind == "folder" and path.exists():
            raise AnnotateError(
                f"cannot write {target}: it is a file, and an output without {', '.join(SUFFIXES)}"
                " is a folder: name another"
            )
        return kind
    if path.is_mount():
        raise AnnotateError(
            f"cannot write {target}: a disk is mounted there, and a data set is put in place"
            f" whole: name a folder in it, such as {path / 'labels'}"
        )
    if not is_data_set(path):
        raise AnnotateError(f"cannot write {target}: the folder holds other files than a data set")
    return "folder"


def is_data_set(path: Path) -> bool:
    """Whether a folder is empty, or holds Parquet parts and files that hide beside them."""
    entries = list(path.iterdir())
    parts = [entry for entry in entries if _PART.fullmatch(entry.name)]
    others = [entry for entry in entries if not _PART.fullmatch(entry.name)]
    hidden = all(entry.name.startswith(_HIDDEN) and entry.is_file() for entry in others)
    return not entries or (bool(parts) and hidden)


def hidden_files(folder: Path) -> list[Path]:
    """Files beside the parts of a data set that are somebody else's, and do not tell of them."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.name.startswith(_HIDDEN) and entry.name not in _OF_PARTS
    ]


def standing(path: Path) -> Standing:
    """What stands at a target, to tell later whether it still does: JSON types, None for nothing.

    Files that hide beside others do not count.
    """
    try:
        files = [path]
        if path.is_dir():
            entries = sorted(path.iterdir())
            files = [entry for entry in entries if not entry.name.startswith(_HIDDEN)] or entries
        states = [file.stat() for file in files]
    except FileNotFoundError:
        return None
    return [[state.st_size, state.st_mtime_ns] for state in states] or None


def check_is_not_read(target: Path, plan: Plan, table: str | None) -> None:
    """Make sure that an output does not replace what it is made of. Raises AnnotateError.

    table: the one that lists the inputs.
    """
    if not target.is_file():
        return
    real = os.path.realpath(os.fsencode(target))
    name = os.path.basename(real)
    locations = (plan.location(key) for key in range(len(plan)))
    read = [location for location in locations if location.endswith(name)]
    if table is not None:
        read.append(os.fsencode(table))
    if any(os.path.realpath(location) == real for location in read):
        raise AnnotateError(
            f"{shown(str(target), 300)} is what is to be read, which the output would replace:"
            " name another -o"
        )


def check_crops_beside(folder: str, target: Path) -> None:
    """Make sure that crops are not saved where the output is made or put. Raises AnnotateError."""
    real = os.path.realpath(folder)
    for place in (target, work_folder(target)):
        there = os.path.realpath(place)
        if os.path.commonpath([real, there]) == there:
            raise AnnotateError(
                f"the folder for crops, {shown(folder, 300)}, lies in the output"
                f" {shown(str(target), 300)}, which is replaced whole: name one outside"
            )


def located(target: str) -> Path:
    """Where a target is. A trailing separator, how a person says "a folder", is no part of it."""
    return Path(absolute(target))


def work_folder(target: Path) -> Path:
    """Where an output is made: beside its target. target: as of `located`."""
    return target.parent / f".{target.name}.annotate"


@contextlib.contextmanager
def explained(target: str) -> Iterator[None]:
    """Say which output could not be written: the disk is full, or it may not be written."""
    try:
        yield
    except OSError as error:
        raise AnnotateError(f"cannot write {target}: {error.strerror or error}") from error
