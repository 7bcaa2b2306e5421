"""The types that flow between rooms, the statuses and the columns of a row.

Imports no sibling and nothing heavy. Shapes: F faces of a source, N faces of a batch, S pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1
"""Raised when a column is added, removed or changes its meaning."""


class Status(StrEnum):
    """What became of an input. A closed list: the last six are failures."""

    OK = "ok"
    NO_FACE = "no_face"
    DUPLICATE = "duplicate"
    UNSUPPORTED = "unsupported"
    DECODE_ERROR = "decode_error"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"

    @property
    def is_failure(self) -> bool:
        """Whether the run ends with exit code 3 and `--retry-failed` tries the input again."""
        return self in _FAILURES


_FAILURES = frozenset(
    {
        Status.DECODE_ERROR,
        Status.TOO_LARGE,
        Status.UNREADABLE,
        Status.CHANGED,
        Status.TIMEOUT,
        Status.CRASHED,
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the output. type: "string", "dictionary" (a category), or an Arrow name."""

    name: str
    type: str
    meaning: str


COLUMNS = (
    Column("source", "dictionary", "absolute path of the SOURCE; for a file, of its folder"),
    Column("path", "string", "POSIX path relative to `source`"),
    Column("size_bytes", "int64", "size of the file"),
    Column("modified_at", "timestamp[us, UTC]", "modification time of the file"),
    Column("sha256", "string", "SHA-256 of the file's bytes, hexadecimal"),
    Column("width", "int32", "pixels, after EXIF orientation"),
    Column("height", "int32", "pixels, after EXIF orientation"),
    Column("captured_at", "timestamp[ms]", "EXIF capture time, in the camera's time zone"),
    Column("status", "dictionary", "`ok`, or why there is no label"),
    Column("error", "string", "one line on a failure"),
    Column("face_index", "int16", "0-based, left to right"),
    Column("face_count", "int16", "faces in the picture; 0 for `no_face`"),
    Column("x_min", "float32", "left edge of the face, pixels of the oriented picture"),
    Column("y_min", "float32", "top edge"),
    Column("x_max", "float32", "right edge"),
    Column("y_max", "float32", "bottom edge"),
    Column("detection_score", "float32", "0 to 1; null for crops"),
    Column("age", "float32", "years, the point estimate"),
    Column("age_p10", "float32", "years, lower end of the 80 % interval"),
    Column("age_p90", "float32", "years, upper end of the 80 % interval"),
    Column("age_sd", "float32", "years, standard deviation of the age distribution"),
    Column("minor_probability", "float32", "P(age < 18)"),
    Column("gender", "dictionary", "`female` or `male`: how the face would be labelled"),
    Column("female_probability", "float32", "0 to 1"),
    Column("flags", "string", "`;`-separated remarks, null if none"),
)
"""The columns of every output, in order. Missing values are null, never 0 or -1."""

REVIEW_COLUMNS = (
    Column("label_source", "dictionary", "`person` where a person said anything of it, or `model`"),
    Column("labelled", "string", "which of `age` and `gender` a person said, `;`-separated"),
)
"""The columns that the output of `annotate review --apply` has behind them."""

FLAGS = ("small_face", "blurred", "grayscale", "edge", "uncertain")
"""The remarks that `flags` can hold, in the order in which they are written."""


