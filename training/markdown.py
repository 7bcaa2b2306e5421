"""Markdown: figures and rows of cells in, text that reads well with and without a renderer out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ABSENT = "–"
"""What stands for a figure that is not defined."""


def table(header: Iterable[str], rows: Iterable[Iterable[str]], *, text_columns: int = 1) -> str:
    """A table. text_columns: the first so many are words, to the left; the rest are numbers."""
    head = list(header)
    rule = ["---" if column < text_columns else "---:" for column in range(len(head))]
    body = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def figure(found: Mapping[str, Any], digits: int) -> str:
    """A figure and its interval. found: {"value", "low", "high", …}. "5.01 (4.80 to 5.22)"."""
    text = number(found["value"], digits)
    if found["value"] is None or found.get("low") is None:
        return text
    return f"{text} ({number(found['low'], digits)} to {number(found['high'], digits)})"


def number(value: float | None, digits: int) -> str:
    """A number, or ABSENT; what rounds to 0 has no sign."""
    if value is None:
        return ABSENT
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def percent(share: float) -> str:
    """A share as whole per cent: "10 %"."""
    return f"{share:.0%}".replace("%", " %")


def listing(items: Iterable[str]) -> str:
    """Items in words: "a", "a and b", "a, b and c"."""
    words = list(items)
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
