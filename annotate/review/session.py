"""A session: an output and its journal in, pages of faces out; what the person says goes between.

Any number of threads may ask at the same time.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from annotate.metrics import Integers
from annotate.review.corrections import NOTHING, VERDICTS, Said
from annotate.review.faces import Faces
from annotate.review.filters import Filters, Listing, State
from annotate.review.journal import Journal
from annotate.review.placing import Entry, place

PAGE_ROWS = 60
MAX_VIEWS = 16
"""Lists of rows that are kept, so that the pages of one stay as they are while it is worked on."""


@dataclass(frozen=True)
class View:
    """The rows that some filters have let through, in order, when they were set."""

    number: int
    filters: Filters
    rows: Integers


class Session:
    """An output under review.

    faces, journal: what is reviewed, and where what is said is kept. listing: what there is to
    choose from. gone: corrections of faces that the output does not have.
    """

    def __init__(self, faces: Faces, journal: Journal) -> None:
        self.faces = faces
        self.journal = journal
        self.listing = Listing(faces)
        self._lock = threading.RLock()
        placed = place(faces, journal.lines)
        self.gone = placed.gone
        self._entries = list(placed.entries)
        self._said: dict[int, list[Said]] = {}
        self._states: Integers = np.zeros(len(faces), np.int64)
        for entry in self._entries:
            self._said.setdefault(entry.row, []).append(entry.said)
        for row in self._said:
            self._note(row)
        self._views: OrderedDict[int, View] = OrderedDict()
        self._view_count = 0

    def page(self, filters: Filters, page: int = 0, view: int | None = None) -> dict[str, Any]:
        """A page of rows as JSON values. view: the list that the person is looking at, by number;
        another one is made where it is not there any more, or is of other filters.
        """
        with self._lock:
            shown = self._view(filters, view)
            pages = max(1, -(-len(shown.rows) // PAGE_ROWS))
            page = min(max(page, 0), pages - 1)
            rows = shown.rows[page * PAGE_ROWS : (page + 1) * PAGE_ROWS].tolist()
            return {
                "view": shown.number,
                "found": len(shown.rows),
                "page": page,
                "pages": pages,
                "rows": self.described(rows),
                **self.tally(),
            }

    def described(self, rows: list[int]) -> list[dict[str, Any]]:
        """Rows for the page, with what was said of them."""
        with self._lock:
            return [
                known | {"said": asdict(self._latest(known["row"]))}
                for known in self.faces.described(rows)
            ]

    def say(self, row: int, change: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what a person says of a row's face. change: as in `Said.changed`.

        Returns what there is to be shown of it. Raises ValueError where nothing can be said of the
        row, or not this; AnnotateError where it cannot be kept.
        """
        with self._lock:
            if not self.faces.is_correctable[row]:
                raise ValueError("there is no face here")
            first = self._first(row)
            before = self._latest(row)
            said = before.changed(change)
            if said != before:
                line = self.journal.append(self.faces.name(row), said)
                self._entries.append(Entry(line.number, first, said))
                self._said.setdefault(first, []).append(said)
                self._note(first)
            return self._outcome(row, before)

    def undo(self) -> dict[str, Any] | None:
        """Take the last thing back that was said and not taken back; None where there is none.

        Raises AnnotateError where that cannot be kept.
        """
        with self._lock:
            if not self._entries:
                return None
            last = self._entries[-1]
            history = self._said[last.row]
            before = history[-2] if len(history) > 1 else NOTHING
            self.journal.append(self.faces.name(last.row), before, undoes=last.number)
            self._entries.pop()
            history.pop()
            self._note(last.row)
            return self._outcome(last.row, last.said)

    def tally(self) -> dict[str, Any]:
        """How far the review is: faces, and what was done about them."""
        with self._lock:
            counts = np.bincount(self._states[self.faces.is_correctable], minlength=len(State))
            return {
                "open": int(counts[State.OPEN]),
                "corrected": int(counts[State.CORRECTED]),
                "skipped": int(counts[State.SKIPPED]),
                "can_undo": bool(self._entries),
            }

    def kinds(self) -> Mapping[str, int]:
        """Of how many faces what was said: "gender", "age" and VERDICTS."""
        counts = Counter(dict.fromkeys(("gender", "age", *VERDICTS), 0))
        with self._lock:
            for history in self._said.values():
                said = history[-1] if history else NOTHING
                counts["gender"] += said.gender is not None
                counts["age"] += said.age is not None
                if said.verdict is not None:
                    counts[said.verdict] += 1
        return counts

    def end(self) -> None:
        """Wait for what is being kept, and keep nothing more."""
        self._lock.acquire()

    def _view(self, filters: Filters, number: int | None) -> View:
        known = self._views.get(number if number is not None else -1)
        if known is not None and known.filters == filters:
            self._views.move_to_end(known.number)
            return known
        self._view_count += 1
        made = View(self._view_count, filters, self.listing.select(filters, self._states))
        self._views[made.number] = made
        if len(self._views) > MAX_VIEWS:
            self._views.popitem(last=False)
        return made

    def _first(self, row: int) -> int:
        """The row under which what is said of a face is kept."""
        return int(self.faces.copies(row)[0])

    def _latest(self, row: int) -> Said:
        if not self.faces.is_correctable[row]:
            return NOTHING
        history = self._said.get(self._first(row))
        return history[-1] if history else NOTHING

    def _note(self, first: int) -> None:
        """Bring the state of a face's rows up to date."""
        said = self._latest(first)
        state = State.OPEN if said == NOTHING else State.SKIPPED
        self._states[self.faces.copies(first)] = State.CORRECTED if said.is_correction else state

    def _outcome(self, row: int, before: Said) -> dict[str, Any]:
        rows = [row, *(copy for copy in self.faces.copies(row).tolist() if copy != row)]
        shown = self.described(rows[:PAGE_ROWS])
        return {"row": row, "rows": shown, "before": asdict(before), **self.tally()}
