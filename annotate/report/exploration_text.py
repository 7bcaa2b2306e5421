"""Exploration text: an Exploration in, lines for a terminal out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from annotate.errors import shown
from annotate.label_counts import NONE, Crossing
from annotate.records import Status
from annotate.report.wording import some

if TYPE_CHECKING:
    from annotate.exploration import Exploration

NAMES_SHOWN = 10
"""Faults of a kind that are named; exploration.json lists all."""

SIZES_SHOWN = 3

NAME_CHARS = 24
"""Of a race, which may be any text, so many characters are shown."""

FATES = {
    "malformed_name": "no label",
    "invalid_value": "that label is not used",
    "duplicate_row": "no label",
    "missing_file": "there is no such image",
    "unlabelled": "no label",
    "odd_name": "labels read",
    "label_conflict": "byte-identical files with different labels",
}
"""What a kind of fault means, in the order of the report."""


def render(explored: Exploration) -> str:
    """The whole exploration, without a final newline; what names hold is made printable."""
    counts = explored.counts
    blocks = (
        _head(explored),
        _ages(explored),
        _crossing("age band", counts.band_by_gender),
        _crossing("race", counts.race_by_gender if counts.labelled["race"] else None),
        _crossing("age band", counts.band_by_race if counts.labelled["race"] else None),
        _duplicates(explored),
        _faults(explored),
    )
    return "\n\n".join("\n".join(block) for block in map(list, blocks) if block)


def _head(explored: Exploration) -> Iterator[str]:
    yield f"folder  {shown(explored.folder, 200, quote=False)}"
    yield f"images  {explored.rows.num_rows:,}{not_decoded(explored)}"
    if explored.skipped:
        yield f"        not images: {passed_over(explored)}"
    counts = ", ".join(f"{name} {n:,}" for name, n in explored.counts.labelled.items())
    yield f"labels  from {label_source(explored)}: {counts}"
    if not any(explored.counts.labelled.values()):
        yield f"        {no_labels(explored)}"
    yield f"sizes   {sizes(explored)}; {megabytes(explored.size_bytes)} in all"
    if explored.counts.genders and explored.counts.labelled["gender"]:
        yield f"gender  {shares(explored.counts.genders)}"


def not_decoded(explored: Exploration) -> str:
    """How many images could not be decoded, by status."""
    others = sorted((s, n) for s, n in explored.by_status.items() if s != Status.OK)
    told = ", ".join(f"{status} {n:,}" for status, n in others)
    return f", {sum(n for _, n in others):,} not decoded ({told})" if told else ", all decoded"


def passed_over(explored: Exploration) -> str:
    """The entries of the folder that are no inputs, by reason."""
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(explored.skipped.items()))


def label_source(explored: Exploration) -> str:
    """Where the labels come from, in words."""
    return "file names" if explored.label_source == "utkface_name" else "the label table"


def no_labels(explored: Exploration) -> str:
    """What to do where no image has a label."""
    if explored.label_source == "utkface_name":
        return "none is named [age]_[gender]_[race]_[timestamp].jpg; --labels TABLE reads a table"
    return "the table has none of these images: its column path is relative to the folder"


def sizes(explored: Exploration) -> str:
    """The commonest sizes of the images."""
    found = explored.sizes
    if not found:
        return "not known"
    told = ", ".join(f"{w:,} x {h:,} px ({n:,})" for w, h, n in found[:SIZES_SHOWN])
    if len(found) <= SIZES_SHOWN:
        return told
    sides = [side for w, h, _ in found for side in (w, h)]
    commonest = f"; the commonest: {told}" if found[0][2] > 1 else ""
    return f"{len(found):,}, sides of {min(sides):,} to {max(sides):,} px{commonest}"


def megabytes(size_bytes: int) -> str:
    """A number of bytes for people."""
    return f"{size_bytes / 1e6:,.1f} MB"


def shares(counts: dict[str, int], *, with_counts: bool = True) -> str:
    """What the shares of labels are, and how many images that is."""
    total = sum(counts.values())
    of = {name: f"{100 * n / total:.1f} %" for name, n in counts.items()}
    if with_counts:
        return ", ".join(f"{name} {n:,} ({of[name]})" for name, n in counts.items())
    return ", ".join(f"{share} {name}" for name, share in of.items())


def named(label: str) -> str:
    """A label, or what stands for none."""
    return shown(label, NAME_CHARS, quote=False) if label != NONE else "no label"


def _ages(explored: Exploration) -> Iterator[str]:
    age = explored.counts.age
    if age is not None:
        yield (
            f"ages of {some(age.n, 'image')}: {age.youngest:g} to {age.oldest:g} years, mean"
            f" {age.mean:.1f}, median {age.median:g}"
        )


def _crossing(title: str, crossing: Crossing | None) -> Iterator[str]:
    """A table of counts, with sums and shares."""
    if crossing is None or not crossing.n.sum():
        return
    heads = [*map(named, crossing.columns), "all", "share"]
    total = crossing.n.sum()
    lines = [[title, *heads]]
    for row, counts in zip(crossing.rows, crossing.n.tolist(), strict=True):
        whole = sum(counts)
        cells = [f"{n:,}" for n in (*counts, whole)]
        lines.append([f"  {named(row)}", *cells, f"{100 * whole / total:.1f} %"])
    yield from _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they need, the first one to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        padded = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded]).rstrip()


def _duplicates(explored: Exploration) -> Iterator[str]:
    same = explored.duplicates
    if same.groups:
        yield (
            f"{identical(explored)}; they disagree about age in {same.age_conflicts:,}, gender in"
            f" {same.gender_conflicts:,} and race in {same.race_conflicts:,}"
        )


def identical(explored: Exploration) -> str:
    """How many byte-identical files there are, and of how many contents."""
    same = explored.duplicates
    groups = some(same.groups, "group")
    return f"{groups} of byte-identical files ({some(same.files, 'file')})"


def _faults(explored: Exploration) -> Iterator[str]:
    """Faults by kind with their first names."""
    for kind, fate in FATES.items():
        found = [fault for fault in explored.faults if fault.kind == kind]
        if found:
            yield f"{kind} {len(found):,} ({fate})"
        for fault in itertools.islice(found, NAMES_SHOWN):
            path = shown(fault.path, 120, quote=False) or "(no path)"
            yield f"  {path}: {shown(fault.detail, 160, quote=False)}"
        if len(found) > NAMES_SHOWN:
            yield f"  … and {len(found) - NAMES_SHOWN:,} more"
