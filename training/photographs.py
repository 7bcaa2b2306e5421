"""Photographs for training: pictures and a label table in, aligned crops with ages out.

The faces are found and aligned by the code that labels photographs, so that a network learns
from what it will be shown. Imports no Keras.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from annotate.errors import AnnotateError
from annotate.face_options import FaceOptions
from annotate.images import ImageError, Picture, Pixels
from annotate.labels import Fault, Label, read_label_table, utkface_files
from annotate.records import Face
from training.data import FaceData

FILES_PER_TASK = 64


@dataclass(frozen=True)
class PhotographData:
    """faces: one crop of each labelled photograph in which a face was found, `female` NaN where
    the table gives no gender. faults: what is not among them, and why.
    """

    faces: FaceData
    faults: list[Fault]


@dataclass(frozen=True)
class _Cut:
    """One photograph: its SHA-256, and the crop and box of its face or what is wrong with it."""

    sha256: str = ""
    pixels: Pixels | None = None
    box: tuple[float, float, float, float] | None = None
    fault: Fault | None = None


def load_photographs(folder: Path, table: Path, size_px: int) -> PhotographData:
    """Find the face nearest the centre of each labelled photograph and cut it out, aligned.

    folder: pictures, directly in it. table: labels as `annotate evaluate --labels` takes them;
    pictures that it does not name are left out. Crops come at size_px.
    Raises AnnotateError where the table cannot be read or no face is left.
    """
    labelled = read_label_table(table, utkface_files(folder))
    names = sorted(
        (name for name, label in labelled.labels.items() if label.age is not None), key=os.fsencode
    )
    chunks = [names[i : i + FILES_PER_TASK] for i in range(0, len(names), FILES_PER_TASK)]
    tasks = (delayed(_cut_chunk)(folder, chunk, size_px) for chunk in chunks)
    jobs = 1 if len(chunks) <= 1 else -1
    cuts = [cut for chunk in Parallel(n_jobs=jobs)(tasks) for cut in chunk]
    cuts = [
        _labelled(cut, name, labelled.labels[name]) for name, cut in zip(names, cuts, strict=True)
    ]
    found = [
        (name, cut.sha256, cut.pixels)
        for name, cut in zip(names, cuts, strict=True)
        if cut.pixels is not None
    ]
    if not found:
        raise AnnotateError(f"{folder}: no face in any photograph that {table} labels with an age")
    labels = [labelled.labels[name] for name, _, _ in found]
    genders = {"female": 1.0, "male": 0.0, None: np.nan}
    faces = FaceData(
        names=[name for name, _, _ in found],
        hashes=[sha256 for _, sha256, _ in found],
        pixels=np.stack([pixels for _, _, pixels in found]),
        ages=np.array([label.age for label in labels], np.float32),
        female=np.array([genders[label.gender] for label in labels], np.float32),
    )
    unlabelled = ("unlabelled",)
    faults = [fault for fault in labelled.faults if fault.kind not in unlabelled]
    return PhotographData(faces, [*faults, *(cut.fault for cut in cuts if cut.fault is not None)])


def _cut_chunk(folder: Path, names: Sequence[str], size_px: int) -> list[_Cut]:
    return [_cut(folder / name, name, size_px) for name in names]


def _cut(path: Path, name: str, size_px: int) -> _Cut:
    from annotate.photographs import cut_faces

    try:
        data = path.read_bytes()
        found = cut_faces(data, size_px, FaceOptions())
    except OSError as error:
        return _Cut(fault=Fault("unreadable_file", name, str(error)))
    except ImageError as error:
        return _Cut(fault=Fault("unreadable_file", name, str(error)))
    if not found.faces:
        return _Cut(fault=Fault("no_face", name, "no face was found"))
    central = min(range(len(found.faces)), key=lambda i: _off_centre(found.picture, found.faces[i]))
    sha256 = hashlib.sha256(data).hexdigest()
    return _Cut(sha256, found.crops[central], found.faces[central].box)


def _labelled(cut: _Cut, name: str, label: Label) -> _Cut:
    """A photograph whose label may be of another of its faces, which then has none."""
    if cut.box is None or label.face is None or label.face.is_scored(cut.sha256, cut.box):
        return cut
    detail = "the label is of another face than the one nearest the centre, or of other bytes"
    return _Cut(fault=Fault("other_face", name, detail))


def _off_centre(picture: Picture, face: Face) -> float:
    """How far a face is from the centre: each coordinate as a share of that side, squared."""
    left, top, right, bottom = face.box
    across = ((left + right) / picture.width - 1) ** 2
    return float(across + ((top + bottom) / picture.height - 1) ** 2)
