"""Replacing: a finished model folder in, in the place of an older one, never of anything else.

A crash between the steps leaves one of the two under its name, or the older one beside it, under
a name from which the next export takes it back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from annotate.durable import flush_folder, flush_tree
from annotate.errors import AnnotateError, shown
from annotate.model import FILES, HASHES_FILE

KNOWN = frozenset({"model.json", "card.md", HASHES_FILE, *FILES.values()})
"""The files of a model folder."""


def prepare(out: Path, *, overwrite: bool) -> Path:
    """A new, empty folder beside `out`, to fill and to pass to put.

    Raises AnnotateError where `out` is there and may not be replaced, or cannot be made.
    """
    building, aside = _beside(out, "tmp"), _beside(out, "old")
    with _told(out):
        if not os.path.lexists(out) and _is_model_folder(aside):
            os.replace(aside, out)
        if os.path.lexists(out):
            if not overwrite:
                raise AnnotateError(f"{out} exists: pass --overwrite to replace it")
            _check_replaceable(out)
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
    return building


def put(building: Path, out: Path) -> None:
    """Give a folder that prepare made its name; what had it before is deleted last.

    Raises AnnotateError, and leaves what was there, where that cannot be done.
    """
    aside = _beside(out, "old")
    with _told(out):
        flush_tree(building)
        if os.path.lexists(out):
            # It may have become something else in the hours since prepare looked.
            _check_replaceable(out)
            _remove_old(aside)
            os.replace(out, aside)
        try:
            os.replace(building, out)
        except OSError:
            if _is_model_folder(aside):
                os.replace(aside, out)
            raise
        flush_folder(out.parent)
        _remove_old(aside)


@contextlib.contextmanager
def _told(out: Path) -> Iterator[None]:
    """What the system refuses is a line that names the folder."""
    try:
        yield
    except OSError as error:
        raise AnnotateError(
            f"cannot write {out}: {error.strerror}: choose another --out"
        ) from error


def _beside(out: Path, kind: str) -> Path:
    whole = Path(os.path.abspath(out))
    return whole.parent / f".{whole.name}.{kind}"


def _remove_old(aside: Path) -> None:
    if _is_model_folder(aside):
        shutil.rmtree(aside)


def _check_replaceable(out: Path) -> None:
    if out.is_symlink() or not out.is_dir():
        raise AnnotateError(f"{out} is no folder, and is not replaced: choose another --out")
    if not _is_model_folder(out):
        others = sorted({path.name for path in out.iterdir()} - KNOWN)
        why = f"it holds {shown(others[0])}" if others else "it has no model.json"
        raise AnnotateError(
            f"{out} is no model folder, and is not replaced: {why}; choose another --out"
        )


def _is_model_folder(path: Path) -> bool:
    """Whether it is a folder with a model.json and nothing that a model folder does not have."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    return "model.json" in names and names <= KNOWN
