"""JSON files: inputs in; those that JSON formats take, and one whole file of values, out."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from annotate import durable
from annotate.errors import AnnotateError, shown
from annotate.export.labelled import Input, LeftOut
from annotate.export.tally import Reason, Tally
from annotate.targets import explained

SUFFIX = ".json"


def check_target(target: str, *, overwrite: bool) -> Path:
    """The file that is to be written. Raises AnnotateError where it is there, or cannot be."""
    path = Path(target)
    name = shown(target, 300)
    if path.suffix.lower() != SUFFIX:
        raise AnnotateError(f"cannot write {name}: expected a file named *{SUFFIX}")
    check_free(path, overwrite=overwrite)
    if not path.parent.is_dir():
        raise AnnotateError(f"cannot write {name}: there is no folder {shown(str(path.parent))}")
    return path


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise AnnotateError where there is something at the path that may not be replaced."""
    name = shown(str(path), 300)
    with explained(name):
        if path.is_dir():
            raise AnnotateError(f"cannot write {name}: it is a folder")
        if not overwrite and os.path.lexists(path):
            raise AnnotateError(f"{name} exists: pass --overwrite to replace it, or another -o")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, at its name once the block ends well. Raises AnnotateError."""
    temporary = path.with_name(f".{path.name}.part")
    with explained(shown(str(path), 300)):
        with durable.new_file(temporary) as file:
            yield file
        durable.rename(temporary, path)


def pictures(
    labelled: Iterable[Input | LeftOut], tally: Tally, *, faces_only: bool
) -> Iterator[tuple[str, Input]]:
    """The inputs with names that JSON can hold, each with its name below the common folder, and
    of their faces those with a gender; the others are counted.

    faces_only: leave out the inputs in which no face was found, too.
    """
    for item in labelled:
        if isinstance(item, LeftOut):
            tally.leave_out(item.reason, item.path)
            continue
        try:
            name = item.relative.decode("utf-8")
        except UnicodeDecodeError:
            tally.leave_out(Reason.NOT_UTF8, item.path)
            continue
        if faces_only and not item.faces:
            tally.leave_out(Reason.NO_FACE, item.path)
            continue
        faces = tuple(face for face in item.faces if face.gender is not None)
        for _ in range(len(item.faces) - len(faces)):
            tally.leave_out(Reason.NO_GENDER, item.path)
        tally.inputs += 1
        tally.faces += len(faces)
        yield name, replace(item, faces=faces)


def write_values(file: BinaryIO, values: Iterable[Any]) -> None:
    """Write a JSON array, a value a line. Names must be UTF-8, numbers finite."""
    separator = b"[\n"
    for value in values:
        file.write(separator + as_json(value))
        separator = b",\n"
    file.write(b"[]" if separator == b"[\n" else b"\n]")


def as_json(value: Any) -> bytes:
    """A value on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
