"""Training data: a UTKFace folder in, pixels and labels in memory out, and every fault met.

Imports no Keras: the processes that decode in parallel start with this module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from annotate.errors import AnnotateError
from annotate.images import ImageError, Pixels, face_crop
from annotate.labels import Fault, Label, LabelSet, labels_from_names, utkface_files
from training.presets import Preset
from training.splits import PARTS, SEED, part_of

FILES_PER_TASK = 256


@dataclass(frozen=True)
class FaceData:
    """Labelled images, N of them.

    names: file names. hashes: SHA-256 of the files. pixels: uint8 (N, S, S, 3) RGB.
    ages: float32 (N,), years. female: float32 (N,), 0 or 1, NaN where nobody said.
    """

    names: list[str]
    hashes: list[str]
    pixels: Pixels
    ages: npt.NDArray[np.float32]
    female: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)

    def __add__(self, other: FaceData) -> FaceData:
        """These images and others of the same size after them."""
        return FaceData(
            self.names + other.names,
            self.hashes + other.hashes,
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.ages, other.ages]),
            np.concatenate([self.female, other.female]),
        )


@dataclass(frozen=True)
class FileRead:
    """One file: its SHA-256 and part, and pixels, or what is wrong with it.

    pixels: uint8 (S, S, 3) RGB, None for a part that was not asked for.
    """

    sha256: str = ""
    part: str = ""
    pixels: Pixels | None = None
    fault: str | None = None


@dataclass(frozen=True)
class FolderData:
    """A labelled folder, split by content.

    parts: those that were decoded. hashes: name to SHA-256 of every labelled file that is not
    known to be unreadable, by part. faults: malformed and odd names, unreadable files, and files
    identical to others.
    """

    parts: dict[str, FaceData]
    hashes: dict[str, dict[str, str]]
    faults: list[Fault]

    @property
    def counts(self) -> dict[str, int]:
        """Images by part."""
        return {part: len(hashes) for part, hashes in self.hashes.items()}


def image_to_input(data: bytes, size_px: int) -> Pixels:
    """The step that turns a file into a network's input, the same for every preset.

    data: the bytes of an image file. Returns uint8 (size_px, size_px, 3) RGB, 0 to 255, by the
    code that inference runs. What follows is in the network, as its first layers: scaling, and
    for `gray128` graying by the weights of ITU-R BT.601 and scaling to 0 to 1.
    Raises ImageError.
    """
    return face_crop(data, size_px).pixels


def load_parts(
    folder: str | os.PathLike[str],
    preset: Preset,
    *,
    seed: int = SEED,
    limit: int | None = None,
    parts: Sequence[str] = PARTS,
) -> FolderData:
    """Read a UTKFace folder into memory, in parallel, split by content.

    Training images come at the preset's source_px, so that augmentation has room, and without
    those whose bytes are there twice with different labels; the others come at its size_px, as
    inference would see them. limit: take so many evenly spaced files, for
    rehearsals. parts: those to decode.
    Raises AnnotateError where a part stays empty.
    """
    names = utkface_files(folder)
    if limit is not None and limit < len(names):
        names = [names[i] for i in np.linspace(0, len(names) - 1, limit).astype(int)]
    labelled = labels_from_names(names)
    names = [name for name in names if name in labelled.labels]
    files = _read_files(os.fspath(folder), names, preset, seed, parts)
    found = {part: _part_data(part, names, files, labelled) for part in parts}
    for part, data in found.items():
        if not len(data):
            raise AnnotateError(f"{folder}: no readable, labelled image for the {part} part")
    hashes: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    for name, file in zip(names, files, strict=True):
        if file.fault is None:
            hashes[file.part][name] = file.sha256
    return FolderData(found, hashes, [*labelled.faults, *_file_faults(names, files, labelled)])


def _read_files(
    folder: str, names: list[str], preset: Preset, seed: int, parts: Sequence[str]
) -> list[FileRead]:
    chunks = [names[i : i + FILES_PER_TASK] for i in range(0, len(names), FILES_PER_TASK)]
    jobs = 1 if len(chunks) <= 1 else -1
    tasks = (delayed(_read_chunk)(folder, chunk, preset, seed, parts) for chunk in chunks)
    return [file for chunk in Parallel(n_jobs=jobs)(tasks) for file in chunk]


def _read_chunk(
    folder: str, names: list[str], preset: Preset, seed: int, parts: Sequence[str]
) -> list[FileRead]:
    return [_read_file(Path(folder, name), preset, seed, parts) for name in names]


def _read_file(path: Path, preset: Preset, seed: int, parts: Sequence[str]) -> FileRead:
    try:
        data = path.read_bytes()
    except OSError as error:
        return FileRead(fault=str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    part = part_of(sha256, preset.validation_share, seed)
    if part not in parts:
        return FileRead(sha256, part)
    try:
        size_px = preset.source_px if part == "train" else preset.size_px
        return FileRead(sha256, part, image_to_input(data, size_px))
    except ImageError as error:
        return FileRead(sha256, part, fault=str(error))


def _part_data(part: str, names: list[str], files: list[FileRead], labelled: LabelSet) -> FaceData:
    contradictory = _contradictory(names, files, labelled) if part == "train" else set()
    chosen = [
        (name, file.sha256, file.pixels)
        for name, file in zip(names, files, strict=True)
        if file.part == part and file.pixels is not None and file.sha256 not in contradictory
    ]
    labels = [labelled.labels[name] for name, _, _ in chosen]
    return FaceData(
        names=[name for name, _, _ in chosen],
        hashes=[sha256 for _, sha256, _ in chosen],
        pixels=np.stack([pixels for _, _, pixels in chosen]) if chosen else np.empty(0, np.uint8),
        ages=np.array([label.age for label in labels], np.float32),
        female=np.array([label.gender == "female" for label in labels], np.float32),
    )


def _contradictory(names: list[str], files: list[FileRead], labelled: LabelSet) -> set[str]:
    """SHA-256 of the contents that have several labels."""
    first: dict[str, Label] = {}
    return {
        file.sha256
        for name, file in zip(names, files, strict=True)
        if first.setdefault(file.sha256, labelled.labels[name]) != labelled.labels[name]
    }


def _file_faults(names: list[str], files: list[FileRead], labelled: LabelSet) -> list[Fault]:
    """Files that cannot be read, and files with the same bytes as an earlier one."""
    faults = []
    first: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        if file.fault is not None:
            faults.append(Fault("unreadable_file", name, file.fault))
        if not file.sha256:
            continue
        twin = first.setdefault(file.sha256, name)
        if twin != name:
            same = labelled.labels[twin] == labelled.labels[name]
            detail = f"same bytes as {twin}, " + ("same labels" if same else "other labels")
            faults.append(Fault("identical_file", name, detail))
    return faults
