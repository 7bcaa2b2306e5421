"""Corrections: what a person said of one face, and the line of text that keeps it.

A face is named by the bytes of its picture and by its box, so that corrections find it again after
the output was updated, sorted or moved.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from annotate.errors import AnnotateError, shown
from annotate.labels import GENDERS, MAX_AGE

VERSION = 1
"""Of a line. Raised when a name in it is removed or changes its meaning."""

NOT_A_FACE, WRONG_BOX, SKIP = "not_a_face", "wrong_box", "skip"
VERDICTS = (NOT_A_FACE, WRONG_BOX, SKIP)
"""There is no face in the box; there is one, which the box does not fit; seen, and left as it is.
"""

SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of a face; None where nothing.

    gender: "female" or "male". age: years, 0 to 130. verdict: one of VERDICTS; only beside
    WRONG_BOX can there be anything else. Raises ValueError for anything else.
    """

    gender: str | None = None
    age: float | None = None
    verdict: str | None = None

    def __post_init__(self) -> None:
        if self.gender is not None and self.gender not in GENDERS:
            raise ValueError(f"gender {shown(self.gender)}: expected {' or '.join(GENDERS)}")
        if self.verdict is not None and self.verdict not in VERDICTS:
            raise ValueError(f"verdict {shown(self.verdict)}: expected {', '.join(VERDICTS)}")
        if self.age is not None:
            object.__setattr__(self, "age", _years(self.age))
        if self.is_label and self.verdict in (NOT_A_FACE, SKIP):
            raise ValueError(f"verdict {self.verdict} beside an age or a gender")

    @property
    def is_label(self) -> bool:
        """Whether the person said how the face is to be labelled."""
        return self.gender is not None or self.age is not None

    @property
    def is_correction(self) -> bool:
        """Whether the person said anything that changes the row."""
        return self.is_label or self.verdict in (NOT_A_FACE, WRONG_BOX)

    def changed(self, change: Mapping[str, Any]) -> Said:
        """What is said after a change. change: any of gender, age and verdict; None takes back.

        The later word counts: a gender takes back that there is no face, and the other way round.
        Skipping a face of which something was said leaves that as it is. Raises ValueError.
        """
        unknown = set(change) - {"gender", "age", "verdict"}
        if unknown or not change:
            raise ValueError(f"expected gender, age or verdict, got {shown(sorted(unknown))}")
        verdict = change.get("verdict")
        if verdict == SKIP:
            return self if self.is_correction else Said(verdict=SKIP)
        if verdict == NOT_A_FACE:
            return Said(verdict=NOT_A_FACE)
        kept = self
        if "verdict" not in change and self.verdict != WRONG_BOX:
            kept = replace(self, verdict=None)
        return replace(kept, **change)


NOTHING = Said()


@dataclass(frozen=True, slots=True)
class FaceName:
    """Which face a correction is about.

    sha256: of the picture's bytes. box: x_min, y_min, x_max, y_max in pixels of the upright
    picture, None where the output has none. face_index, source, path: as the output had them, for
    people, and for faces without a box. Raises ValueError.
    """

    sha256: str
    box: Box | None
    face_index: int | None
    source: str | None
    path: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not SHA256.fullmatch(self.sha256):
            raise ValueError("sha256 is none")
        if self.box is not None and (len(self.box) != 4 or not all(map(_is_number, self.box))):
            raise ValueError("box is no four numbers")
        if self.face_index is not None and not isinstance(self.face_index, int):
            raise ValueError("face_index is no number")
        if not all(isinstance(text, str | None) for text in (self.source, self.path)):
            raise ValueError("source or path is no text")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the corrections: all that is said of a face from now on.

    number: rises from line to line. at: when, ISO 8601 in UTC. undoes: the number of the line that
    this one takes back, None for a line of its own.
    """

    number: int
    at: str
    face: FaceName
    said: Said
    undoes: int | None = None

    def to_bytes(self) -> bytes:
        """A line of JSON in ASCII, its end included."""
        values = {"version": VERSION, "number": self.number, "at": self.at, "undoes": self.undoes}
        values |= asdict(self.said) | asdict(self.face)
        return json.dumps(values, allow_nan=False).encode() + b"\n"


def parse_line(raw: bytes) -> Line:
    """The line that `to_bytes` gave. Raises ValueError where it is none, AnnotateError where a
    newer annotate wrote it.
    """
    try:
        values = json.loads(raw)
        version = values["version"]
        if isinstance(version, int) and version > VERSION:
            raise AnnotateError(
                f"the corrections are of a newer annotate (version {version} of their lines, this"
                f" one reads {VERSION}): install that one"
            )
        box = values["box"]
        numbers = values["number"], values["undoes"]
        if version != VERSION or not _is_count(numbers[0]) or not _is_count(numbers[1] or 0):
            raise ValueError("version or number is none")
        face = FaceName(
            values["sha256"],
            None if box is None else tuple(box),
            values["face_index"],
            values["source"],
            values["path"],
        )
        said = Said(values["gender"], values["age"], values["verdict"])
        return Line(numbers[0], str(values["at"]), face, said, numbers[1])
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _years(age: object) -> float:
    if not _is_number(age) or not 0 <= float(age) <= MAX_AGE:  # type: ignore[arg-type]
        raise ValueError(f"age {shown(age)}: expected years from 0 to {MAX_AGE}")
    return float(age)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    try:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:  # an integer that no float can hold
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
