"""Slices: labels and predictions of many faces in, the figures of all of them and of parts out.

Faces are sliced by what they are labelled: age band, gender, race, and every crossing of them;
and by the age band of the prediction.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.metrics import (
    RESAMPLES,
    AgeMetrics,
    Floats,
    GenderMetrics,
    Integers,
    age_metrics,
    gender_metrics,
)

AGE_BANDS = (
    (0, "0-2"),
    (3, "3-9"),
    (10, "10-17"),
    (18, "18-29"),
    (30, "30-39"),
    (40, "40-49"),
    (50, "50-59"),
    (60, "60-69"),
    (70, "70-79"),
    (80, "80+"),
)
"""First age in years, and name. A band reaches up to the next one; ages may have fractions."""

BAND_NAMES = tuple(name for _, name in AGE_BANDS)
GENDERS = ("female", "male")
DIMENSIONS = ("age_band", "gender", "race")
"""What faces are sliced by, each by its label; all crossings of two and of three as well."""

FEW = 30
"""Slices of fewer faces are marked `few`: their intervals are too narrow to be trusted."""

MAX_RACES = 20
"""A table may hold any text as race; slices are made of the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The figures of some faces.

    where: label that they share, by dimension; empty for all faces. n: faces with any label.
    """

    where: Mapping[str, str]
    n: int
    age: AgeMetrics
    gender: GenderMetrics

    @property
    def few(self) -> bool:
        """Whether the slice is too small for its intervals to be trusted."""
        return self.n < FEW

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "where": dict(self.where),
            "n": self.n,
            "few": self.few,
            "age": self.age.to_dict(),
            "gender": self.gender.to_dict(),
        }


@dataclass(frozen=True)
class Pairs:
    """Labels and predictions of N faces, float64 (N,) each unless stated.

    age_label, age, age_p10, age_p90: years, NaN where missing. female_label, female: 1 female,
    0 male, NaN missing. female_probability, minor_probability: 0 to 1, NaN missing. race: str (N,),
    "" missing.
    Raises ValueError where lengths differ.
    """

    age_label: Floats
    age: Floats
    age_p10: Floats
    age_p90: Floats
    female_label: Floats
    female: Floats
    female_probability: Floats
    minor_probability: Floats
    race: npt.NDArray[np.str_]

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name).shape != (len(self),):
                raise ValueError(f"{field.name}: expected ({len(self)},)")

    def __len__(self) -> int:
        return len(self.age_label)

    def take(self, chosen: npt.NDArray[Any]) -> Pairs:
        """The faces chosen by a mask or by indices."""
        return Pairs(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def score_slice(
    pairs: Pairs, where: Mapping[str, str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Slice:
    """All figures of some faces; `where` names them and seeds their resamples."""
    # Each slice draws from its own stream, so that its interval does not depend on the others.
    stream = zlib.crc32(repr(sorted(where.items())).encode())
    age = age_metrics(
        pairs.age_label,
        pairs.age,
        pairs.age_p10,
        pairs.age_p90,
        resamples=resamples,
        seed=[seed, stream, 0],
    )
    gender = gender_metrics(
        pairs.female_label,
        pairs.female,
        pairs.female_probability,
        resamples=resamples,
        seed=[seed, stream, 1],
    )
    return Slice(where, len(pairs), age, gender)


def all_slices(
    pairs: Pairs, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[Slice, ...]]:
    """Slices by every dimension and every crossing of dimensions, in a fixed order.

    Returns them by name ("race", "age_band_x_gender", ...); only those that hold faces.
    """
    keys = slice_keys(pairs)
    slices: dict[str, tuple[Slice, ...]] = {}
    for size in range(1, len(DIMENSIONS) + 1):
        for names in itertools.combinations(DIMENSIONS, size):
            found = [
                score_slice(pairs.take(chosen), where, resamples=resamples, seed=seed)
                for where, chosen in groups(names, keys)
            ]
            slices["_x_".join(names)] = tuple(found)
    return slices


def predicted_age_bands(
    pairs: Pairs, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Slice, ...]:
    """Slices of the faces with an age label by the age band of the prediction, in ascending order.

    What an estimate in that band is worth: a user has predictions, not labels.
    """
    known = np.isfinite(pairs.age_label) & np.isfinite(pairs.age)
    keys = {"predicted_age_band": (BAND_NAMES, np.where(known, age_band(pairs.age), -1))}
    return tuple(
        score_slice(pairs.take(chosen), where, resamples=resamples, seed=seed)
        for where, chosen in groups(("predicted_age_band",), keys)
    )


def age_band(age: Floats) -> Integers:
    """Index into AGE_BANDS of ages in years (N,), -1 where the age is not finite or below 0."""
    known = np.isfinite(age) & (age >= 0)
    starts = np.array([start for start, _ in AGE_BANDS], dtype=np.float64)
    bands = np.searchsorted(starts, np.where(known, age, 0.0), side="right") - 1
    return np.where(known, bands, -1)


def races_sliced(race: npt.NDArray[np.str_]) -> list[str]:
    """The races that get slices: the most frequent MAX_RACES, in alphabetical order."""
    names, counts = np.unique(race[race != ""], return_counts=True)
    order = sorted(zip(-counts, names.tolist(), strict=True))
    return sorted(str(name) for _, name in order[:MAX_RACES])


def slice_keys(pairs: Pairs) -> dict[str, tuple[tuple[str, ...], Integers]]:
    """By dimension: its names, and for each face (N,) the index of its name, -1 for none."""
    races = tuple(races_sliced(pairs.race))
    known = np.isfinite(pairs.female_label)
    gender = np.where(known, np.where(pairs.female_label == 1, 0, 1), -1)
    place = {name: index for index, name in enumerate(races)}
    race = np.array([place.get(str(name), -1) for name in pairs.race], dtype=np.int64)
    return {
        "age_band": (BAND_NAMES, age_band(pairs.age_label)),
        "gender": (GENDERS, gender),
        "race": (races, race),
    }


def groups(
    names: tuple[str, ...], keys: Mapping[str, tuple[tuple[str, ...], Integers]]
) -> Iterator[tuple[dict[str, str], Integers]]:
    """(labels shared, indices of the faces) of each group that exists, in order of the names."""
    codes = np.column_stack([keys[name][1] for name in names])
    faces = np.flatnonzero((codes >= 0).all(axis=1))
    found, member = np.unique(codes[faces], axis=0, return_inverse=True)
    for index, group in enumerate(found):
        where = {name: keys[name][0][code] for name, code in zip(names, group, strict=True)}
        yield where, faces[member.ravel() == index]
