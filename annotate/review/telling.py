"""Telling: what of a journal cannot be used, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from annotate.errors import shown
from annotate.review.corrections import Line


def remarks(path: Path, unreadable: int, gone: Sequence[Line]) -> Iterator[str]:
    """A sentence on each thing that a person has to know. path: of the journal.

    unreadable: how many of its lines cannot be read. gone: those of faces that are not there.
    """
    if unreadable:
        lines, are = ("line", "is") if unreadable == 1 else ("lines", "are")
        where = shown(str(path), 300)
        yield f"{unreadable:,} {lines} of {where} cannot be read and {are} passed over"
    if gone:
        first = shown(gone[0].face.path or gone[0].face.sha256, 200)
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        yield f"corrected, but not in this output any more: a face of {first}{more}"
