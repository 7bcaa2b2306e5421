"""Comparison text: a Comparison in, lines for a terminal out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from annotate.errors import shown
from annotate.records import Status
from annotate.report.wording import some

if TYPE_CHECKING:
    from annotate.comparison import Comparison, Side

NAMES_SHOWN = 10
"""Inputs and faces that are named of a kind; comparison.json names more."""


def render(comparison: Comparison) -> str:
    """The whole comparison, without a final newline; what names hold is made printable."""
    blocks = (
        _head(comparison),
        _inputs(comparison),
        _faces(comparison),
        *(_names(*found) for found in kinds(comparison, NAMES_SHOWN)),
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
    for (a, b), n in comparison.rewritten_status_changes.items():
        yield f"  {a} -> {b} {n:,}, rewritten"


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


def kinds(comparison: Comparison, most: int, arrow: str = "->") -> list[tuple[str, int, list[str]]]:
    """What came, went or changed, by name: of each kind its title, how many there are, and the
    names of `most` of them. arrow: what stands between two statuses.
    """
    input_ = partial(named_input, arrow=arrow)
    inputs, faces = comparison.inputs, comparison.faces
    changed = sum(comparison.status_changes.values())
    rows_of, faces_of = comparison.inputs_of, comparison.faces_of
    found = (
        ("inputs new in B", inputs.new, map(input_, rows_of("new", most))),
        ("inputs vanished from A", inputs.vanished, map(input_, rows_of("vanished", most))),
        ("inputs rewritten", inputs.rewritten, map(input_, rows_of("rewritten", most))),
        ("inputs of another status", changed, map(input_, comparison.changed_statuses(most))),
        ("faces new in B", faces.new, map(named_face, faces_of("new", most))),
        ("faces gone from A", faces.gone, map(named_face, faces_of("gone", most))),
    )
    return [(title, n, list(names)) for title, n, names in found if n]


def _names(title: str, n: int, names: list[str]) -> Iterator[str]:
    yield f"{title} {n:,}"
    yield from (f"  {name}" for name in names)
    if n > len(names):
        yield f"  … and {n - len(names):,} more"


def named_input(row: Mapping[str, Any], arrow: str = "->") -> str:
    """The path of an input, and what became of it, where that is not the usual or has changed."""
    a, b = row["status_a"], row["status_b"]
    path = _path(row)
    if a is not None and b is not None:
        return f"{path}: {a} {arrow} {b}" if a != b else path
    status = b if a is None else a
    return path if status == Status.OK else f"{path}: {status}"


def named_face(row: Mapping[str, Any]) -> str:
    """Which face a row is about, and its age and gender in the output that has it."""
    side = "b" if row["face_index_b"] is not None else "a"
    age, gender = row[f"age_{side}"], row[f"gender_{side}"]
    said = (None if age is None or not math.isfinite(age) else f"{years(age)} years", gender)
    told = ", ".join(shown(value, 40, quote=False) for value in said if value is not None)
    return f"{where(row)}: {told}" if told else where(row)


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
    yield f"  mean shift {signed(age.mean)}, mean size of a shift {age.mean_size:.2f}"
    levels = "  ".join(
        f"{100 * level:g} % {signed(value, 1)}"
        for level, value in age.quantiles.items()
        if value is not None
    )
    yield f"  quantiles  {levels}"
    beyond = ", ".join(
        f"{some(limit, 'year')}: {n:,} ({percent(n, age.n)})" for limit, n in age.beyond.items()
    )
    yield f"  moved by more than {beyond}"


def _bands(comparison: Comparison) -> Iterator[str]:
    if len(comparison.by_band) < 2:
        return
    yield f"{'by age in A':<12}{'n':>10}{'mean shift':>12}{'mean size':>11}{'gender changed':>22}"
    for part in comparison.by_band:
        mean = "-" if part.age.mean is None else signed(part.age.mean)
        size = "-" if part.age.mean_size is None else f"{part.age.mean_size:.2f}"
        flips = f"{part.gender.flips:,} ({percent(part.gender.flips, part.gender.n)})"
        yield f"  {part.band:<10}{part.age.n:>10,}{mean:>12}{size:>11}{flips:>22}"


def _shifts(rows: list[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield "largest age shifts"
    for row in rows:
        yield (
            f"  {signed(row['age_shift'], 1):>6}  {row['age_a']:.1f} -> {row['age_b']:.1f}"
            f"  {where(row)}"
        )


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
    """The path of a row in B, or in A, and which of its faces it is about, counted from 1 and from
    the left as that output does, if there are several.
    """
    side = "b" if row["face_index_b"] is not None else "a"
    index, count = row[f"face_index_{side}"], row[f"face_count_{side}"]
    if index is None or (index == 0 and (count is None or count < 2)):
        return _path(row, limit)
    of = f" of {count}" if count is not None else ""
    return f"{_path(row, limit)}, face {index + 1}{of} in {side.upper()}"


def _path(row: Mapping[str, Any], limit: int = 120) -> str:
    """The path of a row in B; in A where only A has its input or its face."""
    is_of_b = row["path_b"] is not None and (
        row["face_index_b"] is not None or row["face_index_a"] is None
    )
    return shown(row["path_b"] if is_of_b else row["path_a"], limit, quote=False)


def years(value: float) -> str:
    """An age in years, to a tenth where it is not whole."""
    return f"{value:.1f}".removesuffix(".0")


def signed(value: float, digits: int = 2) -> str:
    """A difference in so many decimals with its sign; 0 has none, nor what is rounded to it."""
    said = f"{value:+.{digits}f}"
    return said if float(said) else said[1:]


def percent(part: int, whole: int) -> str:
    """A share in per cent; a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
