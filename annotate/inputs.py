"""Inputs: a plan in, the stream of its inputs out, archives expanded as the run comes to them.

The stream is iterated in one thread while others ask how long it is.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import islice
from threading import Event

from annotate.archives import Archive
from annotate.plan import Plan
from annotate.records import Cursor, Source
from annotate.selection import ScanOptions, Selection

_FIRST = Cursor()


class Inputs:
    """The inputs of a plan, files and members, in order. Iterate once.

    options: of the scan that made the plan; its limit counts members too. is_unread: whether a
    member, whose bytes are not there yet, does not need them; asked once of each. start: where an
    earlier run of the plan has ended; given: how many inputs it had until there; done: names of
    the members that it had of the archive there, if some are wanted. `has_ended`: all have been
    given.
    """

    def __init__(
        self,
        plan: Plan,
        options: ScanOptions,
        is_unread: Callable[[Source], bool],
        *,
        start: Cursor = _FIRST,
        given: int = 0,
        done: Collection[bytes] = (),
    ) -> None:
        self._plan = plan
        self._limit = options.limit
        self._selection = Selection(options)
        self._is_unread = is_unread
        self._start = start
        self._done = done
        self._stopped = Event()
        self._given = given
        self.has_ended = False
        # What is known to come: in the archive that is open, and behind it in the plan.
        self._archive: Archive | None = None
        self._files_ahead, self._unopened = plan.ahead(start.item)
        # Replaced, never changed: whoever iterates over it does so in another thread.
        self.skipped: Counter[str] = Counter()
        self._skipped_in: deque[tuple[int, Counter[str]]] = deque()

    def __iter__(self) -> Iterator[Source]:
        # What islice cannot count to, nobody has.
        left = None if self._limit is None else min(max(0, self._limit - self._given), sys.maxsize)
        for source in islice(self._all(), left):
            self._given += 1
            yield source
        self.has_ended = not self._stopped.is_set()

    @property
    def total(self) -> int:
        """Inputs that are known so far, given or to come; exact once the last has been given."""
        if self.has_ended:
            return self._given
        known = self._given + self._files_ahead + (self._archive.ahead if self._archive else 0)
        return known if self._limit is None else min(known, self._limit)

    @property
    def is_total_known(self) -> bool:
        """Whether `total` is all there will be, as far as archives have directories that say."""
        if self.has_ended:
            return True
        is_known = not self._unopened and (self._archive is None or self._archive.is_ahead_known)
        return is_known or (self._limit is not None and self.total >= self._limit)

    def stop(self) -> None:
        """End the iteration soon, also in the middle of an archive. For any thread."""
        self._stopped.set()

    def _all(self) -> Iterator[Source]:
        for key in range(self._start.item, len(self._plan)):
            if self._stopped.is_set():
                return
            source = self._plan[key]
            if source.is_archive:
                yield from self._members(source)
            else:
                self._files_ahead -= 1
                yield source

    def take_skipped(self, item: int) -> Counter[str]:
        """What was passed over in archives before an item of the plan, since this was last asked.

        For one other thread.
        """
        skipped: Counter[str] = Counter()
        while self._skipped_in and self._skipped_in[0][0] < item:
            skipped += self._skipped_in.popleft()[1]
        return skipped

    def archive(self, source: Source, *, skip: int = 0) -> Archive:
        """The archive that an item of the plan is. skip: leave out its first so many inputs."""
        return Archive(
            source,
            self._selection,
            wanted=self._plan.wanted(source.key),
            is_unread=self._is_unread,
            is_stopped=self._stopped.is_set,
            skip=skip,
            done=self._done if skip else (),
        )

    def _members(self, source: Source) -> Iterator[Source]:
        skip = self._start.members if source.key == self._start.item else 0
        wanted = self._plan.wanted(source.key)
        self._files_ahead -= len(wanted or ())
        self._unopened -= wanted is None
        archive = self.archive(source, skip=skip)
        self._archive = archive
        for place, member in enumerate(archive, start=skip):
            # Behind a row of the archive itself, which tells its end, the next item comes.
            is_end = member.path == source.path
            yield member if is_end else replace(member, place=place)
        self._archive = None
        self.skipped = self.skipped + archive.skipped
        self._skipped_in.append((source.key, archive.skipped))
