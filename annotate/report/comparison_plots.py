"""Comparison plots: a Comparison in, its plots out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from annotate.central_faces import floats
from annotate.metrics import Floats
from annotate.report.plots import MAIN, SOFT, Plot, figure, look, png
from annotate.slices import BAND_NAMES, age_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from annotate.comparison import Comparison

NAMES = ("age-shift", "age-a-b", "age-shift-by-age", "female-probability-a-b")
"""All plots that there may be, by the names of their files without `.png`."""

MOST_SHIFT = 40
LEAST_SHIFT = 2
"""Years that the histogram of shifts reaches to, at least and at most, at both sides."""

MOST_AGE = 100
"""Years that plots of ages end at; what a table has beyond is drawn there."""

SIZE = (5.2, 4.2)
"""Inches, of all of them: they stand beside each other."""

SHIFT_BINS = 81

FEW_BAND = 5
"""Faces that an age band needs for its spread to be drawn."""

_DENSITY = ("#e4eff7", "#7db4da", MAIN, "#07304c")


def comparison_plots(comparison: Comparison) -> tuple[Plot, ...]:
    """Those plots for which there are faces."""
    rows = comparison.rows
    ages = np.column_stack([floats(rows, name) for name in ("age_a", "age_b", "age_shift")])
    ages = ages[np.isfinite(ages).all(axis=1)]
    female = np.column_stack([floats(rows, f"female_probability_{side}") for side in "ab"])
    female = female[((female >= 0) & (female <= 1)).all(axis=1)]
    with look():
        of_ages = (_shifts(ages[:, 2]), _ages(ages), _by_age(ages)) if len(ages) else ()
        return (*of_ages, *([_genders(female)] if len(female) else []))


def shift_limit(shift: Floats) -> float:
    """Years at which the histogram of shifts ends: nearly all of them lie within."""
    most = float(np.quantile(np.abs(shift), 0.995))
    return float(min(max(np.ceil(most), LEAST_SHIFT), MOST_SHIFT))


def _shifts(shift: Floats) -> Plot:
    """How many faces moved by how many years; the outermost bars hold what moved more."""
    limit = shift_limit(shift)
    made, axes = figure(*SIZE)
    edges = np.linspace(-limit, limit, SHIFT_BINS + 1)
    axes.hist(np.clip(shift, -limit, limit), edges.tolist(), color=MAIN)
    mean = float(np.clip(shift.mean(), -limit, limit))
    axes.axvline(0, color=SOFT, linewidth=1)
    axes.axvline(mean, color=SOFT, linewidth=1.4, linestyle="--")
    is_right = mean >= 0
    axes.annotate(
        f"mean {shift.mean():+.2f}",
        (mean, 1),
        (5 if is_right else -5, -4),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if is_right else "right",
        va="top",
        color=SOFT,
    )
    axes.set(title="Age shifts", xlabel="age in B less age in A, years", ylabel="faces")
    axes.set_xlim(-limit, limit)
    beyond = int((np.abs(shift) > limit).sum())
    held = f" The outermost bars hold {beyond:,} that moved by more than {limit:.0f} years."
    return Plot(
        "age-shift",
        png(made),
        f"Histogram of the age shifts of {len(shift):,} faces, {shift.mean():+.2f} years on"
        " average",
        f"Right of zero, B says that a face is older than A says.{held * bool(beyond)}",
    )


def _ages(ages: Floats) -> Plot:
    """Every face's age in A against its age in B."""
    made, axes = figure(*SIZE)
    top = _top(ages[:, :2])
    _density(axes, np.clip(ages[:, :2], 0, top), np.arange(0, top + 1, 1.0), "faces")
    axes.set(title="Age in A and in B", xlabel="age in A, years", ylabel="age in B, years")
    return Plot(
        "age-a-b",
        png(made),
        f"How many of {len(ages):,} faces have which age in A and which in B",
        "On the line both say the same; above it B says older.",
    )


def _genders(female: Floats) -> Plot:
    """Every face's probability in A against that in B; the gender changed in two quarters."""
    made, axes = figure(*SIZE)
    _density(axes, female, np.linspace(0, 1, 51), "faces")
    axes.axvline(0.5, color=SOFT, linewidth=0.9)
    axes.axhline(0.5, color=SOFT, linewidth=0.9)
    axes.text(0.02, 0.98, "to female", color=SOFT, ha="left", va="top")
    axes.text(0.98, 0.02, "to male", color=SOFT, ha="right", va="bottom")
    axes.set(title="P(female) in A and in B", xlabel="P(female) in A", ylabel="P(female) in B")
    return Plot(
        "female-probability-a-b",
        png(made),
        f"How many of {len(female):,} faces have which probability to be female in A and in B",
        "The gender changed in the left upper and in the right lower quarter.",
    )


def _by_age(ages: Floats) -> Plot:
    """The spread of the shifts in each age band of A: median, half and nine tenths of the faces."""
    made, axes = figure(*SIZE)
    bands = age_band(ages[:, 0])
    codes = [code for code in range(len(BAND_NAMES)) if (bands == code).sum() >= FEW_BAND]
    for place, code in enumerate(codes):
        levels = np.quantile(ages[bands == code, 2], (0.05, 0.25, 0.5, 0.75, 0.95))
        low, first, median, third, high = np.clip(levels, -MOST_AGE, MOST_AGE)
        axes.vlines(place, low, high, color="#9cc3de", linewidth=2)
        axes.bar(place, third - first, 0.55, first, color="#9cc3de")
        axes.hlines(median, place - 0.275, place + 0.275, color=MAIN, linewidth=2.4)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.set_xticks(range(len(codes)), [BAND_NAMES[code] for code in codes], fontsize=8)
    axes.grid(visible=False, axis="x")
    axes.set(title="Age shifts by age", xlabel="age in A, years", ylabel="B less A, years")
    return Plot(
        "age-shift-by-age",
        png(made),
        "The age shifts of the faces in each age band of A",
        "Line: the median; box: the middle half of the faces; stroke: the middle nine tenths. Bands"
        f" of fewer than {FEW_BAND} faces are left out.",
    )


def _density(axes: Axes, pairs: Floats, edges: Floats, what: str) -> None:
    """How many pairs lie where, on a scale on which one is seen beside thousands."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    counts = np.histogram2d(pairs[:, 0], pairs[:, 1], bins=(edges, edges))[0]
    colours: Any = LinearSegmentedColormap.from_list("density", _DENSITY)
    most = max(2.0, float(counts.max()))
    grid = np.ma.masked_equal(counts.T, 0)
    mesh = axes.pcolormesh(edges, edges, grid, cmap=colours, norm=LogNorm(1, most), rasterized=True)
    axes.plot(edges[[0, -1]], edges[[0, -1]], color=SOFT, linewidth=0.9)
    axes.set_aspect("equal")
    bar = axes.figure.colorbar(mesh, ax=axes, label=what, shrink=0.85)
    bar.ax.yaxis.set_major_formatter("{x:,.0f}")
    bar.ax.minorticks_off()


def _top(ages: Floats) -> float:
    """The age at which a plot ends: a whole ten above the oldest."""
    oldest = float(np.clip(ages.max(), 0, MOST_AGE))
    return float(min(MOST_AGE, 10 * np.ceil((oldest + 1) / 10)))
