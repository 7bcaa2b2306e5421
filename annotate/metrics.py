"""Metrics: (truth, prediction) as NumPy arrays in, numbers with bootstrap intervals out.

Pure NumPy, no files and no tables. N is the number of scored faces, B of resamples, K of
figures. A missing label or estimate is NaN; a figure that is not defined for the data at hand
is None, never NaN and never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int32]
Statistic = Callable[[Counts], Floats]
"""(B, N) times that each face was drawn -> (B, K) figures, NaN where one is not defined."""

RESAMPLES = 1000
LEVEL = 0.95
CS_YEARS = 5.0
CALIBRATION_BINS = 10

_CELLS = 50_000
"""B times N of the resamples held at once: an array of them fits a core's cache."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. low, high: its 95 % interval. n: the faces that it rests on."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values, rounded to six decimals so that the last bits of a sum do not show."""

        def rounded(number: float | None) -> float | None:
            return None if number is None else round(number, 6)

        return {
            "value": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "n": self.n,
        }


@dataclass(frozen=True, slots=True)
class AgeMetrics:
    """Figures of the age estimate; DEFINITIONS says what each one is."""

    mae: Metric
    median_error: Metric
    rmse: Metric
    mse: Metric
    bias: Metric
    cs5: Metric
    interval_coverage: Metric

    def to_dict(self) -> dict[str, Any]:
        """By name, each as Metric.to_dict gives it."""
        return {field.name: getattr(self, field.name).to_dict() for field in fields(self)}


@dataclass(frozen=True, slots=True)
class GenderMetrics:
    """Figures of the gender estimate; DEFINITIONS says what each one is."""

    accuracy: Metric
    balanced_accuracy: Metric
    auc: Metric
    calibration_error: Metric

    def to_dict(self) -> dict[str, Any]:
        """By name, each as Metric.to_dict gives it."""
        return {field.name: getattr(self, field.name).to_dict() for field in fields(self)}


@dataclass(frozen=True, slots=True)
class MinorMetrics:
    """Figures of the probability to be a minor, over n faces; DEFINITIONS says what each one is."""

    n: int
    auc: Metric
    calibration_error: Metric
    brier: Metric
    share_minor: Metric

    def to_dict(self) -> dict[str, Any]:
        """n, and the figures by name, each as Metric.to_dict gives it."""
        names = (field.name for field in fields(self) if field.name != "n")
        return {"n": self.n} | {name: getattr(self, name).to_dict() for name in names}


SHARES = frozenset({"cs5", "interval_coverage", "accuracy", "share_minor"})
"""Figures that are plain shares of their n faces."""

_NO_SHARES = frozenset({"balanced_accuracy", "auc"})
"""Figures from 0 to 1 that are none."""


def share(count: int, n: int) -> Metric:
    """`count` of n as a share, 0 to 1, with its 95 % Wilson score interval.

    For what may well be 0 of n, of which every resample says 0 again. Source: Wilson 1927.
    """
    if n == 0:
        return Metric(None, None, None, 0)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (count + z**2 / 2) / (n + z**2)
    half = z * math.sqrt(count * (n - count) / n + z**2 / 4) / (n + z**2)
    return Metric(count / n, max(0.0, middle - half), min(1.0, middle + half), n)


def at_the_edge(name: str, found: Metric) -> Metric:
    """A figure whose interval is as wide as it should be where all faces count, or none does.

    Every resample says the same then, and the bootstrap's interval is the figure itself: "100 to
    100 %" of 20 faces. Shares get Wilson's interval instead, other figures from 0 to 1 have none.
    """
    if found.low is None or found.low != found.high or found.value not in (0.0, 1.0):
        return found
    if name in SHARES:
        return share(round(found.value * found.n), found.n)
    return replace(found, low=None, high=None) if name in _NO_SHARES else found


def age_metrics(
    label: Floats,
    age: Floats,
    p10: Floats | None = None,
    p90: Floats | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int | list[int] = 0,
) -> AgeMetrics:
    """Figures of N age estimates.

    All float64 (N,), years; faces without a finite label and age are left out, and those
    without a finite interval p10 to p90 do not count for its coverage.
    """
    nothing = np.full(len(label), np.nan)
    p10 = nothing if p10 is None else p10
    p90 = nothing if p90 is None else p90
    known = np.isfinite(label) & np.isfinite(age)
    statistic, _ = age_statistic(label[known], age[known], p10[known], p90[known])
    figures = with_intervals(statistic, int(known.sum()), 7, resamples, seed)
    bounded = known & np.isfinite(p10) & np.isfinite(p90)
    figures[-1] = replace(figures[-1], n=int(bounded.sum()))
    return AgeMetrics(*_named(AgeMetrics, figures))


