"""Material: where images come from in, everything that one run learns from out.

Photographs are searched for faces, and a teacher looks at every image, once in the life of a
run: what they gave is kept in the run's folder, also for a run that is resumed before its first
whole epoch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.errors import AnnotateError, shown
from annotate.images import Pixels, resize_square
from annotate.model import load_model
from training.data import FaceData, FolderData
from training.history import write_text
from training.photographs import load_photographs
from training.presets import Preset
from training.runs import Arrays, load_arrays, save_arrays, write_lines
from training.splits import hash_lines


@dataclass(frozen=True)
class Sources:
    """Where a run's images come from.

    data: a folder with UTKFace names. photographs, photograph_labels: pictures, and the table
    that labels those to learn from as well. teachers: models, by name or folder, whose mean
    opinion of each image is learnt too. start: a model whose weights to begin with.
    """

    data: Path
    photographs: Path | None = None
    photograph_labels: Path | None = None
    teachers: tuple[str, ...] = ()
    start: str | None = None

    def __post_init__(self) -> None:
        if (self.photographs is None) != (self.photograph_labels is None):
            raise AnnotateError("photographs and the table that labels them go together: pass both")

    @property
    def options(self) -> str:
        """The options of `fit` that name these sources, with the places of data sets left open."""
        words = ["--data $UTKFACE"]
        if self.photograph_labels is not None:
            words.append("--photographs $APPA_REAL")
            words.append(f"--photograph-labels {self.photograph_labels.name}")
        if self.start is not None:
            words.append(f"--start {Path(self.start).name}")
        words += [f"--teacher {Path(teacher).name}" for teacher in self.teachers]
        return " ".join(words)


@dataclass(frozen=True)
class Lessons:
    """Labelled images, N of them, and what teachers said of each, on average.

    teacher_ages: float16 (N, bins), rows sum to 1; teacher_female: float32 (N,), 0 to 1. Both
    None without teachers.
    """

    faces: FaceData
    teacher_ages: npt.NDArray[np.float16] | None = None
    teacher_female: npt.NDArray[np.float32] | None = None


def training_lessons(
    out: Path, preset: Preset, faces: FolderData, sources: Sources, *, resume: bool
) -> Lessons:
    """What a run trains on. out: the run's folder. resume: take what is kept there."""
    found = faces.parts["train"]
    if sources.photographs is not None:
        kept = out / "photographs.npz"
        names = [field.name for field in fields(FaceData)]
        state = _kept(kept, names) if resume else None
        # A preset may have changed since; its crops are made again then.
        if state is None or state["pixels"].shape[1] != preset.source_px:
            _keep_photographs(kept, preset, sources)
            state = load_arrays(kept)
        found += FaceData(**{name: _plain(state[name]) for name in names})
    if not sources.teachers:
        return Lessons(found)
    kept = out / "teacher.npz"
    state = _kept(kept, ["ages", "female"]) if resume else None
    if state is None or len(state["ages"]) != len(found):
        opinions = [_opinion(name, found.pixels, preset) for name in sources.teachers]
        state = {
            "ages": np.mean([ages for ages, _ in opinions], axis=0).astype(np.float16),
            "female": np.mean([female for _, female in opinions], axis=0),
        }
        save_arrays(kept, state)
    return Lessons(found, state["ages"], state["female"])


def _kept(path: Path, names: list[str]) -> Arrays | None:
    """What an earlier start of the run kept, if it has all of these arrays."""
    state = load_arrays(path) if path.exists() else {}
    return state if set(names) <= set(state) else None


def _plain(array: npt.NDArray[Any]) -> Any:
    """Names and hashes are lists, all else arrays."""
    return array.tolist() if array.dtype.kind == "U" else array


def _keep_photographs(kept: Path, preset: Preset, sources: Sources) -> None:
    """Find the faces of the labelled photographs, and write them beside what was met."""
    assert sources.photographs is not None
    assert sources.photograph_labels is not None
    found = load_photographs(sources.photographs, sources.photograph_labels, preset.source_px)
    faces = found.faces
    by_name = dict(zip(faces.names, faces.hashes, strict=True))
    write_lines(kept.with_suffix(".txt"), hash_lines({"train": by_name}))
    faults = [f"{fault.kind}: {fault.path}" for fault in found.faults]
    write_text(kept.with_suffix(".json"), json.dumps(faults, indent=1))
    save_arrays(
        kept, {field.name: np.asarray(getattr(faces, field.name)) for field in fields(faces)}
    )


def at_size(pixels: Pixels, size_px: int) -> Pixels:
    """Images scaled to another side. pixels: uint8 (N, S, S, 3). Returns (N, size_px, size_px, 3).

    By the filter that files are scaled with: what it gives is nearly what the file would.
    """
    if pixels.shape[1] == size_px:
        return pixels
    scaled = np.empty((len(pixels), size_px, size_px, 3), np.uint8)
    for index, image in enumerate(pixels):
        scaled[index] = resize_square(image, size_px)
    return scaled


def _opinion(
    teacher: str, pixels: Pixels, preset: Preset
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What a teacher says of images, as they are and mirrored: ages (N, bins), female (N,).

    pixels: uint8 (N, S, S, 3).
    """
    model = load_model(teacher, tta=True)
    ages, female = model.predict_raw(at_size(pixels, model.size_px))
    check_ages(model.name, ages.shape[1], preset)
    return ages, female[:, 0]


def check_ages(teacher: str, values: int, preset: Preset) -> None:
    """Refuse a teacher that gives other values for age than a preset learns. Raises AnnotateError.

    values: that it gives for each face.
    """
    if preset.age_bins is None:
        raise AnnotateError(
            f"preset {preset.name} learns one number for age, and has no use for the teacher"
            f" {shown(teacher, quote=False)}: only distributions of ages are learnt from others"
        )
    if values != preset.age_bins:
        raise AnnotateError(
            f"the teacher {shown(teacher, quote=False)} gives {values} values for age, preset"
            f" {preset.name} learns {preset.age_bins}"
        )
