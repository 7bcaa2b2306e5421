"""Curves: labels and predictions of many faces in, what the plots of a report show out.

Pure NumPy. N is the number of faces; a missing label or estimate is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.heads import ADULT_AGE
from annotate.metrics import (
    CALIBRATION_BINS,
    RESAMPLES,
    Floats,
    Integers,
    Metric,
    age_metrics,
    share,
)
from annotate.slices import FEW, GENDERS, Pairs

CS_YEARS = range(21)
"""Years of the cumulative score curve."""

MOST_ERROR = 40
"""Years. Larger errors count at this end of the histogram."""

WIDEST_BIN = 10
"""Years of labels that are put together at most, to have FEW faces."""

ROC_STEP = 0.005
"""Points of a ROC curve that are nearer to each other, along its two axes, are left out."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelBin:
    """Faces whose age labels are near each other. first, last: whole years, both included.

    faces: int64 (n,), which ones they are. mean_label: years.
    """

    first: int
    last: int
    mean_label: float
    faces: Integers

    @property
    def is_small(self) -> bool:
        """Whether it has too few faces for an interval to be trusted."""
        return len(self.faces) < FEW

    def to_dict(self) -> dict[str, Any]:
        """Which faces they are, in plain values."""
        mean = round(self.mean_label, 6)
        return {"first": self.first, "last": self.last, "mean_label": mean, "n": len(self.faces)}


@dataclass(frozen=True, slots=True)
class ErrorAt:
    """The error of the faces of one bin of labels; both figures in years."""

    labels: LabelBin
    mae: Metric
    bias: Metric

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return self.labels.to_dict() | {"mae": self.mae.to_dict(), "bias": self.bias.to_dict()}


