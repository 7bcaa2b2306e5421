"""Exploration pages: an Exploration in, a folder with its page, plots and figures out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from annotate.engines import usable_cpus
from annotate.errors import shown
from annotate.label_counts import Crossing
from annotate.records import Status
from annotate.report import exploration_text as text
from annotate.report.exploration_plots import NAMES, exploration_plots, sample_sheet
from annotate.report.folder import json_text, write_files
from annotate.report.pages import count, percent, render_page
from annotate.report.thumbnails import thumbnails as make_thumbnails
from annotate.report.wording import some

if TYPE_CHECKING:
    from annotate.exploration import Exploration

PAGE = "exploration.html"
FIGURES = "exploration.json"

LARGE_PX = 320
"""Side of the one image that is shown large."""

FAULTS_SHOWN = 50
"""Of a kind."""

GROUPS_SHOWN = 24
"""Groups of byte-identical files whose labels disagree."""

FILES_SHOWN = 6
"""Of a group."""


def write_report(
    explored: Exploration,
    folder: str | os.PathLike[str],
    *,
    thumbnails: bool = True,
    seed: int = 0,
) -> None:
    """Write the page, its plots and exploration.json. Raises AnnotateError.

    thumbnails: whether images are shown. seed: of which ones.
    """
    samples = explored.samples(seed=seed) if thumbnails else []
    pictures = make_thumbnails(samples, workers=usable_cpus())
    titles = [labels_of(row) for row in samples]
    plots = exploration_plots(explored)
    files: dict[str, bytes | str] = {f"{plot.name}.png": plot.png for plot in plots}
    if any(picture is not None for picture in pictures):
        sheet = sample_sheet(pictures, titles)
        files[f"{sheet.name}.png"] = sheet.png
    files[FIGURES] = json_text(explored.to_dict())
    page = render_page(
        "exploration.html",
        title="Exploration",
        explored=explored,
        text=text,
        plots=plots,
        large=_large(samples),
        samples=_sheet(samples, pictures),
        tables=list(_tables(explored)),
        identical=text.identical(explored),
        some=some,
        conflicts=_conflicts(explored, thumbnails=thumbnails),
        faults=list(_faults(explored)),
        files=list(files),
    )
    write_files(folder, files | {PAGE: page}, stale=[f"{name}.png" for name in NAMES])


def labels_of(row: Mapping[str, Any]) -> str:
    """The age and gender of a row in words: "26, female"."""
    age = None if row["age"] is None else f"{row['age']:g}"
    return ", ".join(value for value in (age, row["gender"]) if value) or "no label"


def _large(samples: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The image that is shown large: the one in the middle of the samples."""
    if not samples:
        return None
    row = samples[len(samples) // 2]
    (picture,) = make_thumbnails([row], LARGE_PX)
    if picture is None:
        return None
    size = f"{row['width']:,} x {row['height']:,} px"
    race = row["race"] and shown(row["race"], text.NAME_CHARS, quote=False)
    labels = ", ".join(value for value in (labels_of(row), race) if value)
    return {"picture": picture, "path": row["path"], "labels": labels, "size": size}


def _sheet(samples: list[dict[str, Any]], pictures: list[bytes | None]) -> list[dict[str, Any]]:
    return [
        {"picture": picture, "lines": [labels_of(row), *_race(row)]}
        for row, picture in zip(samples, pictures, strict=True)
    ]


def _race(row: Mapping[str, Any]) -> list[str]:
    return [shown(row["race"], text.NAME_CHARS, quote=False)] if row["race"] else []


def _tables(explored: Exploration) -> Iterator[dict[str, Any]]:
    """Tables of the crossings that there are."""
    counts = explored.counts
    crossings = (
        ("Age band", "Age and gender", counts.band_by_gender, counts.labelled["age"]),
        ("Race", "Race and gender", counts.race_by_gender, counts.labelled["race"]),
        ("Age band", "Age and race", counts.band_by_race, counts.labelled["race"]),
    )
    for head, caption, crossing, labelled in crossings:
        if labelled and crossing.n.sum():
            yield {"caption": caption, "heads": _heads(head, crossing), "rows": _cells(crossing)}


def _heads(head: str, crossing: Crossing) -> list[str]:
    return [head, "All", "Share (%)", *map(text.named, crossing.columns)]


def _cells(crossing: Crossing) -> list[list[str]]:
    total = int(crossing.n.sum())
    rows = []
    for name, counts in zip(crossing.rows, crossing.n.tolist(), strict=True):
        whole = sum(counts)
        rows.append([text.named(name), count(whole), percent(whole / total), *map(count, counts)])
    return rows


def _conflicts(explored: Exploration, *, thumbnails: bool) -> list[dict[str, Any]]:
    """Byte-identical files whose labels disagree: one picture each, and what their names say."""
    groups = [
        group
        for group in explored.identical_rows
        if len({(row["age"], row["gender"], row["race"]) for row in group}) > 1
    ]
    chosen = groups[:GROUPS_SHOWN]
    items: list[dict[str, Any]] = [{"lines": list(_said(group))} for group in chosen]
    if thumbnails:
        firsts = [group[0] for group in chosen]
        pictures = make_thumbnails(firsts, workers=usable_cpus())
        for item, picture in zip(items, pictures, strict=True):
            item["picture"] = picture
    return items


def _said(group: list[dict[str, Any]]) -> Iterator[str]:
    said = (", ".join([labels_of(row), *_race(row)]) for row in group)
    yield from itertools.islice(dict.fromkeys(said), FILES_SHOWN)
    for row in group[:FILES_SHOWN]:
        yield shown(row["path"], 120, quote=False)
    if len(group) > FILES_SHOWN:
        yield f"and {some(len(group) - FILES_SHOWN, 'more file')}"


def _faults(explored: Exploration) -> Iterator[dict[str, Any]]:
    """The faults of each kind, and the images that could not be decoded."""
    columns = (explored.rows.column(name).to_pylist() for name in ("path", "status", "error"))
    failed = [
        (path, f"{status}: {error or ''}".rstrip(": "))
        for path, status, error in zip(*columns, strict=True)
        if status != Status.OK
    ]
    if failed:
        yield _named_faults("not decoded", "", failed)
    for kind, fate in text.FATES.items():
        found = [(fault.path, fault.detail) for fault in explored.faults if fault.kind == kind]
        if found:
            yield _named_faults(kind.replace("_", " "), fate, found)


def _named_faults(kind: str, fate: str, found: list[tuple[str, str]]) -> dict[str, Any]:
    rows = [
        (shown(path, 200, quote=False) or "(no path)", shown(detail, 300, quote=False))
        for path, detail in found[:FAULTS_SHOWN]
    ]
    return {"kind": kind, "fate": fate, "n": len(found), "rows": rows}