def _named(kind: type[Any], figures: list[Metric]) -> Iterator[Metric]:
    """The figures of one of the classes above, in the order of its fields, each at_the_edge."""
    return map(at_the_edge, (field.name for field in fields(kind) if field.name != "n"), figures)


def age_statistic(
    label: Floats, age: Floats, p10: Floats, p90: Floats
) -> tuple[Statistic, Integers]:
    """What works out the fields of AgeMetrics, in their order, from how often each face was drawn.

    All float64 (N,), years; label and age are finite. Returns it and int64 (N,), the order in
    which it takes the faces: order[i] is its i-th.
    """
    n = len(label)
    error = age - label
    size = np.abs(error)
    bounded = np.isfinite(p10) & np.isfinite(p90)
    covered = bounded & (p10 <= label) & (label <= p90)
    # Sorting makes medians cheap, and the figures the same whatever the order of the faces.
    order = np.lexsort((covered, bounded, error, size))
    size, error, bounded, covered = size[order], error[order], bounded[order], covered[order]
    columns = np.stack((size, error**2, error, covered, bounded)).astype(np.float64)
    n_within = int(np.searchsorted(size, CS_YEARS, side="right"))

    def statistic(counts: Counts) -> Floats:
        drawn = _running_totals(counts)
        mae, mse, bias, inside, intervals = _weighted_sums(counts, columns)
        mse = mse / n
        with np.errstate(invalid="ignore"):
            coverage = inside / intervals
        within = drawn[:, n_within] / n
        median = _median_of_sorted(size, drawn)
        return np.column_stack((mae / n, median, np.sqrt(mse), mse, bias / n, within, coverage))

    return statistic, order


def _weighted_sums(counts: Counts, columns: Floats) -> Floats:
    """Sums over faces. counts: (B, N). columns: (K, N). Returns (K, B).

    einsum and not `@`: a threaded BLAS is a hundred times slower on a machine that is busy,
    and its last bits depend on the number of threads.
    """
    return np.asarray(np.einsum("bn,kn->kb", counts.astype(np.float64), columns))


def _running_totals(counts: Counts) -> Counts:
    """(B, N + 1): how many draws fell on the first 0, 1, ... N faces."""
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1), dtype=np.int32)
    np.cumsum(counts, axis=1, dtype=np.int32, out=totals[:, 1:])
    return totals


