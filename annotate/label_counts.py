"""Label counts: the labels of N images in, how many have which, and which together, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.metrics import Floats, Integers
from annotate.slices import BAND_NAMES, GENDERS, age_band, races_sliced

Texts = npt.NDArray[np.str_]

NONE = ""
"""Stands for images without a label."""

OTHER_RACES = "…"
"""Stands for races beyond the most frequent ones, of which a table may have any number."""


@dataclass(frozen=True)
class Crossing:
    """How many images have two labels together. n: int64 (rows, columns)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    n: Integers

    def to_dict(self) -> list[dict[str, Any]]:
        """Of each pair that there is, the labels, null for none, and the number of images."""
        return [
            {"row": row or None, "column": column or None, "n": int(self.n[i, j])}
            for i, row in enumerate(self.rows)
            for j, column in enumerate(self.columns)
            if self.n[i, j]
        ]


@dataclass(frozen=True, slots=True)
class AgeSummary:
    """Ages in years, over the n images that have one."""

    n: int
    mean: float
    median: float
    youngest: float
    oldest: float


@dataclass(frozen=True)
class LabelCounts:
    """How many images have which labels.

    labelled: images with an "age", "gender" and "race". age: None where none has one. genders,
    races: images by label, races in alphabetical order, the rarest of many under OTHER_RACES.
    by_year: whole years crossed with gender; band_by_gender, band_by_race and race_by_gender: the
    like. Images without the second label stand under NONE. Age bands without an image stand between
    those that have some, so that ages on both sides of a gap do not look like neighbours.
    """

    labelled: dict[str, int]
    age: AgeSummary | None
    genders: dict[str, int]
    races: dict[str, int]
    by_year: Crossing
    band_by_gender: Crossing
    band_by_race: Crossing
    race_by_gender: Crossing

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as exploration.json holds them."""
        age = self.age
        return {
            "labelled": self.labelled,
            "age": age and {
                "n": age.n,
                "mean": round(age.mean, 6),
                "median": round(age.median, 6),
                "youngest": round(age.youngest, 6),
                "oldest": round(age.oldest, 6),
            },
            "genders": self.genders,
            "races": self.races,
            "age_x_gender": self.by_year.to_dict(),
            "age_band_x_gender": self.band_by_gender.to_dict(),
            "age_band_x_race": self.band_by_race.to_dict(),
            "race_x_gender": self.race_by_gender.to_dict(),
        }  # fmt: skip


def count_labels(age: Floats, gender: Texts, race: Texts) -> LabelCounts:
    """Count labels. age: float64 (N,), years, NaN for none. gender, race: (N,), NONE for none."""
    has_age = np.isfinite(age)
    bands = _named(BAND_NAMES, age_band(age))
    years = _named([str(year) for year in range(_last_year(age) + 1)], _whole(age))
    races = _with_others(race)
    names = (*races_sliced(races[races != OTHER_RACES]), OTHER_RACES)
    has_either = (gender != NONE) | (race != NONE)
    return LabelCounts(
        labelled={
            "age": int(has_age.sum()),
            "gender": int((gender != NONE).sum()),
            "race": int((race != NONE).sum()),
        },
        age=_summary(age[has_age]),
        genders={name: int((gender == name).sum()) for name in GENDERS},
        races={name: int((races == name).sum()) for name in names if (races == name).any()},
        by_year=_crossed(years[has_age], gender[has_age], _present(years), GENDERS),
        band_by_gender=_crossed(bands[has_age], gender[has_age], _spanned(bands), GENDERS),
        band_by_race=_crossed(bands[has_age], races[has_age], _spanned(bands), names),
        race_by_gender=_crossed(
            races[has_either], gender[has_either], _held(names, races), GENDERS
        ),
    )


def _summary(age: Floats) -> AgeSummary | None:
    if not len(age):
        return None
    return AgeSummary(
        len(age), float(age.mean()), float(np.median(age)), float(age.min()), float(age.max())
    )


def _last_year(age: Floats) -> int:
    return int(np.max(_whole(age), initial=0))


def _whole(age: Floats) -> Integers:
    """Whole years of ages, -1 for none."""
    known = np.isfinite(age)
    return np.where(known, np.floor(np.where(known, age, 0.0)), -1).astype(np.int64)


def _named(names: Sequence[str], codes: Integers) -> Texts:
    """Names by their codes; NONE for -1."""
    return np.array([*names, NONE])[codes]


def _with_others(race: Texts) -> Texts:
    """Races, but OTHER_RACES for those that are too many to be told."""
    told = np.isin(race, [*races_sliced(race), NONE])
    return np.where(told, race, OTHER_RACES)


def _present(years: Texts) -> tuple[str, ...]:
    return tuple(str(year) for year in sorted(map(int, set(years.tolist()) - {NONE})))


def _spanned(bands: Texts) -> tuple[str, ...]:
    """The age bands from the first that holds an image to the last."""
    held = [place for place, name in enumerate(BAND_NAMES) if (bands == name).any()]
    return tuple(BAND_NAMES[held[0] : held[-1] + 1]) if held else ()


def _held(names: Sequence[str], labels: Texts) -> tuple[str, ...]:
    """Those of the names that label an image."""
    return tuple(name for name in names if (labels == name).any())


def _crossed(one: Texts, two: Texts, rows: Sequence[str], columns: Sequence[str]) -> Crossing:
    """The labels of two kinds together: all rows, columns that hold images, and NONE last, where
    it does.
    """
    held_rows = (*rows, *_held((NONE,), one))
    held_columns = _held((*columns, NONE), two)
    counts = np.zeros((len(held_rows), len(held_columns)), np.int64)
    for i, row in enumerate(held_rows):
        for j, column in enumerate(held_columns):
            counts[i, j] = ((one == row) & (two == column)).sum()
    return Crossing(held_rows, held_columns, counts)
