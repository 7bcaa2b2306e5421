"""Comparison pages: a Comparison in, a folder with its page, plots, figures and table out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.engines import usable_cpus
from annotate.errors import shown
from annotate.report import comparison_text as text
from annotate.report.comparison_plots import NAMES, comparison_plots
from annotate.report.comparison_text import counts, flip, how_made, made_with, percent, where
from annotate.report.folder import json_text, write_files
from annotate.report.pages import MISSING, count, number, render_page
from annotate.report.thumbnails import thumbnails as make_thumbnails
from annotate.writers import write_parquet

if TYPE_CHECKING:
    from annotate.comparison import Comparison, Side

PAGE = "comparison.html"
FIGURES = "comparison.json"
TABLE = "comparison.parquet"

STATUSES_SHOWN = 30

NAMES_SHOWN = 200
"""Inputs or faces of a kind that are named in a list."""

SHOWN = 48
"""Faces that are shown of those that moved most."""


def write_report(
    comparison: Comparison, folder: str | os.PathLike[str], *, thumbnails: bool = True
) -> None:
    """Write the page, its plots, comparison.json and comparison.parquet. Raises AnnotateError.

    thumbnails: whether the page shows the faces that moved most, or names them only.
    """
    plots = comparison_plots(comparison)
    files: dict[str, bytes | str] = {f"{plot.name}.png": plot.png for plot in plots}
    files[FIGURES] = json_text(comparison.to_dict())
    write_parquet(comparison.rows, Path(folder) / TABLE)
    shifts, flips = comparison.largest_shifts(SHOWN), comparison.surest_flips(SHOWN)
    named = [*shifts, *flips]
    pictures = _pictures(named) if thumbnails else None
    page = render_page(
        "comparison.html",
        title="Comparison",
        comparison=comparison,
        sides=[_side("A", comparison.a), _side("B", comparison.b)],
        how_made=how_made(comparison),
        plots=plots,
        inputs_table=_input_rows(comparison),
        faces_table=_face_rows(comparison),
        statuses=_statuses(comparison.status_changes),
        rewritten_statuses=_statuses(comparison.rewritten_status_changes),
        names=_names(comparison),
        bands=_bands(comparison),
        shifts=_sheet(shifts, pictures, _shift),
        flips=_sheet(flips, pictures and pictures[len(shifts) :], _flip),
        percent_of=percent,
        signed=signed,
        files=(FIGURES, TABLE),
    )
    write_files(folder, files | {PAGE: page}, stale=[f"{name}.png" for name in NAMES])


def signed(value: float | None, digits: int = 2) -> str:
    """A difference in so many decimals, with its sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return MISSING
    return text.signed(value, digits).replace("-", "−")


def _side(letter: str, side: Side) -> dict[str, Any]:
    return {
        "letter": letter,
        "path": shown(side.path, 300, quote=False),
        "counts": counts(side),
        "made": made_with(side),
    }


def _input_rows(comparison: Comparison) -> list[tuple[str, str]]:
    found = comparison.inputs
    unusual = (
        ("of these, found by path: one has no hash of their bytes", found.by_path),
        ("rewritten: the same path, other bytes; not compared", found.rewritten),
    )
    return [
        ("in both", count(found.both)),
        *((what, count(n)) for what, n in unusual if n),
        ("new in B", count(found.new)),
        ("vanished from A", count(found.vanished)),
    ]


def _face_rows(comparison: Comparison) -> list[tuple[str, str]]:
    found = comparison.faces
    not_compared = (
        ("not compared: in new inputs", found.in_new_inputs),
        ("not compared: in vanished inputs", found.in_vanished_inputs),
        ("not compared: in rewritten inputs, as A has them", found.in_rewritten_a),
        ("not compared: in rewritten inputs, as B has them", found.in_rewritten_b),
    )
    return [
        ("in both", count(found.both)),
        ("new in B, in inputs that both have", count(found.new)),
        ("gone from A, in inputs that both have", count(found.gone)),
        *((what, count(n)) for what, n in not_compared if n),
    ]


def _statuses(changes: Mapping[tuple[str, str], int]) -> list[tuple[str, ...]]:
    return [(a, b, count(n)) for (a, b), n in list(changes.items())[:STATUSES_SHOWN]]


def _names(comparison: Comparison) -> list[dict[str, Any]]:
    """What came, went or changed, by name, for lists that are folded."""
    return [
        {"title": f"{title}: {n:,}", "names": names, "more": n - len(names)}
        for title, n, names in text.kinds(comparison, NAMES_SHOWN, "→")
    ]


def _bands(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (
            part.band,
            count(part.age.n),
            signed(part.age.mean),
            number(part.age.mean_size),
            f"{part.gender.flips:,} ({percent(part.gender.flips, part.gender.n)})",
        )
        for part in comparison.by_band
    ]


def _pictures(rows: Sequence[Mapping[str, Any]]) -> list[bytes | None]:
    """Of each row a picture of its face: where B has it, or else where A has it."""
    workers = usable_cpus()
    pictures = make_thumbnails([_placed(row, "b") for row in rows], workers=workers)
    missing = [at for at, picture in enumerate(pictures) if picture is None]
    others = make_thumbnails([_placed(rows[at], "a") for at in missing], workers=workers)
    for at, picture in zip(missing, others, strict=True):
        pictures[at] = picture
    return pictures


def _placed(row: Mapping[str, Any], side: str) -> dict[str, Any]:
    return {**row, "source": row[f"source_{side}"], "path": row[f"path_{side}"]}


def _sheet(
    rows: Sequence[Mapping[str, Any]],
    pictures: Sequence[bytes | None] | None,
    said: Callable[[Mapping[str, Any]], str],
) -> list[dict[str, Any]]:
    """What the page's sheets of faces are made of. pictures: None where none are wanted."""
    items: list[dict[str, Any]] = [{"lines": (said(row), where(row))} for row in rows]
    for item, picture in zip(items, pictures or (), strict=False):
        item["picture"] = picture
    return items


def _shift(row: Mapping[str, Any]) -> str:
    """Both ages of a face, and its shift, to a tenth of a year where they are not whole."""
    shift = signed(row["age_shift"], 1).removesuffix(".0")
    return f"{text.years(row['age_a'])} → {text.years(row['age_b'])} years ({shift})"


def _flip(row: Mapping[str, Any]) -> str:
    """As the text has it, with the arrow of the page."""
    return flip(row).replace(" -> ", " → ")
