"""Mistakes: scored rows in, those that are farthest from their label out, and those whose label
is likely wrong: where the model is certain and the label far away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from annotate.central_faces import floats
from annotate.metrics import Floats
from annotate.rows import UNCERTAIN_AGE_SD

WORST_AGES, WORST_GENDERS = 48, 24
"""How many of the largest errors are named: all kinds of ages, genders without likely label errors,
which would fill the list."""

MOST_LISTED = 1000
"""Likely label errors that are named, the likeliest first; all are counted."""

DOUBT_SDS, DOUBT_YEARS, DOUBT_AGE_SD = 3.0, 10.0, UNCERTAIN_AGE_SD
"""A label is doubted that is more than so many age_sd from the estimate, and at least so many
years, where age_sd is at most so large: an uncertain model doubts nobody."""

DOUBT_PROBABILITY = 0.98
"""A gender label is doubted where the other gender is at least so probable."""

SMALLEST_SD = 1.0
"""Years. Labels are whole years, so an age_sd below that is taken for one."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A scored face whose label and prediction differ.

    row: its place in the table. Years, and probabilities from 0 to 1; None where there is no such
    label or estimate.
    """

    row: int
    path: str
    label_age: float | None
    age: float | None
    age_sd: float | None
    label_gender: str | None
    gender: str | None
    female_probability: float | None

    @property
    def error_years(self) -> float | None:
        """Estimate - label."""
        if self.age is None or self.label_age is None:
            return None
        return self.age - self.label_age

    @property
    def sds(self) -> float | None:
        """How many standard deviations the label is from the estimate; None without any."""
        if self.error_years is None or self.age_sd is None:
            return None
        return abs(self.error_years) / max(self.age_sd, SMALLEST_SD)

    @property
    def against_label(self) -> float | None:
        """The probability of the gender that is not the label."""
        if self.label_gender is None or self.female_probability is None:
            return None
        is_female = self.label_gender == "female"
        return 1 - self.female_probability if is_female else self.female_probability

    @property
    def doubts_age(self) -> bool:
        """Whether the age label is likely wrong."""
        if self.sds is None or self.age_sd is None or self.error_years is None:
            return False
        is_certain = 0 <= self.age_sd <= DOUBT_AGE_SD
        return is_certain and self.sds > DOUBT_SDS and abs(self.error_years) >= DOUBT_YEARS

    @property
    def doubts_gender(self) -> bool:
        """Whether the gender label is likely wrong."""
        against = self.against_label
        return against is not None and DOUBT_PROBABILITY <= against <= 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "path": self.path,
            "label_age": _rounded(self.label_age),
            "age": _rounded(self.age),
            "age_sd": _rounded(self.age_sd),
            "label_gender": self.label_gender,
            "gender": self.gender,
            "female_probability": _rounded(self.female_probability),
        }


@dataclass(frozen=True, slots=True)
class Mistakes:
    """ages: the WORST_AGES largest errors of age, also those whose label is doubted. genders: the
    WORST_GENDERS surest wrong genders whose label is not doubted. doubted_ages, doubted_genders:
    all likely label errors. The worst and the likeliest come first.
    """

    ages: tuple[Mistake, ...]
    genders: tuple[Mistake, ...]
    doubted_ages: tuple[Mistake, ...]
    doubted_genders: tuple[Mistake, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "largest_errors": {
                "age": [found.to_dict() for found in self.ages],
                "gender": [found.to_dict() for found in self.genders],
            },
            "likely_label_errors": {
                "age": _counted(self.doubted_ages),
                "gender": _counted(self.doubted_genders),
            },
        }


def mistakes(table: pa.Table) -> Mistakes:
    """The worst of the scored rows of a report's table (its `predictions.parquet`)."""
    rows = np.flatnonzero(np.array(table.column("scored").to_pylist(), dtype=bool))
    faces = _faces(table, rows.tolist())
    return Mistakes(
        ages=_most(faces, lambda face: face.error_years)[:WORST_AGES],
        genders=_most(
            (face for face in faces if _is_wrong(face) and not face.doubts_gender),
            lambda face: face.against_label,
        )[:WORST_GENDERS],
        doubted_ages=_most((face for face in faces if face.doubts_age), lambda face: face.sds),
        doubted_genders=_most(
            (face for face in faces if face.doubts_gender), lambda face: face.against_label
        ),
    )


def _faces(table: pa.Table, rows: list[int]) -> list[Mistake]:
    taken = table.take(pa.array(rows, pa.int64()))
    names = ("path", "label_gender", "gender")
    texts = {name: taken.column(name).to_pylist() for name in names}
    numbers = {
        name: _plain(floats(taken, name))
        for name in ("label_age", "age", "age_sd", "female_probability")
    }
    columns = {"row": rows} | texts | numbers
    return [
        Mistake(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def _most(faces: Iterable[Mistake], size: Callable[[Mistake], float | None]) -> tuple[Mistake, ...]:
    """The faces that have this figure, larger ones first; of equal ones the earlier row."""
    sized = [(abs(found), face) for face in faces if (found := size(face)) is not None]
    return tuple(face for _, face in sorted(sized, key=lambda pair: (-pair[0], pair[1].row)))


def _is_wrong(face: Mistake) -> bool:
    known = face.gender is not None and face.label_gender is not None
    return known and face.gender != face.label_gender


def _counted(found: tuple[Mistake, ...]) -> dict[str, Any]:
    return {"count": len(found), "list": [face.to_dict() for face in found[:MOST_LISTED]]}


def _plain(values: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
