"""Plots of a paired comparison: the differences by group in, pictures of them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from annotate.metrics import Metric
from annotate.report.paired_tables import names
from annotate.report.plots import MAIN, SOFT, Plot, dot, figure, look, png
from annotate.report.wording import number

if TYPE_CHECKING:
    from annotate.paired import PairedComparison

NAMES = ("compared-age-by-band", "compared-gender-by-band")
"""All plots that there may be, by the names of their files without `.png`."""


def paired_plots(compared: PairedComparison | None) -> dict[str, Plot]:
    """The differences by labelled age band, where there are any, by name."""
    if compared is None:
        return {}
    with look():
        return {plot.name: plot for plot in _plots(compared)}


def _plots(compared: PairedComparison) -> Iterator[Plot]:
    bands = compared.slices.get("age_band", ())
    this, other = names(compared)
    errors = [(part.where["age_band"], part.age["mae"].difference) for part in bands]
    shares = [
        (part.where["age_band"], _hundredfold(part.gender["accuracy"].difference)) for part in bands
    ]
    of = f"{this} less {other}"
    yield from _differences(NAMES[0], "Age error, difference by age", errors, f"years, {of}", this)
    yield from _differences(
        NAMES[1],
        "Gender right, difference by age",
        shares,
        f"percentage points, {of}",
        this,
        is_more_better=True,
    )


def _hundredfold(found: Metric) -> Metric:
    """A share in percentage points."""
    value, low, high = (
        None if part is None else 100 * part for part in (found.value, found.low, found.high)
    )
    return Metric(value, low, high, found.n)


def _differences(
    name: str,
    title: str,
    found: Sequence[tuple[str, Metric]],
    axis: str,
    this: str,
    *,
    is_more_better: bool = False,
) -> Iterator[Plot]:
    """A difference by age band with its interval; nothing where there is none."""
    known = [(band, metric) for band, metric in found if metric.value is not None]
    if not known:
        return
    made, axes = figure()
    for place, (_, metric) in enumerate(known):
        if metric.value == metric.low == metric.high == 0:
            axes.plot([place], [0], "o", color=MAIN, markerfacecolor="white", markersize=5)
        else:
            dot(axes, place, metric)
    axes.axhline(0, color=SOFT, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(known)), [f"{band}\n{metric.n:,}" for band, metric in known])
    axes.tick_params(axis="x", labelsize=8)
    axes.set(xlabel="age band of the label; number of faces below", ylabel=axis)
    axes.set_xlim(-0.6, len(known) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_title(title)
    told = "; ".join(f"{band}: {number(metric.value, 2)}" for band, metric in known)
    better = "Above" if is_more_better else "Below"
    yield Plot(
        name,
        png(made),
        f"{title}. {told}.",
        f"{better} the dashed line {this} is better. Paired 95 % intervals; rings: no"
        " difference seen.",
    )
