"""Plots of ages: labels and estimates in, pictures with what they show in words out.

To be called inside plots.look(). Every plot stands for itself: it is a file beside its page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from annotate.curves import CS_YEARS, MOST_ERROR, AgeCurves, ErrorAt
from annotate.metrics import Floats
from annotate.report.plots import (
    MAIN,
    MILD,
    SOFT,
    Plot,
    band,
    count_ticks,
    figure,
    percent_axis,
    png,
    values,
)
from annotate.report.wording import number, percent
from annotate.thresholds import LOOKS, TEENS, Thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW_TO_SCATTER = 400
"""With fewer faces each is a dot of its own; with more they are counted by squares."""

SQUARE_YEARS = 2
OLDEST_SHOWN = 100
"""Years. Axes of ages reach at least so far."""

NEAR_YEARS = 5
"""Errors of so many years are drawn darker."""

_SHADES = ("#e4eff8", MILD, MAIN, "#06304f")
_LINES = (MILD, "#4f98ca", MAIN, "#06304f")


def predicted_against_labelled(
    label: Floats, age: Floats, by_label: Sequence[ErrorAt], *, title: str | None = None
) -> Plot:
    """How many faces of each labelled age got each estimate. label, age: years (N,)."""
    known = np.isfinite(label) & np.isfinite(age)
    label, age = label[known], age[known]
    oldest = max(OLDEST_SHOWN, 10 * math.ceil(float(label.max(initial=0)) / 10))
    drawn = np.clip(age, 0, oldest)
    made, axes = figure(height=4.4)
    if len(label) < FEW_TO_SCATTER:
        axes.scatter(label, drawn, s=14, color=MAIN, alpha=0.5, linewidths=0)
    else:
        _density(axes, label, drawn, oldest)
    axes.plot([0, oldest], [0, oldest], "--", color=SOFT, linewidth=1)
    means = [
        (at.labels.mean_label, at.labels.mean_label + at.bias.value)
        for at in by_label
        if at.bias.value is not None
    ]
    line = np.array(means).reshape(-1, 2)
    for width, colour, said in ((3.5, "white", None), (1.6, "black", "mean estimate")):
        axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=width, label=said)
    axes.set(xlim=(0, oldest), ylim=(0, oldest), aspect="equal")
    axes.set(xlabel="labelled age, years", ylabel="estimated age, years")
    axes.set_title(title or "Estimated against labelled age")
    axes.legend(loc="upper left")
    return Plot(
        "age-predicted-against-labelled",
        png(made),
        f"Estimated against labelled age of {len(label):,} faces, with the mean estimate.",
        "On the dashed diagonal estimate and label agree. The black line is the mean estimate of"
        " the faces of a labelled age: flatter than the diagonal where the old are taken for"
        " younger and the young for older.",
    )


def _density(axes: Axes, label: Floats, age: Floats, oldest: int) -> None:
    """Count faces by squares of SQUARE_YEARS, and draw the counts on a scale of powers of ten."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    edges = np.arange(0, oldest + SQUARE_YEARS, SQUARE_YEARS)
    counts = np.histogram2d(label, age, bins=(edges, edges))[0]
    drawn = axes.pcolormesh(
        edges,
        edges,
        np.ma.masked_equal(counts, 0).T,
        norm=LogNorm(vmin=1, vmax=max(2.0, counts.max())),
        cmap=LinearSegmentedColormap.from_list("faces", _SHADES),
        rasterized=True,
    )
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.75, format="%d")
    bar.set_label(f"faces by {SQUARE_YEARS} x {SQUARE_YEARS} years")
    bar.outline.set_visible(False)


