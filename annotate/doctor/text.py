"""Text: findings in, lines for a terminal out, as soon as each finding is made."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby

from annotate.doctor.findings import Finding, Verdict

MARKS = {Verdict.OK: "ok", Verdict.NOTE: "note", Verdict.FAULT: "FAULT"}

_MARK = "  {:<7}"
_MARK_WIDTH = 9
_NAME_WIDTH = 17
_INDENT = _MARK_WIDTH + _NAME_WIDTH + 1
_ARROW = "-> "
_TOGETHER = "\xa0"  # a space at which no line is broken

Style = Callable[[str, Verdict], str]


def render(
    findings: Iterable[Finding], width: int, style: Style = lambda mark, verdict: mark
) -> Iterator[str]:
    """Lines for people, each without its newline: a heading, then what was found below it.

    width: columns that a line may take. style: puts colour around a mark, which says the same
    without it.
    """
    for area, together in groupby(findings, lambda finding: finding.area):
        yield ""
        yield area
        well = []
        for finding in together:
            if finding.verdict is Verdict.OK and finding.brief:
                well.append(finding.brief.replace(" ", _TOGETHER))
            else:
                yield from _lines(finding, width, style)
        if well:
            mark = style(_MARK.format(MARKS[Verdict.OK]), Verdict.OK)
            yield from _paragraph(mark, _MARK_WIDTH, ", ".join(well), width)


def _lines(finding: Finding, width: int, style: Style) -> Iterator[str]:
    mark = style(_MARK.format(MARKS[finding.verdict]), finding.verdict)
    name = f"{finding.name:<{_NAME_WIDTH}} "
    start = mark + name
    if len(finding.name) > _NAME_WIDTH:  # the path of a model, say: the rest goes below it
        yield start.rstrip()
        start = " " * _INDENT
    yield from _paragraph(start, _INDENT, finding.said, width)
    if finding.to_do:
        yield from _paragraph(" " * _INDENT + _ARROW, _INDENT + len(_ARROW), finding.to_do, width)


def _paragraph(start: str, indent: int, text: str, width: int) -> Iterator[str]:
    """Words behind `start`, and below where it ends, which is at column `indent`."""
    room = max(width - indent, 20)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        yield (" " * indent if number else start) + line.replace(_TOGETHER, " ")


def closing(counts: Mapping[str, int], answered: int) -> str:
    """The last line. counts: verdict -> number of findings. answered: faults with an arrow."""
    faults, notes = counts.get(Verdict.FAULT, 0), counts.get(Verdict.NOTE, 0)
    if not faults:
        return "All is well" + f", {_number(notes, 'note')}" * bool(notes) + "."
    said = _number(faults, "fault") + f", {_number(notes, 'note')}" * bool(notes)
    if answered == faults:
        return f"{said}; arrows say what to do."
    some = f"; arrows say what to do about {answered} of the faults"
    return said + some * bool(answered) + "."


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
