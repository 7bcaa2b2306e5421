"""Exploration plots: an Exploration in, its plots and a sheet of sample images out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from annotate.label_counts import NONE, Crossing
from annotate.metrics import Integers
from annotate.report.exploration_text import named
from annotate.report.pages import percent
from annotate.report.pictures import UNKNOWN_COLOUR
from annotate.report.plots import (
    FEMALE,
    MAIN,
    MALE,
    MILD,
    Plot,
    count_ticks,
    figure,
    look,
    png,
)
from annotate.report.wording import some

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from annotate.exploration import Exploration

COLOURS = {"female": FEMALE, "male": MALE, NONE: UNKNOWN_COLOUR}

NAMES = ("ages", "races", "genders", "ages-and-races", "sizes", "samples")
"""All plots that there may be, by the names of their files without `.png`."""

SHEET_COLUMNS = 8
TILE_INCHES = 1.05

DARK = 0.8
"""From this shade on, 0 to 1 on the scale of powers, letters are white."""

MOST_SIZES = 10
"""Sizes of images that get a bar each; more get dots."""


def exploration_plots(explored: Exploration) -> tuple[Plot, ...]:
    """Those plots for which there are labels, or different sizes."""
    with look():
        return tuple(_plots(explored))


def _plots(explored: Exploration) -> Iterator[Plot]:
    counts = explored.counts
    if counts.age is not None:
        yield _ages(counts.by_year)
    if counts.labelled["race"]:
        yield _races(counts.race_by_gender)
    elif counts.labelled["gender"]:
        yield _genders(counts.genders)
    if counts.age is not None and counts.labelled["race"]:
        yield _ages_and_races(counts.band_by_race)
    if len(explored.sizes) > 1:
        yield _sizes(explored.sizes)


def _ages(by_year: Crossing) -> Plot:
    """Images by age in years, genders one above the other."""
    made, axes = figure()
    years = np.array([int(year) for year in by_year.rows])
    _stacked(axes, years, by_year)
    axes.set(xlabel="labelled age, years", xlim=(-1, max(years.max(), 10) + 1))
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("images")
    count_ticks(axes.yaxis)
    axes.set_title("Ages")
    totals = by_year.n.sum(axis=1)
    most = int(years[totals.argmax()])
    return Plot(
        "ages",
        png(made),
        f"Histogram of the labelled ages by gender; {some(int(totals.max()), 'image')}, the most,"
        f" at {some(most, 'year')}",
        f"Each bar is a year. The longest one, of {some(int(totals.max()), 'image')}, is that of"
        f" {most}.",
    )


def _stacked(axes: Axes, places: Integers, crossing: Crossing) -> None:
    below = np.zeros(len(places), np.int64)
    for name, n in zip(crossing.columns, crossing.n.T, strict=True):
        colour = COLOURS.get(name, UNKNOWN_COLOUR)
        axes.bar(places, n, 0.9, below, color=colour, label=named(name))
        below += n
    if len(crossing.columns) > 1 or crossing.columns[0] != NONE:
        _legend(axes)


def _legend(axes: Axes) -> None:
    """Above the plot, beside its title, where it covers nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0)


def _races(race_by_gender: Crossing) -> Plot:
    """Images by race, genders beside each other."""
    names = [_drawable(row, 18) for row in race_by_gender.rows]
    made, axes = figure(height=max(2.4, 1.4 + 0.42 * len(names)))
    places = np.arange(len(names))
    before = np.zeros(len(names), np.int64)
    for name, n in zip(race_by_gender.columns, race_by_gender.n.T, strict=True):
        axes.barh(places, n, 0.72, before, color=COLOURS.get(name), label=named(name))
        before += n
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    _count_along(axes)
    _legend(axes)
    axes.set_title("Race and gender")
    told = "; ".join(f"{name}: {n:,}" for name, n in zip(names, before.tolist(), strict=True))
    return Plot(
        "races",
        png(made),
        f"Images by race and gender. {told}.",
        f"Each bar is a race. {_longest(names, before)}",
    )


def _longest(names: Sequence[str], n: Integers) -> str:
    """Which bar is the longest, and how much of the images it is."""
    most = int(n.argmax())
    share = percent(int(n[most]) / max(1, int(n.sum())), 0)
    return f"The longest one, {names[most]}, is {share} % of {some(int(n.sum()), 'image')}."


