"""Plots of probabilities: what curves say of them in, pictures with what they show in words out.

To be called inside plots.look(). Every plot stands for itself: it is a file beside its page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotate.curves import ReliabilityBin
from annotate.metrics import Floats, Metric
from annotate.report.plots import (
    MAIN,
    MILD,
    SOFT,
    Plot,
    count_axis,
    dot,
    figure,
    percent_axis,
    png,
    stacked,
    values,
)
from annotate.report.wording import number, percent
from annotate.slices import GENDERS


def confusion(counts: Mapping[str, Mapping[str, int]]) -> Plot:
    """Faces by labelled and predicted gender."""
    made, axes = figure(height=3.6)
    shares = np.zeros((2, 2))
    told = []
    for row, label in enumerate(GENDERS):
        total = sum(counts[label].values())
        for column, guess in enumerate(GENDERS):
            n = counts[label][guess]
            shares[row, column] = n / total if total else 0.0
            dark = shares[row, column] > 0.5
            axes.text(
                column,
                row,
                f"{n:,}\n{percent(shares[row, column]) if total else '–'} %",
                ha="center",
                va="center",
                fontsize=13,
                color="white" if dark else "black",
            )
            told.append(f"labelled {label}, predicted {guess}: {n:,}")
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("share", ("#f5f9fc", MILD, MAIN))
    axes.imshow(shares, cmap=ramp, vmin=0, vmax=1)
    axes.set_xticks((0, 1), GENDERS)
    axes.set_yticks((0, 1), GENDERS)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="labelled")
    axes.set_title("Confusion matrix")
    return Plot(
        "gender-confusion",
        png(made),
        f"Confusion matrix. {'; '.join(told)}.",
        "Faces, and their share of those with the same label.",
    )


def roc(points: Floats, auc: Metric) -> Plot:
    """The ROC curve of female_probability. points: (P, 2), shares of males and of females."""
    made, axes = figure(height=3.9)
    axes.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1)
    axes.plot(points[:, 0], points[:, 1], color=MAIN, linewidth=2)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    percent_axis(axes, "females found", "males taken for female")
    axes.set_title("ROC curve")
    said = f"AUC {number(auc.value, 4)}"
    if auc.low is not None and auc.high is not None:
        said += f"\n95 % interval {auc.low:.4f} to {auc.high:.4f}"
    axes.text(0.97, 0.05, said, ha="right", va="bottom", color=MAIN)
    return Plot(
        "gender-roc",
        png(made),
        f"ROC curve of female_probability, area {number(auc.value, 4)}.",
        "For each threshold, the share of females that is found and of males that is taken for"
        " female. A guess would lie on the dashed line.",
    )


def reliability(
    name: str, title: str, bins: Sequence[ReliabilityBin], *, axis: str, said: str
) -> Plot:
    """How often what has a probability is so, and how many faces have that probability."""
    made, (above, below) = stacked((3.2, 1))
    above.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1)
    for found in bins:
        dot(above, found.mean_probability, found.found)
    above.plot(
        [found.mean_probability for found in bins],
        values(found.found for found in bins),
        color=MAIN,
        linewidth=1,
    )
    middles = [(found.low + found.high) / 2 for found in bins]
    below.bar(middles, [found.found.n for found in bins], width=0.09, color=MILD)
    count_axis(below, "faces", is_log=True)
    below.set_ylim(bottom=0.8)
    below.set(xlabel=axis, xlim=(-0.01, 1.01), xticks=np.linspace(0, 1, 6))
    above.set_ylim(-0.01, 1.01)
    percent_axis(above, said)
    above.set_title(title)
    told = "; ".join(
        f"{found.low:.1f} to {found.high:.1f}: {percent(found.found.value, 0)} %"
        f" of {found.found.n:,}"
        for found in bins
    )
    return Plot(
        name,
        png(made),
        f"{title}: {said} by {axis}. {told}.",
        f"By tenths of {axis}: the {said}, with 95 % intervals, and below the number of faces. On"
        " the dashed line the probabilities are right.",
    )
