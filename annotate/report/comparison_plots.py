"""Comparison plots: a Comparison in, its plots out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from annotate.central_faces import floats
from annotate.metrics import Floats, Integers
from annotate.report.comparison_text import signed
from annotate.report.plots import MAIN, SOFT, Plot, count_ticks, figure, look, png
from annotate.report.wording import some
from annotate.slices import BAND_NAMES, age_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from annotate.comparison import Comparison

NAMES = ("age-shift", "age-a-b", "age-shift-by-age", "female-probability-a-b")
"""All plots that there may be, by the names of their files without `.png`."""

MOST_SHIFT = 40
LEAST_SHIFT = 2
"""Years that plots of shifts reach to at both sides: the histogram at most, each at least."""

MOST_AGE = 100
"""Years that plots of ages end at; what a table has beyond is drawn there."""

SIZE = (5.2, 4.2)
"""Inches, of all of them: they stand beside each other."""

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


def shift_limit(shift: Floats) -> int:
    """Years at which the histogram of shifts ends: nearly all of them lie within."""
    most = float(np.quantile(np.abs(shift), 0.995))
    return int(min(max(np.ceil(most), LEAST_SHIFT), MOST_SHIFT))


def shift_counts(shift: Floats, limit: int) -> Integers:
    """Faces by their shift in whole years, from -limit to limit; what moved more is at the ends.

    Most models say whole years, so that most shifts are whole: bins that are narrower, or have
    their edges there, would make a comb of them. Halves go to both sides alike, to the even year.
    Returns int64 (2 * limit + 1,).
    """
    whole = np.rint(np.clip(shift, -limit, limit)).astype(np.int64)
    return np.bincount(whole + limit, minlength=2 * limit + 1)


def _shifts(shift: Floats) -> Plot:
    """How many faces moved by how many years; the outermost bars hold what moved more."""
    limit = shift_limit(shift)
    made, axes = figure(*SIZE)
    axes.bar(np.arange(-limit, limit + 1), shift_counts(shift, limit), width=0.9, color=MAIN)
    said = signed(float(shift.mean())).replace("-", "\N{MINUS SIGN}")
    mean = float(np.clip(shift.mean(), -limit, limit))
    axes.axvline(0, color=SOFT, linewidth=1)
    axes.axvline(mean, color=SOFT, linewidth=1.4, linestyle="--")
    is_right = mean >= 0
    axes.annotate(
        f"mean {said}",
        (mean, 1),
        (5 if is_right else -5, -4),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if is_right else "right",
        va="top",
        color=SOFT,
    )
    axes.set(title="Age shifts", xlabel="age in B less age in A, years", ylabel="faces")
    axes.set_xlim(-limit - 1, limit + 1)
    axes.margins(y=0.12)  # for the words above the bars
    for axis in (axes.xaxis, axes.yaxis):
        count_ticks(axis)
    beyond = int((np.abs(shift) > limit).sum())
    held = f" The outermost bars hold {beyond:,} that moved by more than {limit} years."
    return Plot(
        "age-shift",
        png(made),
        f"Histogram of the age shifts of {some(len(shift), 'face')}, {said} years on average",
        "Shifts in whole years. Right of zero, B says that a face is older than A says."
        + held * bool(beyond),
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
        f"How many of {some(len(ages), 'face')} have which age in A and which in B",
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
        f"How many of {some(len(female), 'face')} have which probability to be female in A and in"
        " B",
        "The gender changed in the left upper and in the right lower quarter.",
    )


def _by_age(ages: Floats) -> Plot:
    """The spread of the shifts in each age band of A: median, half and nine tenths of the faces."""
    made, axes = figure(*SIZE)
    bands = age_band(ages[:, 0])
    full = [code for code in range(len(BAND_NAMES)) if (bands == code).sum() >= FEW_BAND]
    codes = range(full[0], full[-1] + 1) if full else range(0)  # those between keep their places
    for place, code in enumerate(codes):
        if code not in full:
            continue
        levels = np.quantile(ages[bands == code, 2], (0.05, 0.25, 0.5, 0.75, 0.95))
        low, first, median, third, high = np.clip(levels, -MOST_AGE, MOST_AGE)
        axes.vlines(place, low, high, color="#9cc3de", linewidth=2)
        axes.bar(place, third - first, 0.55, first, color="#9cc3de")
        axes.hlines(median, place - 0.275, place + 0.275, color=MAIN, linewidth=2.4)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.set_xticks(range(len(codes)), [BAND_NAMES[code] for code in codes], fontsize=8)
    axes.set_xlim(-0.6, len(codes) - 0.4)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -LEAST_SHIFT), max(high, LEAST_SHIFT))
    axes.grid(visible=False, axis="x")
    axes.set(title="Age shifts by age", xlabel="age in A, years", ylabel="B less A, years")
    return Plot(
        "age-shift-by-age",
        png(made),
        "The age shifts of the faces in each age band of A",
        "Line: the median; box: the middle half of the faces; stroke: the middle nine tenths. Bands"
        f" of fewer than {FEW_BAND} faces are left empty.",
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