class Cursor(NamedTuple):
    """A place between two inputs of a plan: items that are done, and members of the next one."""

    item: int = 0
    members: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One input of the plan.

    key: its place in the plan, from 0; that of their archive for its members. source, path: as
    written to the row, escaped where a name is not UTF-8. location: the path that opens it, or
    its archive. size_bytes, modified_ns: as the scan saw it, None where it could not (nanoseconds
    since 1970, UTC). failure: why it cannot be opened, if that is known. data: the bytes of an
    archive's member; None where they are to be read at `location`. is_archive: an item of the
    plan that stands for its members; no worker ever sees it. place: a member's number among
    those of its archive that are inputs; None for a file.
    """

    key: int
    source: str
    path: str
    location: bytes
    size_bytes: int | None
    modified_ns: int | None
    failure: Failure | None = None
    data: bytes | None = field(default=None, repr=False)
    is_archive: bool = False
    place: int | None = None

    @property
    def cursor(self) -> Cursor:
        """The place behind it."""
        return Cursor(self.key + 1) if self.place is None else Cursor(self.key, self.place + 1)


class Kept(NamedTuple):
    """Inputs of an earlier output whose rows stay as they are, `start` to `stop` - 1 of them.

    cursor: the place in the plan that is reached with them. is_beside: the plan does not have
    them.
    """

    start: int
    stop: int
    cursor: Cursor
    is_beside: bool = False

    @property
    def inputs(self) -> int:
        """How many they are."""
        return self.stop - self.start


def modified_ns(status: os.stat_result) -> int:
    """Modification time, ns since 1970, held to 64 bits.

    A file system may say anything, and a file of the year 9999 must not end a run.
    """
    return held_ns(status.st_mtime_ns)


def held_ns(time_ns: int) -> int:
    """A time, ns since 1970, held to 64 bits: from 1677 to 2262."""
    return max(-(2**63), min(time_ns, 2**63 - 1))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an input has no label. error: one line for people."""

    status: Status
    error: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file besides its faces; None where it is not known."""

    size_bytes: int | None = None
    modified_ns: int | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """A box in a picture. box: (x_min, y_min, x_max, y_max), pixels of the oriented picture.

    score: detection score, 0 to 1, None for a crop. flags: remarks from the pixels. landmarks:
    (x, y) in the same pixels of the eye on the picture's left, the other one, the tip of the
    nose, the left and the right mouth corner; None for a crop.
    """

    box: tuple[float, float, float, float]
    score: float | None = None
    flags: tuple[str, ...] = ()
    landmarks: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An input after decoding: its faces and their pixels, or a failure.

    pixels: uint8 (F, S, S, 3) RGB, one crop a face, left to right; F is 0 on a failure.
    is_known: the bytes are those of an input whose rows are known; F is 0, nothing was decoded.
    """

    source: Source
    facts: Facts
    faces: tuple[Face, ...]
    pixels: npt.NDArray[np.uint8]
    failure: Failure | None = None
    is_known: bool = False

    def __post_init__(self) -> None:
        if self.source.data is not None:
            # A member's bytes are not sent back from the worker, nor kept until rows are made.
            object.__setattr__(self, "source", replace(self.source, data=None))
        if len(self.faces) != len(self.pixels):
            raise ValueError(f"{len(self.faces)} faces but {len(self.pixels)} crops")
        if self.failure is not None and self.faces:
            raise ValueError("a failed input has no faces")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of N faces; float32 (N,) each, None where the model cannot say.

    age, age_p10, age_p90, age_sd: years. minor_probability, female_probability: 0 to 1.
    """

    age: npt.NDArray[np.float32]
    female_probability: npt.NDArray[np.float32]
    age_p10: npt.NDArray[np.float32] | None = None
    age_p90: npt.NDArray[np.float32] | None = None
    age_sd: npt.NDArray[np.float32] | None = None
    minor_probability: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for head in fields(self):
            values = getattr(self, head.name)
            if values is not None and values.shape != self.age.shape:
                raise ValueError(f"{head.name}: shape {values.shape}, age has {self.age.shape}")

    def __len__(self) -> int:
        return len(self.age)

    @property
    def gender(self) -> npt.NDArray[np.str_]:
        """Either "female", where female_probability is at least 0.5, or "male"; (N,)."""
        return np.where(self.female_probability >= 0.5, "female", "male")

    def part(self, start: int, stop: int) -> Predictions:
        """Predictions start to stop - 1."""
        values: dict[str, Any] = {}
        for head in fields(self):
            whole = getattr(self, head.name)
            values[head.name] = None if whole is None else whole[start:stop]
        return Predictions(**values)

    @staticmethod
    def concatenate(parts: Sequence[Predictions]) -> Predictions:
        """One Predictions of all parts, in order. At least one part, all of one model."""
        joined: dict[str, Any] = {}
        for head in fields(Predictions):
            columns = [getattr(part, head.name) for part in parts]
            joined[head.name] = None if columns[0] is None else np.concatenate(columns)
        return Predictions(**joined)
