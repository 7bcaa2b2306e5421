"""Plots: what all of a report's figures have in common.

Figures are made without pyplot, whose state is one for the whole program of whoever calls us.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from annotate.metrics import Metric
from annotate.report.pictures import COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MAIN, MILD, PALE, SOFT = "#0b6aa8", "#8dbfe2", "#cfe3f2", "#5a6270"
"""Colours of what a plot is about; of what stands back in it; of areas, such as intervals; of lines
and words around it."""

FEMALE, MALE = COLOURS["female"], COLOURS["male"]

PIXELS_PER_INCH = 144

_LOOK: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",  # comes inside matplotlib: the same on every machine
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa2ad",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "figure.dpi": PIXELS_PER_INCH,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    # File names and labels may hold dollar signs, which are no formulas.
    "text.parse_math": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as a page and a file have it. name: of the PNG file, without its suffix.

    alt: what it shows, for those who do not see it. caption: how to read it.
    """

    name: str
    png: bytes = field(repr=False)
    alt: str
    caption: str = ""


@contextmanager
def look() -> Iterator[None]:
    """Have what is drawn inside look as all our plots do; everything else keeps its settings."""
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        yield


def figure(width: float = 5.2, height: float = 3.7) -> tuple[Figure, Axes]:
    """An empty figure and its axes, sizes in inches. Call it inside look().

    At the usual width two are beside each other in a page, and a phone still shows their letters.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots()


def stacked(
    heights: tuple[float, ...], width: float = 5.2, height: float = 4.4
) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes, one below the other, with one x axis. Call it inside look().

    heights: of the axes, one relative to the other. Sizes in inches.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    return made, list(axes[:, 0])


def dot(axes: Axes, place: float, metric: Metric, colour: str = MAIN) -> None:
    """A figure with its interval, if it has one; nothing where there is no figure."""
    if metric.value is None:
        return
    if metric.low is not None and metric.high is not None:
        axes.plot([place, place], [metric.low, metric.high], color=colour, linewidth=1.6)
    axes.plot([place], [metric.value], "o", color=colour, markersize=5)


def band(axes: Axes, at: Sequence[float], metrics: Sequence[Metric], colour: str = MAIN) -> None:
    """A line through figures, with their intervals as a band around it, where they have any."""
    lows = [math.nan if metric.low is None else metric.low for metric in metrics]
    highs = [math.nan if metric.high is None else metric.high for metric in metrics]
    axes.fill_between(at, lows, highs, color=PALE, linewidth=0)
    axes.plot(at, values(metrics), ".-", color=colour, linewidth=1.6, markersize=6)


def values(metrics: Iterable[Metric]) -> list[float]:
    """The figures alone; NaN, which draws nothing, where there is none."""
    return [math.nan if metric.value is None else metric.value for metric in metrics]


def percent_axis(axes: Axes, y: str, x: str | None = None) -> None:
    """Name the y axis, and the x axis if it has a name here, and have them say per cent."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylabel(y)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    if x is not None:
        axes.set_xlabel(x)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def count_axis(axes: Axes, y: str, *, is_log: bool = False) -> None:
    """Name the y axis and have it say whole numbers; by powers of ten where they differ a lot."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    axes.set_ylabel(y)
    if is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def count_ticks(axis: Axis) -> None:
    """Have an axis say whole numbers in steps that people count in: 1, 2, 5, 10, and so on."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def png(made: Figure) -> bytes:
    """A figure as a PNG file; the same figure gives the same bytes. Call it inside look()."""
    data = io.BytesIO()
    made.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
