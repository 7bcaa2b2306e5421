"""Inputs: a plan in, the stream of its inputs out, archives expanded as the run comes to them.

The stream is iterated in one thread while others ask how long it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Event

from annotate.archives import Archive
from annotate.plan import Plan
from annotate.records import Source
from annotate.selection import ScanOptions, Selection


class Inputs:
    """The inputs of a plan, files and members, in order. Iterate once.

    options: of the scan that made the plan; its limit counts members too. is_unread: whether
    members of a suffix, in lower case, are not to be decoded.
    """

    def __init__(self, plan: Plan, options: ScanOptions, is_unread: Callable[[str], bool]) -> None:
        self._plan = plan
        self._limit = options.limit
        self._selection = Selection(options)
        self._is_unread = is_unread
        self._stopped = Event()
        self._given = 0
        self._has_ended = False
        # What is known to come: in the archive that is open, and behind it in the plan.
        self._archive: Archive | None = None
        self._files_ahead = plan.files
        self._unopened = plan.archives
        # Replaced, never changed: whoever iterates over it does so in another thread.
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Source]:
        for source in islice(self._all(), self._limit):
            self._given += 1
            yield source
        self._has_ended = True

    @property
    def total(self) -> int:
        """Inputs that are known so far, given or to come; exact once the last has been given."""
        if self._has_ended:
            return self._given
        known = self._given + self._files_ahead + (self._archive.ahead if self._archive else 0)
        return known if self._limit is None else min(known, self._limit)

    @property
    def is_total_known(self) -> bool:
        """Whether `total` is all there will be, as far as archives have directories that say."""
        if self._has_ended:
            return True
        is_known = not self._unopened and (self._archive is None or self._archive.is_ahead_known)
        return is_known or (self._limit is not None and self.total >= self._limit)

    def stop(self) -> None:
        """End the iteration soon, also in the middle of an archive. For any thread."""
        self._stopped.set()

    def _all(self) -> Iterator[Source]:
        for source in self._plan:
            if source.is_archive:
                yield from self._members(source)
            else:
                self._files_ahead -= 1
                yield source

    def archive(self, source: Source) -> Archive:
        """The archive that an item of the plan is."""
        return Archive(
            source,
            self._selection,
            wanted=self._plan.wanted(source.key),
            is_unread=self._is_unread,
            is_stopped=self._stopped.is_set,
        )

    def _members(self, source: Source) -> Iterator[Source]:
        archive = self.archive(source)
        self._files_ahead -= archive.ahead
        self._archive = archive
        self._unopened -= not archive.is_ahead_known
        yield from archive
        self._archive = None
        self.skipped = self.skipped + archive.skipped
