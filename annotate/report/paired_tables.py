"""Tables of a paired comparison: two evaluations of the same images in, rows of words and digits
for pages, Markdown and terminals out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from annotate.errors import shown
from annotate.report.evaluation_tables import AGE_FIGURES, GENDER_FIGURES, Table
from annotate.report.pages import count
from annotate.report.wording import (
    Say,
    crossing,
    group,
    interval,
    share,
    share_interval,
    signed,
    some,
    years,
)
from annotate.slices import DIMENSIONS, FEW

if TYPE_CHECKING:
    from annotate.paired import Evaluated, PairedComparison
    from annotate.paired_metrics import Difference, PairedSlice

NAME_CHARS = 24

NONE_SEEN = "no difference seen"
"""Stands for an interval from 0 to 0, which would promise more than so many faces can."""


def names(compared: PairedComparison) -> tuple[str, str]:
    """What the two models are called: of this report, of the other one."""
    this, other = (_name(side) for side in (compared.this, compared.other))
    return (this, other) if this != other else (f"{this} (this)", f"{other} (other)")


def _name(side: Evaluated) -> str:
    return shown(side.model or "unknown", NAME_CHARS, quote=False)


def sentences(compared: PairedComparison) -> Iterator[str]:
    """What the comparison comes to, in words."""
    this, other = names(compared)
    yield (
        f"{some(compared.overall.n, 'image')} scored in both reports, compared face by face;"
        f" {compared.this.only:,} only in this one, {compared.other.only:,} only in the other."
    )
    if compared.labels_differ:
        yield (
            f"{some(compared.labels_differ, 'image')} labelled otherwise there: the labels of this"
            " report count for both."
        )
    error, right = compared.overall.age["mae"], compared.overall.gender["accuracy"]
    if error.difference.value is not None:
        yield f"Age error, {this} less {other}: {_verdict(error, years, interval)} years."
    if right.difference.value is not None:
        yield (
            f"Gender right, {this} less {other}:"
            f" {_verdict(right, share, share_interval)} percentage points."
        )
    yield from _wins(compared)


def _verdict(found: Difference, say: Say, say_interval: Say) -> str:
    if found.is_none_seen:
        return f"{NONE_SEEN}, {signed(found.difference, say)}"
    told = f"{signed(found.difference, say)} ({say_interval(found.difference)})"
    return told if found.is_clear else f"no clear difference, {told}"


def _interval(found: Difference, say: Say) -> str:
    return NONE_SEEN if found.is_none_seen else say(found.difference)


def _wins(compared: PairedComparison) -> Iterator[str]:
    this, other = names(compared)
    ages, genders = compared.ages_nearer, compared.genders_right
    if ages.this + ages.other + ages.equal:
        yield (
            f"Nearer to the labelled age by half a year or more: {this} in {ages.this:,} faces,"
            f" {other} in {ages.other:,}; alike in {ages.equal:,}."
        )
    if genders.this + genders.other + genders.equal + (genders.neither or 0):
        yield (
            f"Labelled gender: only {this} has it right in {genders.this:,} faces, only {other} in"
            f" {genders.other:,}; both in {genders.equal:,}, neither in {genders.neither:,}."
        )


def tables(compared: PairedComparison) -> Iterator[Table]:
    """Figures over all faces, then the two that decide by group; only where there are labels."""
    overall = compared.overall
    for caption, found, chosen in (
        ("Age", overall.age, AGE_FIGURES),
        ("Gender", overall.gender, GENDER_FIGURES),
    ):
        if any(difference.this.n for difference in found.values()):
            yield _figures(compared, caption, found, chosen)
    for name in DIMENSIONS:
        if compared.slices.get(name):
            yield _by_group(compared, name, compared.slices[name])


def _figures(
    compared: PairedComparison,
    caption: str,
    found: Mapping[str, Difference],
    chosen: Sequence[tuple[str, str, Say, Say]],
) -> Table:
    this, other = names(compared)
    n = max(difference.this.n for difference in found.values())
    return Table(
        ("Figure", this, other, "Difference", "95 % interval"),
        [
            (
                words,
                say(found[name].this),
                say(found[name].other),
                signed(found[name].difference, say),
                _interval(found[name], say_interval),
            )
            for name, words, say, say_interval in chosen
            if any(side.value is not None for side in (found[name].this, found[name].other))
        ],
        f"{caption}; {some(n, 'face')}, the difference with its paired 95 % interval",
    )


def _by_group(compared: PairedComparison, name: str, parts: Sequence[PairedSlice]) -> Table:
    this, other = names(compared)
    few = tuple(place for place, part in enumerate(parts) if part.few)
    caption = f"By labelled {crossing(name)}"
    if few:
        caption += f"; * fewer than {FEW} faces: the interval is too narrow to be trusted"
    heads = [crossing(name).capitalize(), "Faces"]
    heads += [f"Age error, years: {this}", other, "Difference", "95 % interval"]
    heads += [f"Gender right, %: {this}", other, "Difference", "95 % interval"]
    return Table(
        heads,
        [
            (
                group(part.where) + (" *" if part.few else ""),
                count(part.n),
                *_sides(part.age["mae"], years, interval),
                *_sides(part.gender["accuracy"], share, share_interval),
            )
            for part in parts
        ],
        caption,
        muted=few,
    )


def _sides(found: Difference, say: Say, say_interval: Say) -> tuple[str, str, str, str]:
    told = signed(found.difference, say)
    return say(found.this), say(found.other), told, _interval(found, say_interval)
