"""Markdown: an evaluation report in, the text of `metrics.md` out, to paste into a pull request.

What strangers wrote (names, races, paths) takes no effect there: no markup, HTML, link or mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from annotate.errors import shown
from annotate.evaluation_report import EvaluationReport
from annotate.mistakes import Mistakes
from annotate.report import evaluation_tables as tables
from annotate.report import paired_tables
from annotate.report.evaluation_tables import Table
from annotate.report.evaluation_words import made, notices, said, sentences
from annotate.report.faults import Faults, faults
from annotate.slices import FEW

DOUBTS = 10
"""Likely label errors of age and of gender that are named, each."""

FAULTS_SHOWN = 5
"""Faults of a kind that are named; metrics.json lists all."""

_MARKUP = re.compile(r"([\\`*_\[\]<>|~&])")
_LINK = re.compile(r"(?<!\w)@|://|www\.", re.IGNORECASE)
"""What forges make a link or a mention of, escaped or not; but not in a code span."""

_TICKS = re.compile(r"`+")


def evaluation_markdown(report: EvaluationReport) -> str:
    """The text of `metrics.md`."""
    return "\n\n".join(_blocks(report)) + "\n"


def _blocks(report: EvaluationReport) -> Iterator[str]:
    scores = report.scores
    yield f"## Evaluation of {code(report.model or 'predictions')}"
    yield f"{scores.scored:,} of {report.inputs:,} images of {code(report.folder)} scored."
    for kind, text in notices(report):
        yield f"> {'**Warning:** ' if kind == 'warn' else ''}{plain(text)}"
    yield listing(plain(sentence) for sentence in sentences(report))
    for table in _tables(report):
        yield markdown_table(table)
    yield from _compared(report)
    yield from _faults(report)
    yield from _doubts(report.scores.mistakes)
    yield "### How it was made"
    yield listing(f"{what}: {code(which)}" for what, which in made(report))
    yield (
        "Labels are apparent ages and a binary apparent gender. In brackets 95 % intervals over the"
        " faces of this folder; they say nothing of wrong labels or of other sources."
    )


def _tables(report: EvaluationReport) -> Iterator[Table]:
    """The tables that decide; `metrics.json` has all."""
    overall = report.scores.overall
    if overall.age.mae.n:
        yield tables.figures(overall.age, tables.AGE_FIGURES, "Age")
    if overall.gender.accuracy.n:
        yield tables.figures(overall.gender, tables.GENDER_FIGURES, "Gender")
    for name in ("age_band", "gender", "race", "gender_x_race"):
        found = tables.slices(report, name, least_n=FEW if "_x_" in name else 0)
        if found is not None:
            yield found
    gaps = tables.gaps(report)
    if gaps is not None:
        yield gaps
    yield from tables.thresholds(report)


def _compared(report: EvaluationReport) -> Iterator[str]:
    """How it stands beside another report."""
    found = report.compared
    if found is not None:
        yield f"### Compared with {code(found.other.model or 'another report')}"
        yield listing(plain(sentence) for sentence in paired_tables.sentences(found))
        for table in paired_tables.tables(found):
            yield markdown_table(table)


def _faults(report: EvaluationReport) -> Iterator[str]:
    if report.faults:
        yield "### Faults of the data"
        yield "\n".join(line for found in faults(report) for line in _named(found))


def _named(found: Faults) -> Iterator[str]:
    """The faults of a kind: how many, and the first by name in a list below."""
    yield f"- {plain(found.kind.replace('_', ' '))}: {len(found.found):,} ({plain(found.fate)})"
    for fault in found.found[:FAULTS_SHOWN]:
        detail = plain(shown(fault.detail, 160, quote=False))
        yield f"  - {code(fault.path or '(no path)')} {detail}"
    if len(found.found) > FAULTS_SHOWN:
        yield f"  - … and {len(found.found) - FAULTS_SHOWN:,} more: metrics.json lists all"


def _doubts(found: Mistakes) -> Iterator[str]:
    """The first of the likely label errors, by name."""
    for what, doubted in (("age", found.doubted_ages), ("gender", found.doubted_genders)):
        if doubted:
            yield f"### Likely wrong {what} labels: {len(doubted):,}"
            yield listing(f"{code(face.path)} {', '.join(said(face))}" for face in doubted[:DOUBTS])


def markdown_table(found: Table) -> str:
    """A table, its caption above it."""
    rule = ["---" if column in found.texts else "---:" for column in range(len(found.heads))]
    rows = [_row(found.heads), _line(rule), *map(_row, found.rows)]
    return "\n".join(([_caption(found.caption), ""] if found.caption else []) + rows)


def listing(items: Iterable[str]) -> str:
    """A list. items: Markdown, a line each."""
    return "\n".join(f"- {item}" for item in items)


def code(text: str) -> str:
    """A stranger's text as a code span, in which only its own end has a meaning."""
    # A bar would end a table's cell, even in a code span.
    inside = shown(text, 400, quote=False).replace("|", "¦") or " "
    fence = "`" * (1 + max((len(ticks) for ticks in _TICKS.findall(inside)), default=0))
    pad = " " if inside.startswith("`") or inside.endswith("`") else ""
    return f"{fence}{pad}{inside}{pad}{fence}"


def plain(text: str) -> str:
    """Printable text as Markdown that shows just that."""
    return code(text) if _LINK.search(text) else _MARKUP.sub(r"\\\1", text)


def _caption(text: str) -> str:
    """A caption, whose first part, which names the table, is bold."""
    end = next((place for place, char in enumerate(text) if char in ";."), len(text))
    return f"**{plain(text[:end])}**{plain(text[end:])}"


def _row(cells: Sequence[str]) -> str:
    return _line([plain(cell) for cell in cells])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
