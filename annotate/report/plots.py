"""Plots: what all of a report's figures have in common.

Figures are made without pyplot, whose state is one for the whole program of whoever calls us.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from annotate.report.pictures import COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAIN, SOFT = "#0b6aa8", "#5a6270"
"""Colour of what a plot is about; of lines and words around it."""

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
    # File names and labels may hold dollar signs, which are no formulas.
    "text.parse_math": False,
}


@contextmanager
def look() -> Iterator[None]:
    """Have what is drawn inside look as all our plots do; everything else keeps its settings."""
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        yield


def figure(width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    """An empty figure and its axes, sizes in inches. Call it inside look()."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots()


def png(made: Figure) -> bytes:
    """A figure as a PNG file; the same figure gives the same bytes. Call it inside look()."""
    data = io.BytesIO()
    made.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