@dataclass(frozen=True, slots=True)
class AgeCurves:
    """What plots of the age show.

    cumulative_score: for each of CS_YEARS, the share of faces that are at most so far off.
    error_by_label: bins of labels, ascending. error_histogram: faces by their error in whole
    years, from -MOST_ERROR to MOST_ERROR.
    """

    cumulative_score: tuple[Metric, ...]
    error_by_label: tuple[ErrorAt, ...]
    error_histogram: Integers

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        scores = zip(CS_YEARS, self.cumulative_score, strict=True)
        errors = enumerate(self.error_histogram.tolist(), -MOST_ERROR)
        return {
            "cumulative_score": [{"years": years} | found.to_dict() for years, found in scores],
            "error_by_label": [found.to_dict() for found in self.error_by_label],
            "error_histogram": [{"years": years, "n": n} for years, n in errors],
        }


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Faces of similar probability. low, high: of the bin. mean_probability: of its faces.

    found: the share of them that are what the probability says.
    """

    low: float
    high: float
    mean_probability: float
    found: Metric

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "from": self.low,
            "to": self.high,
            "mean_probability": round(self.mean_probability, 6),
            "found": self.found.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class GenderCurves:
    """What plots of the gender show.

    confusion: faces by label, then by prediction. roc: float64 (P, 2), the shares of males and of
    females whose female_probability is at least as high, from (0, 0) to (1, 1); None where one
    gender is absent. reliability: of female_probability; bins that hold faces.
    """

    confusion: Mapping[str, Mapping[str, int]]
    roc: Floats | None
    reliability: tuple[ReliabilityBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        points = [] if self.roc is None else np.round(self.roc, 6).tolist()
        return {
            "confusion": {label: dict(row) for label, row in self.confusion.items()},
            "roc": [{"males": males, "females": females} for males, females in points],
            "reliability": [found.to_dict() for found in self.reliability],
        }


@dataclass(frozen=True, slots=True)
class Curves:
    """What the plots of a report show. None where no face has a label and an estimate for it.

    minor: reliability of minor_probability.
    """

    age: AgeCurves | None
    gender: GenderCurves | None
    minor: tuple[ReliabilityBin, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "age": self.age and self.age.to_dict(),
            "gender": self.gender and self.gender.to_dict(),
            "minor": self.minor and {"reliability": [found.to_dict() for found in self.minor]},
        }


def curves(pairs: Pairs, *, resamples: int = RESAMPLES, seed: int = 0) -> Curves:
    """All curves of some faces. resamples, seed: of the intervals of the error by label."""
    age = np.isfinite(pairs.age_label) & np.isfinite(pairs.age)
    gender = np.isfinite(pairs.female_label) & np.isfinite(pairs.female)
    gender &= np.isfinite(pairs.female_probability)
    minor = np.isfinite(pairs.age_label) & np.isfinite(pairs.minor_probability)
    return Curves(
        age=_age_curves(pairs.take(age), resamples, seed) if age.any() else None,
        gender=_gender_curves(pairs.take(gender)) if gender.any() else None,
        minor=_minor_reliability(pairs.take(minor)) if minor.any() else None,
    )


def label_bins(label: Floats) -> Iterator[LabelBin]:
    """Faces by their age label, ascending: each bin ends with FEW faces or after WIDEST_BIN years.

    label: float64 (N,), years, 0 or more, all finite. The last bin may have fewer.
    """
    years = np.floor(label).astype(np.int64)
    order = np.argsort(years, kind="stable")
    present, starts = np.unique(years[order], return_index=True)
    spans: list[list[int]] = []
    for first, start, stop in zip(present, starts, [*starts[1:], len(years)], strict=True):
        last = spans[-1] if spans else None
        if last is None or last[3] - last[2] >= FEW or first - last[0] >= WIDEST_BIN:
            spans.append([int(first), int(first), int(start), int(stop)])
        else:
            last[1], last[3] = int(first), int(stop)
    for first, final, start, stop in spans:
        faces = order[start:stop]
        yield LabelBin(first, final, float(label[faces].mean()), faces)


def _age_curves(pairs: Pairs, resamples: int, seed: int) -> AgeCurves:
    error = pairs.age - pairs.age_label
    size = np.abs(error)
    off = np.rint(np.clip(error, -MOST_ERROR, MOST_ERROR)).astype(np.int64) + MOST_ERROR
    by_label = []
    for number, labels in enumerate(label_bins(pairs.age_label)):
        chosen = labels.faces
        found = age_metrics(
            pairs.age_label[chosen],
            pairs.age[chosen],
            resamples=resamples,
            seed=[seed, number, 2],
        )
        by_label.append(ErrorAt(labels, found.mae, found.bias))
    return AgeCurves(
        cumulative_score=tuple(share(int((size <= k).sum()), len(size)) for k in CS_YEARS),
        error_by_label=tuple(by_label),
        error_histogram=np.bincount(off, minlength=2 * MOST_ERROR + 1),
    )


def _gender_curves(pairs: Pairs) -> GenderCurves:
    label, guess = pairs.female_label == 1, pairs.female == 1
    of_label = {"female": label, "male": ~label}
    of_guess = {"female": guess, "male": ~guess}
    return GenderCurves(
        confusion={
            said: {found: int((of_label[said] & of_guess[found]).sum()) for found in GENDERS}
            for said in GENDERS
        },
        roc=_roc(label, pairs.female_probability),
        reliability=reliability(label, pairs.female_probability),
    )


def _roc(label: Flags, probability: Floats) -> Floats | None:
    """Points of the curve, as GenderCurves has them, thinned to steps of ROC_STEP."""
    females = int(label.sum())
    males = len(label) - females
    if not females or not males:
        return None
    order = np.argsort(-probability, kind="stable")
    ends = np.flatnonzero(np.diff(probability[order], append=-np.inf))
    found = np.cumsum(label[order])[ends]
    points = np.column_stack(((ends + 1 - found) / males, found / females))
    points = np.concatenate((np.zeros((1, 2)), points))
    steps = np.floor(points.sum(axis=1) / ROC_STEP)
    kept = np.unique(steps, return_index=True)[1]
    return np.asarray(points[np.union1d(kept, len(points) - 1)], dtype=np.float64)


def reliability(label: Flags, probability: Floats) -> tuple[ReliabilityBin, ...]:
    """How often what has a probability is so, by bins of probability, as many as hold faces.

    label: bool (N,). probability: float64 (N,), 0 to 1.
    """
    scaled = np.clip(probability * CALIBRATION_BINS, 0, CALIBRATION_BINS - 1)
    place = np.floor(scaled).astype(np.int64)
    found = []
    for number in np.unique(place).tolist():
        chosen = place == number
        found.append(
            ReliabilityBin(
                low=number / CALIBRATION_BINS,
                high=(number + 1) / CALIBRATION_BINS,
                mean_probability=float(probability[chosen].mean()),
                found=share(int(label[chosen].sum()), int(chosen.sum())),
            )
        )
    return tuple(found)


def _minor_reliability(pairs: Pairs) -> tuple[ReliabilityBin, ...]:
    return reliability(pairs.age_label < ADULT_AGE, pairs.minor_probability)