def error_by_label(by_label: Sequence[ErrorAt]) -> Plot:
    """The mean absolute error by labelled age, with its interval."""
    made, axes = figure()
    ages = [at.labels.mean_label for at in by_label]
    band(axes, ages, [at.mae for at in by_label])
    small = [at for at in by_label if at.labels.is_small]
    axes.plot(
        [at.labels.mean_label for at in small],
        values(at.mae for at in small),
        "o",
        color=MAIN,
        markerfacecolor="white",
        markersize=5,
    )
    axes.set(xlabel="labelled age, years", ylabel="mean absolute error, years", ylim=(0, None))
    axes.set_title("Error by labelled age")
    worst = max(by_label, key=lambda at: at.mae.value or 0.0)
    return Plot(
        "age-error-by-label",
        png(made),
        "Mean absolute error by labelled age. It is largest, "
        f"{number(worst.mae.value, 1)} years, at {_years(worst)}.",
        "Mean absolute error with its 95 % interval. Neighbouring years are put together until"
        " there are 30 faces, but no more than 10 years; rings have fewer faces.",
    )


def _years(at: ErrorAt) -> str:
    first, last = at.labels.first, at.labels.last
    return f"{first} years" if first == last else f"{first} to {last} years"


def cumulative_score(age: AgeCurves) -> Plot:
    """The share of faces within so many years, for each number of years."""
    made, axes = figure()
    band(axes, list(CS_YEARS), age.cumulative_score)
    said = []
    for years in (5, 10):
        value = age.cumulative_score[years].value or 0.0
        said.append(f"{percent(value)} % within {years} years")
        axes.annotate(
            f"{percent(value)} %", (years, value), (6, -14), textcoords="offset points", color=MAIN
        )
    axes.set(xlabel="years", xlim=(0, CS_YEARS[-1]), ylim=(0, 1), xticks=range(0, 21, 5))
    percent_axis(axes, "share of faces within so many years")
    axes.set_title("Cumulative score CS@k")
    return Plot(
        "age-cumulative-score",
        png(made),
        f"Cumulative score: {' and '.join(said)}.",
        "Share of faces whose estimate is at most so many years from the label, with 95 %"
        " intervals.",
    )


def error_histogram(age: AgeCurves) -> Plot:
    """How many faces are how far off, and in which direction."""
    made, axes = figure()
    counts = age.error_histogram
    years = np.arange(-MOST_ERROR, MOST_ERROR + 1)
    is_near = np.abs(years) <= NEAR_YEARS
    axes.bar(years, counts, width=0.9, color=np.where(is_near, MAIN, MILD))
    axes.axvline(0, color=SOFT, linestyle="--", linewidth=1)
    axes.set(xlabel="estimate less label, years", xlim=(-MOST_ERROR - 1, MOST_ERROR + 1))
    axes.set_ylabel("faces")
    count_ticks(axes.yaxis)
    axes.set_title("Errors")
    too_old = int(counts[years > 0].sum())
    share = percent(too_old / max(1, int(counts.sum())), 0)
    return Plot(
        "age-error-histogram",
        png(made),
        f"Histogram of the errors in whole years; {share} % of the estimates are too old.",
        f"Errors in whole years, those up to {NEAR_YEARS} years darker; what is beyond"
        f" {MOST_ERROR} years counts at the ends.",
    )


def passing(found: Thresholds) -> Plot:
    """The share that looks at least so old, by labelled age, for each of LOOKS."""
    made, axes = figure()
    axes.axvspan(TEENS[0], TEENS[1] + 1, color="#fff1da", linewidth=0)
    axes.text((sum(TEENS) + 1) / 2, 1.02, "13–17", ha="center", va="bottom", color="#8a4b00")
    ages = [at.labels.mean_label for at in found.passing_by_label]
    for place, (threshold, colour) in enumerate(zip(LOOKS, _LINES, strict=True)):
        shares = values(at.passing[place] for at in found.passing_by_label)
        axes.plot(ages, shares, ".-", color=colour, label=f"looks {threshold:g} or older")
    axes.set(xlabel="labelled age, years", xlim=(0, 60), ylim=(0, 1.005))
    percent_axis(axes, "share that passes")
    axes.set_title("Who would pass", pad=18)
    axes.legend(loc="lower right")
    return Plot(
        "thresholds-passing",
        png(made),
        "Share of faces estimated to be at least 18, 21, 25 and 30 years old, by labelled age.",
        "By labelled age, for checks that ask for an estimate of at least 18, 21, 25 or 30 years."
        " In the shaded ages everybody who passes is a false positive.",
    )
