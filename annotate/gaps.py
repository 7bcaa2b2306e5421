"""Gaps: slices in, the pairs of them between which a figure differs most out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from annotate.metrics import Metric
from annotate.slices import DIMENSIONS, FEW, Slice

Read = Callable[[Slice], Metric]
"""The figure of a slice."""

_FIGURES: tuple[tuple[str, Read, int], ...] = (
    ("age_mae", lambda part: part.age.mae, 1),
    ("gender_accuracy", lambda part: part.gender.accuracy, -1),
)
"""Name, figure, and the sign by which more is worse."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two slices. where: label that its faces share, by dimension."""

    where: Mapping[str, str]
    metric: Metric

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {"where": dict(self.where)} | self.metric.to_dict()


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest gap of one figure within one dimension, or within one crossing of two.

    dimension: as in Scores.slices. figure: "age_mae" or "gender_accuracy". gap: at least 0; years,
    or a share of faces. least_n: faces that the figure of a slice had to rest on to take part.
    """

    dimension: str
    figure: str
    worst: Side
    best: Side
    gap: float
    least_n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "dimension": self.dimension,
            "figure": self.figure,
            "worst": self.worst.to_dict(),
            "best": self.best.to_dict(),
            "gap": round(self.gap, 6),
            "least_n": self.least_n,
        }


def largest_gaps(slices: Mapping[str, Iterable[Slice]], *, least_n: int = FEW) -> tuple[Gap, ...]:
    """The largest gap of each figure, for each dimension and each crossing of two dimensions.

    slices: by name, as `all_slices` gives them. Slices take part in which the figure rests on
    least_n faces or more, the same number for all dimensions: only so is the largest of the gaps
    the largest. There is none where fewer than two slices take part.
    """
    names = [*DIMENSIONS, *("_x_".join(pair) for pair in combinations(DIMENSIONS, 2))]
    gaps = (
        _largest_gap(name, list(slices.get(name, ())), figure, read, sign, least_n)
        for name in names
        for figure, read, sign in _FIGURES
    )
    return tuple(gap for gap in gaps if gap is not None)


def differing(gaps: Iterable[Gap]) -> list[Gap]:
    """Those that are some, for people: of groups that are equal none is the worst."""
    return [gap for gap in gaps if gap.gap > 0]


def _largest_gap(
    dimension: str, parts: list[Slice], figure: str, read: Read, sign: int, least_n: int
) -> Gap | None:
    ranked = sorted(
        (sign * metric.value, index)
        for index, metric in enumerate(map(read, parts))
        if metric.value is not None and metric.n >= least_n
    )
    if len(ranked) < 2:
        return None
    (low, best), (high, worst) = ranked[0], ranked[-1]
    return Gap(
        dimension=dimension,
        figure=figure,
        worst=Side(parts[worst].where, read(parts[worst])),
        best=Side(parts[best].where, read(parts[best])),
        gap=high - low,
        least_n=least_n,
    )
