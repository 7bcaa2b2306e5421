"""Plots of an evaluation: its scores in, the pictures of its page out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from annotate.metrics import Metric
from annotate.report.age_plots import (
    cumulative_score,
    error_by_label,
    error_histogram,
    passing,
    predicted_against_labelled,
)
from annotate.report.gender_plots import confusion, reliability, roc
from annotate.report.plots import SOFT, Plot, dot, figure, look, percent_axis, png
from annotate.report.wording import number, percent
from annotate.slices import Slice

if TYPE_CHECKING:
    from annotate.scoring import Scores

RIGHT_COVERAGE = 0.8

NAMES = (
    "age-predicted-against-labelled",
    "age-error-by-label",
    "age-cumulative-score",
    "age-error-histogram",
    "age-bias-by-band",
    "age-interval-coverage",
    "gender-confusion",
    "gender-roc",
    "gender-reliability",
    "gender-accuracy-by-band",
    "thresholds-passing",
    "minor-reliability",
)
"""All plots that there may be, by the names of their files without `.png`."""


def evaluation_plots(scores: Scores) -> dict[str, Plot]:
    """The plots that the labels and predictions allow, by name, in the order of NAMES."""
    with look():
        found = [*_age_plots(scores), *_gender_plots(scores), *_threshold_plots(scores)]
    return {plot.name: plot for plot in found}


def _age_plots(scores: Scores) -> Iterator[Plot]:
    age = scores.curves.age
    if age is None:
        return
    yield predicted_against_labelled(scores.pairs.age_label, scores.pairs.age, age.error_by_label)
    yield error_by_label(age.error_by_label)
    yield cumulative_score(age)
    yield error_histogram(age)
    bands = scores.slices.get("age_band", ())
    yield by_band(
        "age-bias-by-band",
        "Bias by labelled age",
        bands,
        lambda part: part.age.bias,
        said="bias, years (above 0: too old)",
        reference=0.0,
        caption="Mean of estimate less label, with 95 % intervals. Above the dashed line faces are"
        " taken for older than their label, below it for younger.",
    )
    predicted = [part for part in scores.predicted_age_bands if part.age.interval_coverage.n]
    if predicted:
        yield by_band(
            "age-interval-coverage",
            "Labels inside the 80 % interval",
            predicted,
            lambda part: part.age.interval_coverage,
            said="share of labels inside",
            axis="age band of the estimate",
            reference=RIGHT_COVERAGE,
            is_share=True,
            caption="By the age band of the estimate, with 95 % intervals. At the dashed line"
            " (80 %) the intervals are right; below it they are too narrow.",
        )


def _gender_plots(scores: Scores) -> Iterator[Plot]:
    gender = scores.curves.gender
    if gender is None:
        return
    yield confusion(gender.confusion)
    if gender.roc is not None:
        yield roc(gender.roc, scores.overall.gender.auc)
    yield reliability(
        "gender-reliability",
        "Reliability of P(female)",
        gender.reliability,
        axis="female_probability",
        said="share labelled female",
    )
    bands = [part for part in scores.slices.get("age_band", ()) if part.gender.accuracy.n]
    if bands:
        yield by_band(
            "gender-accuracy-by-band",
            "Gender accuracy by labelled age",
            bands,
            lambda part: part.gender.accuracy,
            said="accuracy",
            reference=scores.overall.gender.accuracy.value,
            is_share=True,
            caption="Share of faces whose predicted gender is the label, with 95 % intervals. The"
            " dashed line is the accuracy over all faces.",
        )


def _threshold_plots(scores: Scores) -> Iterator[Plot]:
    if scores.thresholds is not None:
        yield passing(scores.thresholds)
    if scores.curves.minor is not None:
        yield reliability(
            "minor-reliability",
            "Reliability of P(age < 18)",
            scores.curves.minor,
            axis="minor_probability",
            said="share labelled below 18",
        )


def by_band(
    name: str,
    title: str,
    parts: Sequence[Slice],
    read: Callable[[Slice], Metric],
    *,
    said: str,
    caption: str,
    axis: str = "age band of the label",
    reference: float | None = None,
    is_share: bool = False,
) -> Plot:
    """One figure of slices of one dimension, with intervals. reference: a line across, dashed."""
    made, axes = figure()
    names = [next(iter(part.where.values())) for part in parts]
    found = [
        (label, metric)
        for label, metric in zip(names, map(read, parts), strict=True)
        if metric.value is not None
    ]
    for place, (_, metric) in enumerate(found):
        dot(axes, place, metric)
    if reference is not None:
        axes.axhline(reference, color=SOFT, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(found)), [f"{label}\n{metric.n:,}" for label, metric in found])
    axes.tick_params(axis="x", labelsize=8)
    axes.set(xlabel=f"{axis}; number of faces below", xlim=(-0.6, len(found) - 0.4))
    axes.grid(visible=False, axis="x")
    if is_share:
        low = min((m.low if m.low is not None else m.value or 0 for _, m in found), default=0.5)
        axes.set_ylim(max(0.0, math.floor(10 * min(low, 0.75) - 0.5) / 10), 1.005)
        percent_axis(axes, said)
    else:
        axes.set_ylabel(said)
    axes.set_title(title)
    told = "; ".join(
        f"{label}: {percent(m.value) + ' %' if is_share else number(m.value, 1)}"
        for label, m in found
    )
    return Plot(name, png(made), f"{title}. {told}.", caption)
