"""The part of an evaluation's report that sets it beside another one: a PairedComparison in, what
the page, its folder and the terminal have of it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotate.errors import shown
from annotate.report.evaluation_tables import Table
from annotate.report.folder import json_text
from annotate.report.paired_plots import NAMES
from annotate.report.paired_tables import names, sentences, tables

if TYPE_CHECKING:
    from annotate.paired import PairedComparison

FIGURES = "compared.json"

PAIRED_FILES = (FIGURES, *(f"{name}.png" for name in NAMES))
"""Files that a report has only where it was compared."""


@dataclass(frozen=True)
class PairedSection:
    """What `paired.html` shows. this, other: what the two models are called. plots: their names."""

    this: str
    other: str
    folder: str
    sentences: Sequence[str]
    plots: Sequence[str]
    tables: Sequence[Table]


def paired_section(compared: PairedComparison | None) -> PairedSection | None:
    """The page's section; None where the report was not compared."""
    if compared is None:
        return None
    this, other = names(compared)
    return PairedSection(
        this,
        other,
        shown(compared.other.folder or "", 300, quote=False),
        list(sentences(compared)),
        NAMES,
        list(tables(compared)),
    )


def paired_files(compared: PairedComparison | None) -> dict[str, bytes | str]:
    """The files beside the page, by name, but for the plots."""
    return {} if compared is None else {FIGURES: json_text(compared.to_dict())}


def text_blocks(compared: PairedComparison) -> Iterator[Iterator[str]]:
    """Lines for a terminal: what it comes to, and the figures over all faces."""
    folder = shown(compared.other.folder or "", 200, quote=False)
    yield iter([f"compared with {folder}", *(f"  {said}" for said in sentences(compared))])
    for table in tables(compared):
        if table.heads[0] == "Figure":
            yield _aligned(table)


def _aligned(table: Table) -> Iterator[str]:
    """Columns as wide as they need, words to the left and numbers to the right."""
    lines = [table.heads, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    yield table.caption
    for line in lines:
        cells = (
            cell.ljust(width) if place in table.texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield f"  {'  '.join(cells).rstrip()}"
