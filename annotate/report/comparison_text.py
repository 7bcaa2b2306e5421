"""Comparison text: a Comparison in, lines for a terminal out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from annotate.errors import shown
from annotate.report.wording import some

if TYPE_CHECKING:
    from annotate.comparison import Comparison, Side

NAMES_SHOWN = 10
"""Faces that are named of those that moved most; comparison.json names more."""


def render(comparison: Comparison) -> str:
    """The whole comparison, without a final newline; what names hold is made printable."""
    blocks = (
        _head(comparison),
        _inputs(comparison),
        _faces(comparison),
        _gender(comparison),
        _age(comparison),
        _bands(comparison),
        _shifts(comparison.largest_shifts(NAMES_SHOWN)),
        _flips(comparison.surest_flips(NAMES_SHOWN)),
    )
    return "\n\n".join("\n".join(block) for block in map(list, blocks) if block)


def _head(comparison: Comparison) -> Iterator[str]:
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        yield f"{letter}  {shown(side.path, 200, quote=False)}"
        yield f"   {counts(side)}"
        yield f"   {made_with(side)}"
    yield how_made(comparison)


def counts(side: Side) -> str:
    """What an output holds."""
    return ", ".join((some(side.rows, "row"), some(side.inputs, "input"), some(side.faces, "face")))


def made_with(side: Side) -> str:
    """What an output was made with, in a line."""
    made = side.made_with
    if not made:
        return "made with: not known, it has no metadata"
    digest = made.get("model_sha256")
    model = shown(made.get("model") or "unknown", quote=False)
    of = f" (sha256 {shown(digest, 12, quote=False)})" if digest is not None else ""
    rest = ", ".join(
        f"{name} {shown(made[name], quote=False)}"
        for name in ("faces", "engine", "device")
        if made.get(name) is not None
    )
    return f"model {model}{of}" + (f", {rest}" * bool(rest))


def how_made(comparison: Comparison) -> str:
    """In what the making of the two differs, in a line."""
    if not comparison.is_made_known:
        return "Whether they were made in the same way is not known: CSV and JSON lines do not say."
    differing = comparison.made_differently
    if "model" in differing:  # that its hash is another one goes without saying
        differing.pop("model_sha256", None)
    told = ", ".join(
        f"{name} {shown(b, 20, quote=False)} instead of {shown(a, 20, quote=False)}"
        for name, (a, b) in differing.items()
    )
    return f"B was made with {told}." if told else "Both were made in the same way."


def _inputs(comparison: Comparison) -> Iterator[str]:
    found = comparison.inputs
    yield f"inputs in both    {found.both:>10,}{_by_path(found.by_path)}"
    if found.rewritten:
        yield f"  rewritten       {found.rewritten:>10,}  same path, other bytes: not compared"
    yield f"  new in B        {found.new:>10,}"
    yield f"  vanished from A {found.vanished:>10,}"
    for (a, b), n in comparison.status_changes.items():
        yield f"  {a} -> {b} {n:,}"


def _by_path(n: int) -> str:
    return f"  {n:,} of them by path: one has no hash of their bytes" * bool(n)


def _faces(comparison: Comparison) -> Iterator[str]:
    faces = comparison.faces
    yield f"faces in both     {faces.both:>10,}"
    yield f"  new in B        {faces.new:>10,}"
    yield f"  gone from A     {faces.gone:>10,}"
    others = (
        (faces.in_new_inputs, "in new inputs"),
        (faces.in_vanished_inputs, "in vanished inputs"),
        (faces.in_rewritten_a, "in rewritten inputs as A has them"),
        (faces.in_rewritten_b, "in rewritten inputs as B has them"),
    )
    told = ", ".join(f"{n:,} {where}" for n, where in others if n)
    if told:
        yield f"  not compared: {told}"


def _gender(comparison: Comparison) -> Iterator[str]:
    gender = comparison.gender
    if gender.n:
        yield (
            f"gender of {some(gender.n, 'face')}: {gender.flips:,} changed"
            f" ({percent(gender.flips, gender.n)}), {gender.to_female:,} to female,"
            f" {gender.to_male:,} to male"
        )


def _age(comparison: Comparison) -> Iterator[str]:
    age = comparison.age
    if age.mean is None or age.mean_size is None:
        return
    yield f"age of {some(age.n, 'face')}, years, B less A"
    yield f"  mean shift {age.mean:+.2f}, mean size of a shift {age.mean_size:.2f}"
    levels = "  ".join(
        f"{100 * level:g} % {value:+.1f}"
        for level, value in age.quantiles.items()
        if value is not None
    )
    yield f"  quantiles  {levels}"
    beyond = ", ".join(
        f"{years} years {n:,} ({percent(n, age.n)})" for years, n in age.beyond.items()
    )
    yield f"  moved by more than {beyond}"


def _bands(comparison: Comparison) -> Iterator[str]:
    if len(comparison.by_band) < 2:
        return
    yield f"{'by age in A':<12}{'n':>10}{'mean shift':>12}{'mean size':>11}{'gender changed':>22}"
    for part in comparison.by_band:
        mean, size = (
            "-" if value is None else form.format(value)
            for form, value in (("{:+.2f}", part.age.mean), ("{:.2f}", part.age.mean_size))
        )
        flips = f"{part.gender.flips:,} ({percent(part.gender.flips, part.gender.n)})"
        yield f"  {part.band:<10}{part.age.n:>10,}{mean:>12}{size:>11}{flips:>22}"


def _shifts(rows: list[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield "largest age shifts"
    for row in rows:
        yield f"  {row['age_shift']:+6.1f}  {row['age_a']:.1f} -> {row['age_b']:.1f}  {where(row)}"


def _flips(rows: list[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield "changed genders, the surest first"
    for row in rows:
        yield f"  {flip(row)}  {where(row)}"


def flip(row: Mapping[str, Any]) -> str:
    """What both say of a face's gender, with the probability that it is female."""
    sides = [
        f"{row[f'gender_{side}']} {probability(row[f'female_probability_{side}'])}" for side in "ab"
    ]
    return " -> ".join(sides)


def probability(value: float | None) -> str:
    """A probability in two decimals; a dash for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"


def where(row: Mapping[str, Any], limit: int = 120) -> str:
    """The path of a row in B, or in A, and which of its faces it is about, if there are several."""
    path = shown(row["path_b"] if row["path_b"] is not None else row["path_a"], limit, quote=False)
    index = row["face_index_b"] if row["face_index_b"] is not None else row["face_index_a"]
    return f"{path}, face {index + 1}" if index else path


def percent(part: int, whole: int) -> str:
    """A share in per cent; a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