def _drawable(label: str, chars: int) -> str:
    """A label in so many characters, those that plots have no letter for replaced."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    text = named(label)
    text = text if len(text) <= chars else f"{text[: chars - 1]}…"
    return "".join(c if font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _genders(genders: Mapping[str, int]) -> Plot:
    made, axes = figure(height=2.2)
    names = list(genders)
    axes.barh(names, list(genders.values()), 0.72, color=[COLOURS[name] for name in names])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    _count_along(axes)
    axes.set_title("Gender")
    told = "; ".join(f"{name}: {n:,}" for name, n in genders.items())
    caption = f"Each bar is a gender. {_longest(names, np.array(list(genders.values())))}"
    return Plot("genders", png(made), f"Images by gender. {told}.", caption)


def _ages_and_races(band_by_race: Crossing) -> Plot:
    """Images by age band and race, as numbers on shades."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    rows, columns = len(band_by_race.rows), len(band_by_race.columns)
    made, axes = figure(max(5.2, 1.6 + 0.62 * columns), max(2.6, 1.3 + 0.34 * rows))
    shades = LinearSegmentedColormap.from_list("images", ("#f2f7fb", MILD, MAIN))
    most = max(2, int(band_by_race.n.max()))
    grid = np.ma.masked_equal(band_by_race.n, 0)
    axes.imshow(grid, cmap=shades, norm=LogNorm(1, most), aspect="auto")
    for i in range(rows):
        for j in range(columns):
            n = int(band_by_race.n[i, j])
            colour = "white" if n > most**DARK else "black"
            axes.text(j, i, f"{n:,}", ha="center", va="center", fontsize=9, color=colour)
    names = [_drawable(name, 10) for name in band_by_race.columns]
    axes.set_xticks(range(columns), names)
    axes.set_yticks(range(rows), [named(name) for name in band_by_race.rows])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(ylabel="labelled age, years")
    axes.set_title("Age and race")
    return Plot(
        "ages-and-races",
        png(made),
        "Images by age band and race, as in the table.",
        "Where cells are empty or small, a model learns little and a figure says little.",
    )


def _sizes(sizes: Sequence[tuple[int, int, int]]) -> Plot:
    """The sizes of the images: a bar each, or where there are many, a dot each."""
    made, axes = figure(height=3.7 if len(sizes) > MOST_SIZES else 1.4 + 0.3 * len(sizes))
    axes.set_title("Sizes, pixels")
    if len(sizes) > MOST_SIZES:
        _scattered(axes, sizes)
        caption = "A dot is a size; the darker, the more images have it."
    else:
        names = [f"{width:,} x {height:,}" for width, height, _ in sizes]
        axes.barh(names, [n for *_, n in sizes], 0.72, color=MAIN)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        _count_along(axes)
        caption = f"Each bar is a size. {_longest(names, np.array([n for *_, n in sizes]))}"
    told = "; ".join(f"{w:,} x {h:,}: {n:,}" for w, h, n in sizes[:MOST_SIZES])
    return Plot(
        "sizes", png(made), f"Images by size in pixels, the commonest first. {told}.", caption
    )


def _scattered(axes: Axes, sizes: Sequence[tuple[int, int, int]]) -> None:
    from matplotlib.ticker import LogLocator

    widths, heights, counts = (np.array(column, float) for column in zip(*sizes, strict=True))
    shades = np.clip(0.3 + 0.7 * counts / counts.max(), 0, 1)
    axes.scatter(widths, heights, s=18, color=MAIN, alpha=shades, linewidths=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:,.0f}")
        axis.set_minor_formatter("")
    axes.set(xlabel="width", ylabel="height")


def _count_along(axes: Axes) -> None:
    """Name the x axis and have it say whole numbers."""
    axes.set_xlabel("images")
    count_ticks(axes.xaxis)


def sample_sheet(pictures: Sequence[bytes | None], titles: Sequence[str]) -> Plot:
    """Sample images in a grid, a title above each; those without a picture are left out."""
    tiles = zip(pictures, titles, strict=True)
    shown = [(data, title) for data, title in tiles if data is not None]
    with look():
        return Plot("samples", _grid(shown), f"{len(shown)} sample images with their labels", "")


def _grid(shown: Sequence[tuple[bytes, str]]) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(SHEET_COLUMNS, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    close: Any = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    made = Figure((TILE_INCHES * columns, 1.16 * TILE_INCHES * rows), layout=close)
    grid: Any = made.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (data, title) in zip(grid.flat, shown, strict=False):
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:  # which we have made
            axes.imshow(np.asarray(picture))
        axes.set_title(title, fontsize=7.5, fontweight="normal", loc="center", pad=2)
    return png(made)