def _median_of_sorted(values: Floats, drawn: Counts) -> Floats:
    """Medians of B resamples. values: (N,) ascending. drawn: (B, N + 1) running totals."""
    n = len(values)
    lower = (drawn[:, 1:] <= (n - 1) // 2).sum(axis=1)
    upper = lower if n % 2 else (drawn[:, 1:] <= n // 2).sum(axis=1)
    return np.asarray((values[lower] + values[upper]) / 2, dtype=np.float64)


def gender_metrics(
    female_label: Floats,
    female: Floats,
    female_probability: Floats,
    *,
    resamples: int = RESAMPLES,
    seed: int | list[int] = 0,
) -> GenderMetrics:
    """Figures of N gender estimates.

    female_label, female: float64 (N,), 1 female, 0 male. female_probability: (N,), 0 to 1.
    Faces in which any of the three is not finite are left out.
    """
    known = np.isfinite(female_label) & np.isfinite(female) & np.isfinite(female_probability)
    label, guess = female_label[known] == 1, female[known] == 1
    statistic, _ = gender_statistic(label, guess, female_probability[known])
    figures = with_intervals(statistic, len(label), 4, resamples, seed)
    return GenderMetrics(*_named(GenderMetrics, figures))


def gender_statistic(label: Flags, guess: Flags, probability: Floats) -> tuple[Statistic, Integers]:
    """What works out the fields of GenderMetrics, in their order, as age_statistic does.

    label, guess: bool (N,), female. probability: float64 (N,), finite.
    """
    n = len(label)
    order = np.lexsort((guess, label, probability))
    label, guess, probability = label[order], guess[order], probability[order]
    columns = np.stack((label & guess, ~label & ~guess, label)).astype(np.float64)
    ties = _run_starts(probability)
    bins = _calibration_bins(probability)

    def statistic(counts: Counts) -> Floats:
        hits_female, hits_male, females = _weighted_sums(counts, columns)
        males = n - females
        with np.errstate(invalid="ignore"):
            balanced = (hits_female / females + hits_male / males) / 2
            auc = _ranked_pairs(label, ties, counts) / (females * males)
        calibration = _calibration_error(probability - label, bins, counts)
        accuracy = (hits_female + hits_male) / n
        return np.column_stack((accuracy, balanced, auc, calibration))

    return statistic, order


def minor_metrics(
    minor_label: Floats,
    minor_probability: Floats,
    *,
    resamples: int = RESAMPLES,
    seed: int | list[int] = 0,
) -> MinorMetrics | None:
    """Figures of N probabilities to be a minor, or None where there are none.

    minor_label: float64 (N,), 1 minor, 0 adult. minor_probability: (N,), 0 to 1.
    Faces in which either is not finite are left out.
    """
    known = np.isfinite(minor_label) & np.isfinite(minor_probability)
    label, probability = minor_label[known] == 1, minor_probability[known]
    order = np.lexsort((label, probability))
    label, probability = label[order], probability[order]
    n = len(label)
    if n == 0:
        return None
    excess = probability - label
    columns = np.stack((label, excess**2))
    ties, bins = _run_starts(probability), _calibration_bins(probability)

    def statistic(counts: Counts) -> Floats:
        minors, squares = _weighted_sums(counts, columns)
        with np.errstate(invalid="ignore"):
            auc = _ranked_pairs(label, ties, counts) / (minors * (n - minors))
        calibration = _calibration_error(excess, bins, counts)
        return np.column_stack((auc, calibration, squares / n, minors / n))

    figures = with_intervals(statistic, n, 4, resamples, seed)
    return MinorMetrics(n, *_named(MinorMetrics, figures))


def _calibration_bins(probability: Floats) -> Integers:
    """Where each of the bins that hold faces begins. probability: (N,) ascending."""
    # A stranger's output may hold any number, also one that no integer can.
    bins = np.clip(probability * CALIBRATION_BINS, 0, CALIBRATION_BINS - 1)
    return _run_starts(np.floor(bins))


def _calibration_error(excess: Floats, bins: Integers, counts: Counts) -> Floats:
    """(B,) expected calibration errors.

    excess: (N,), probability - label, in ascending order of probability. bins: where each begins.
    """
    gaps = np.add.reduceat(counts * excess, bins, axis=1)
    return np.asarray(np.abs(gaps).sum(axis=1) / len(excess), dtype=np.float64)


def _run_starts(values: Floats) -> Integers:
    """Where each run of equal values begins. values: (N,) ascending."""
    return np.flatnonzero(np.diff(values, prepend=-np.inf) > 0)


def _ranked_pairs(label: npt.NDArray[np.bool_], ties: Integers, counts: Counts) -> Floats:
    """(B,) pairs of a female and a male in which the female has the higher probability.

    label: (N,), in ascending order of probability. ties: where each run of equal
    probabilities begins; pairs within a run count half. counts: (B, N).
    """
    bounds = np.append(ties, len(label))
    drawn_female = _running_totals(counts * label)[:, bounds]
    drawn_male = _running_totals(counts * ~label)[:, bounds]
    below_twice = drawn_male[:, :-1] + drawn_male[:, 1:]
    pairs = np.einsum("bn,bn->b", np.diff(drawn_female, axis=1), below_twice, dtype=np.int64)
    return np.asarray(pairs / 2, dtype=np.float64)


def with_intervals(
    statistic: Statistic, n: int, figures: int, resamples: int, seed: int | list[int]
) -> list[Metric]:
    """K = figures metrics of n faces, with percentile bootstrap intervals."""
    if n == 0:
        return [Metric(None, None, None, 0)] * figures
    values = statistic(np.ones((1, n), dtype=np.int32))[0]
    draws = np.empty((0, figures))
    if n > 1 and resamples > 0:
        draws = np.concatenate([statistic(part) for part in _resamples(n, resamples, seed)])
    return [_metric(value, draws[:, k], n) for k, value in enumerate(values)]


def _metric(value: float, draws: Floats, n: int) -> Metric:
    if not np.isfinite(value):
        return Metric(None, None, None, n)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Metric(float(value), None, None, n)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Metric(float(value), float(low), float(high), n)


def _resamples(n: int, resamples: int, seed: int | list[int]) -> Iterator[Counts]:
    """Bootstrap resamples of n faces as (b, n) counts of draws, b bounded by memory."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // n)
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        draws = rng.integers(0, n, size=(b, n), dtype=np.int64)
        draws += np.arange(b)[:, np.newaxis] * n
        counts = np.bincount(draws.ravel(), minlength=b * n)
        yield counts.reshape(b, n).astype(np.int32)
