"""A run's folder: what a training run writes and finds again, whole or not at all. No Keras.

`run.json` says what the run is about, `splits.txt` which image is in which part, `photographs.txt`
and `photographs.json` which photographs it learns from as well and which not; `*.npz` hold
arrays.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.errors import AnnotateError, one_line
from training.data import FolderData
from training.history import write_text
from training.splits import hash_lines

CHECKPOINT = "checkpoint.npz"
RESULTS = ("best.npz", "history.csv")
"""What a run writes after each epoch; the checkpoint comes last."""

Arrays = dict[str, npt.NDArray[Any]]


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays as .npz, complete or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_arrays(path: Path) -> Arrays:
    """Read what save_arrays wrote; never unpickles. Raises AnnotateError."""
    try:
        # Not np.load: it takes a file that is one array, and gives the bytes of other members.
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): np.lib.format.read_array(
                    archive.open(name), allow_pickle=False
                )
                for name in archive.namelist()
            }
    except Exception as error:  # zipfile, zlib and NumPy have no common base
        raise AnnotateError(f"cannot read {path}: {one_line(error)}") from error


def read_run(out: Path) -> dict[str, Any]:
    """run.json of a training run, of which the preset alone is sure. Raises AnnotateError."""
    try:
        run: dict[str, Any] = json.loads((out / "run.json").read_text("utf-8"))
        run["settings"]["preset"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AnnotateError(f"{out} holds no training run: {one_line(error)}") from error
    return run


def read_whole_run(out: Path) -> dict[str, Any]:
    """run.json of a training run, with all that export takes from it. Raises AnnotateError."""
    run = read_run(out)
    settings, images = run["settings"], run.get("images")
    teachers = settings.get("teachers", [])
    checks = {
        "settings.preset": isinstance(settings["preset"], str),
        "settings.seed": _is_count(settings.get("seed")),
        "settings.limit": settings.get("limit") is None or _is_count(settings["limit"]),
        "settings.start": isinstance(settings.get("start", ""), str),
        "settings.teachers": _are_texts(teachers),
        "images": isinstance(images, dict) and all(map(_is_count, images.values())),
        "faults": _are_texts(run.get("faults")),
        **{key: isinstance(run.get(key), str) for key in ("command", "keras", "backend")},
    }
    wrong = [key for key, fine in checks.items() if not fine]
    if wrong:
        raise AnnotateError(
            f"{out / 'run.json'} lacks or misstates {', '.join(wrong)}: it is not as fit wrote it"
        )
    return run


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def check_settings(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Refuse to continue a run that was started otherwise, or that lost its checkpoint.

    Returns its run.json. Raises AnnotateError.
    """
    run = read_run(out)
    before = run["settings"]
    if before != settings:
        raise AnnotateError(f"{out} was started with {before}, not with {settings}")
    if not has_checkpoint(out):
        _refuse_results(out)
    return run


def check_unused(out: Path) -> None:
    """Refuse a place for a new run that holds what another one trained. Raises AnnotateError."""
    if has_checkpoint(out):
        raise AnnotateError(f"{out} holds a training run: use --resume, or another --out")
    _refuse_results(out)


def has_checkpoint(out: Path) -> bool:
    """Whether a run has a whole epoch, after which it can go on."""
    return (out / CHECKPOINT).exists()


def _refuse_results(out: Path) -> None:
    found = [name for name in RESULTS if (out / name).exists()]
    if found:
        raise AnnotateError(
            f"{out} holds the {found[0]} of a training run without its {CHECKPOINT}: choose"
            " another --out"
        )


def check_splits(out: Path, faces: FolderData) -> None:
    """Refuse to go on with other images than the run began with. Raises AnnotateError."""
    try:
        before = (out / "splits.txt").read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        raise AnnotateError(f"cannot read {out / 'splits.txt'}: {error}") from error
    if before != hash_lines(faces.hashes):
        raise AnnotateError(f"{out} was trained on other images: pass the --data it began with")


def write_run(out: Path, run: Mapping[str, Any], faces: FolderData) -> None:
    """Write what the run is about, with the images by part and the faults of the data."""
    faults = [f"{fault.kind}: {fault.path}" for fault in faces.faults]
    write_lines(out / "splits.txt", hash_lines(faces.hashes))
    text = json.dumps({**run, "images": faces.counts, "faults": faults}, indent=1)
    write_text(out / "run.json", text)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text, complete or not at all."""
    write_text(path, "".join(f"{line}\n" for line in lines))
