"""Paired metrics: two models' predictions for the same labelled faces in; by how much their figures
differ, with intervals, out. Pure NumPy.

Every resample draws the same faces for both: what makes a face hard for both is no difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from annotate.metrics import (
    RESAMPLES,
    AgeMetrics,
    Counts,
    Floats,
    GenderMetrics,
    Integers,
    Metric,
    Statistic,
    age_statistic,
    at_the_edge,
    gender_statistic,
    with_intervals,
)
from annotate.slices import DIMENSIONS, FEW, Pairs, groups, slice_keys

AGE_FIGURES = tuple(field.name for field in fields(AgeMetrics))
GENDER_FIGURES = tuple(field.name for field in fields(GenderMetrics))

NEARER_YEARS = 0.5
"""An estimate is nearer to the label than another where its error is so much smaller."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two models over the same faces; difference: that of this one less the other's.

    Each with its 95 % interval, from the same resamples.
    """

    this: Metric
    other: Metric
    difference: Metric

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)

    @property
    def is_none_seen(self) -> bool:
        """Whether the two are alike in every resample: an interval from 0 to 0 is no interval."""
        found = self.difference
        return found.value == found.low == found.high == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as compared.json holds them."""
        return {
            "this": self.this.to_dict(),
            "other": self.other.to_dict(),
            "difference": self.difference.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class PairedSlice:
    """The differences over some faces. where: label that they share, by dimension. n: the faces.

    age, gender: by AGE_FIGURES and GENDER_FIGURES.
    """

    where: Mapping[str, str]
    n: int
    age: Mapping[str, Difference]
    gender: Mapping[str, Difference]

    @property
    def few(self) -> bool:
        """Whether the slice is too small for its intervals to be trusted."""
        return self.n < FEW

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as compared.json holds them."""
        return {
            "where": dict(self.where),
            "n": self.n,
            "few": self.few,
            "age": {name: found.to_dict() for name, found in self.age.items()},
            "gender": {name: found.to_dict() for name, found in self.gender.items()},
        }


@dataclass(frozen=True, slots=True)
class Wins:
    """Faces by which of the two was right, or nearer to the label. equal: both alike; for genders,
    both right; neither: both wrong, None for ages.
    """

    this: int
    other: int
    equal: int
    neither: int | None = None


def paired_slices(
    this: Pairs, other: Pairs, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[PairedSlice, ...]]:
    """The differences by each dimension. this, other: predictions for the same labels."""
    keys = slice_keys(this)
    return {
        name: tuple(
            paired_slice(
                this.take(chosen), other.take(chosen), where, resamples=resamples, seed=seed
            )
            for where, chosen in groups((name,), keys)
        )
        for name in DIMENSIONS
    }


def paired_slice(
    this: Pairs,
    other: Pairs,
    where: Mapping[str, str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedSlice:
    """All differences of some faces; `where` names them and seeds their resamples.

    A figure rests on the faces for which both models have what it needs.
    """
    stream = [seed, zlib.crc32(repr(sorted(where.items())).encode())]
    age = np.isfinite(this.age_label) & np.isfinite(this.age) & np.isfinite(other.age)
    gender = np.isfinite(this.female_label)
    for pairs in (this, other):
        gender = gender & np.isfinite(pairs.female) & np.isfinite(pairs.female_probability)
    ages = [_of_ages(pairs.take(age)) for pairs in (this, other)]
    genders = [_of_genders(pairs.take(gender)) for pairs in (this, other)]
    bounded = tuple(
        int((age & np.isfinite(pairs.age_p10) & np.isfinite(pairs.age_p90)).sum())
        for pairs in (this, other)
    )
    of_age = _paired(ages, AGE_FIGURES, int(age.sum()), resamples, [*stream, 0], bounded)
    of_gender = _paired(genders, GENDER_FIGURES, int(gender.sum()), resamples, [*stream, 1])
    return PairedSlice(where, len(this), of_age, of_gender)


Ordered = tuple[Statistic, Integers]
"""What works figures out, and the order in which it takes the faces; as age_statistic gives it."""


def _of_ages(pairs: Pairs) -> Ordered:
    return age_statistic(pairs.age_label, pairs.age, pairs.age_p10, pairs.age_p90)


def _of_genders(pairs: Pairs) -> Ordered:
    return gender_statistic(pairs.female_label == 1, pairs.female == 1, pairs.female_probability)


def _paired(
    both: list[Ordered],
    names: tuple[str, ...],
    n: int,
    resamples: int,
    seed: list[int],
    bounded: tuple[int, ...] = (),
) -> dict[str, Difference]:
    """Figures of two models and their differences, over n faces that both have.

    bounded: of them, those for which each has an interval of the age, where names are of ages.
    """
    (this, order_this), (other, order_other) = both

    def statistic(counts: Counts) -> Floats:
        values, others = this(counts[:, order_this]), other(counts[:, order_other])
        with np.errstate(invalid="ignore"):
            return np.concatenate((values, others, values - others), axis=1)

    k = len(names)
    found = with_intervals(statistic, n, 3 * k, resamples, seed)
    differences = {}
    for place, name in enumerate(names):
        sides = found[place : 2 * k : k]
        if name == "interval_coverage":
            sides = [replace(side, n=m) for side, m in zip(sides, bounded, strict=True)]
        mine, others = (at_the_edge(name, side) for side in sides)
        differences[name] = Difference(mine, others, found[place + 2 * k])
    return differences


def ages_nearer(this: Pairs, other: Pairs) -> Wins:
    """Of which model the estimate is nearer to the label, by NEARER_YEARS or more."""
    gain = np.abs(other.age - other.age_label) - np.abs(this.age - this.age_label)
    gain = gain[np.isfinite(gain)]
    wins, losses = int((gain >= NEARER_YEARS).sum()), int((gain <= -NEARER_YEARS).sum())
    return Wins(wins, losses, len(gain) - wins - losses)


def genders_right(this: Pairs, other: Pairs) -> Wins:
    """Which model has the labelled gender."""
    known = np.isfinite(this.female_label) & np.isfinite(this.female) & np.isfinite(other.female)
    is_right, is_other_right = (
        pairs.female[known] == pairs.female_label[known] for pairs in (this, other)
    )
    return Wins(
        this=int((is_right & ~is_other_right).sum()),
        other=int((~is_right & is_other_right).sum()),
        equal=int((is_right & is_other_right).sum()),
        neither=int((~is_right & ~is_other_right).sum()),
    )
