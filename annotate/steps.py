"""Steps: the inputs of a plan and a previous output in; what is to be labelled, and which rows
stay as they are, out, in the order of the new output.

Inputs come in the order of the plan. Rows of inputs that the plan does not have stand where they
stood: before the next input that stood behind them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.archives import names_in
from annotate.inputs import Inputs
from annotate.plan import FOLDER, Plan
from annotate.previous import Previous
from annotate.records import Cursor, Kept, Source, modified_ns
from annotate.scan import scan_below
from annotate.selection import ScanOptions

KEPT_TOGETHER = 256
"""Inputs whose rows are kept that pass together, at most."""

_FIRST = Cursor()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a scan found against an earlier output, in inputs; archives are not looked into."""

    new: int
    changed: int
    vanished: int

    def __str__(self) -> str:
        told = [
            f"{number:,} {name}"
            for name, number in (
                ("new", self.new),
                ("changed", self.changed),
                ("not found any more", self.vanished),
            )
            if number
        ]
        return ", ".join(told) or "archives among them"


def changes(plan: Plan, previous: Previous) -> Changes:
    """What has changed since an output was made of the same SOURCEs."""
    expected = expected_inputs(plan, previous)
    new = changed = 0
    for source in plan:
        if source.is_archive:
            # The row of a fault of the whole archive.
            expected[list(previous.find_path(source.location))] = True
            continue
        found = list(previous.find(source))
        new += not found
        changed += bool(found) and not previous.is_same(found[0], source)
    return Changes(new, changed, int(np.count_nonzero(~expected)))


Flags = npt.NDArray[np.bool_]


class Steps:
    """The sources to be labelled and the `Kept` of a run. Iterate once.

    expected: of each input of `previous`, whether the plan will come to it. retry: label those
    that failed again. prune: drop inputs whose file has vanished. start: where the plan is taken
    up; position: of `previous`, up to which rows that the plan does not have are in place; seen:
    of each of its inputs, whether its rows are there, or others in their stead. is_listed: whether
    the plan has what is in a folder, if that can be listed.
    """

    def __init__(
        self,
        plan: Plan,
        previous: Previous,
        expected: Flags,
        *,
        retry: bool = False,
        prune: bool = False,
        start: Cursor = _FIRST,
        seen: Flags | None = None,
        position: int = 0,
        is_listed: Callable[[bytes], bool] = lambda folder: False,
    ) -> None:
        none = np.zeros(len(previous), bool)
        self._plan = plan
        self._previous = previous
        self._expected = expected
        self._redone = previous.failed if retry else none
        self._is_retry = retry
        self._prune = prune
        self._is_listed = is_listed
        self._seen = none.copy() if seen is None else seen
        self._position = position
        self._cursor = start
        # Archives before this item are ended. The last one before the start may not have been.
        self._ended = max(0, start.item - 1)
        self._archives = {plan.location(key) for key in range(len(plan)) if plan.is_archive(key)}
        self._names: tuple[bytes, set[bytes] | None] = (b"", None)
        self._decided: tuple[str, int | None, bool] | None = None
        self.besides = 0
        """Inputs so far that the plan does not have, and whose rows stay."""

    def over(self, inputs: Inputs) -> Iterator[Source | Kept]:
        """The steps. inputs: of the plan, told by `is_kept` what need not be read."""
        return _joined(self._steps(inputs))

    def is_kept(self, source: Source) -> bool:
        """Whether the rows of an input stay as they are.

        Asked of each input once, in order, before `over` comes to it or as it does.
        """
        ordinal = next((q for q in self._previous.find(source) if not self._seen[q]), None)
        is_kept = (
            ordinal is not None
            and not self._redone[ordinal]
            and self._previous.is_same(ordinal, source)
        )
        self._decided = (source.path, ordinal, is_kept)
        return is_kept

    def _steps(self, inputs: Inputs) -> Iterator[Source | Kept]:
        for source in inputs:
            if self._decided is None or self._decided[0] != source.path:
                self.is_kept(source)
            assert self._decided is not None
            _, ordinal, is_kept = self._decided
            self._decided = None
            yield from self._end_archives(source.key)
            if source.place == 0:
                # Before the archive comes what stood before it.
                yield from self._up_to(min(self._previous.members(source.location), default=0))
            if ordinal is None:
                yield from self._up_to(self._row_of_folder(source.location))
            else:
                yield from self._up_to(ordinal)
                self._position = max(self._position, ordinal + 1)
                self._seen[ordinal] = True
            self._cursor = source.cursor
            if ordinal is not None and is_kept:
                yield Kept(ordinal, ordinal + 1, source.cursor)
            else:
                yield source
        if inputs.has_ended:
            yield from self._end_archives(len(self._plan))
            self._expected[:] = False
            yield from self._besides(range(len(self._previous)))

    def _end_archives(self, item: int) -> Iterator[Kept]:
        """What is decided once the archives before an item of the plan have ended."""
        for key in range(self._ended, item):
            if not self._plan.is_archive(key) or self._plan.wanted(key) is not None:
                continue
            archive = self._plan.location(key)
            # A row that told of a fault of the whole archive: there are others now.
            for ordinal in self._previous.find_path(archive):
                self._seen[ordinal] = True
            members = self._previous.members(archive)
            self._expected[members] = False
            yield from self._besides(q for q in members if q < self._position)
            yield from self._up_to(max(members, default=-1) + 1)
        self._ended = max(self._ended, item)

    def _row_of_folder(self, location: bytes) -> int:
        """Where the row stands of the folder that a new input lies in, which could not be listed.

        0 where there is none. In plan order it comes by itself; a retry has no other inputs.
        """
        folder = os.path.dirname(location)
        while self._is_retry and folder != os.path.dirname(folder):
            for name in (b"", FOLDER):
                for ordinal in self._previous.find_path(os.path.join(folder, name)):
                    return ordinal
            folder = os.path.dirname(folder)
        return 0

    def _up_to(self, position: int) -> Iterator[Kept]:
        """Those before a place in the previous output that the plan does not have, and stay."""
        yield from self._besides(range(self._position, position))
        self._position = max(self._position, position)

    def _besides(self, ordinals: Iterable[int]) -> Iterator[Kept]:
        """Those of some inputs of the previous output that the plan does not have, and stay."""
        for ordinal in ordinals:
            if self._seen[ordinal] or self._expected[ordinal]:
                continue
            self._seen[ordinal] = True
            if self._is_unlisted_folder(ordinal):
                continue
            if not self._prune or not self._has_vanished(ordinal):
                self.besides += 1
                yield Kept(ordinal, ordinal + 1, self._cursor, is_beside=True)

    def _has_vanished(self, ordinal: int) -> bool:
        """Whether an input is not there any more: it may only not have been asked for."""
        found = self._previous.found(ordinal)
        location = found.location
        try:
            os.lstat(location)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, ValueError):
            return False
        if found.member is None or location not in self._archives:
            return False
        # A member may be there and not be an input: it may be excluded, or not be wanted.
        if self._names[0] != location:
            self._names = location, names_in(location)
        names = self._names[1]
        return names is not None and found.member not in names

    def _is_unlisted_folder(self, ordinal: int) -> bool:
        """Whether an input is a folder that could not be listed, and has been listed now."""
        if not self._previous.failed[ordinal]:
            return False
        found = self._previous.found(ordinal)
        return found.is_folder and self._is_listed(found.location)


def expected_inputs(plan: Plan, previous: Previous) -> Flags:
    """Of each input of a previous output, whether a plan may come to it, (N,)."""
    expected = np.zeros(len(previous), bool)
    for key in range(len(plan)):
        location = plan.location(key)
        if not plan.is_archive(key):
            expected[list(previous.find_path(location))] = True
            continue
        wanted = plan.wanted(key)
        if wanted is None:
            expected[previous.members(location)] = True
        for member in wanted or ():
            expected[list(previous.find_path(location, member))] = True
    return expected


def members_done(plan: Plan, cursor: Cursor, done: Previous) -> set[bytes]:
    """Names of the members that have rows of the archive at a cursor, if some are wanted of it.

    done: the rows up to there.
    """
    item = cursor.item
    if item >= len(plan) or not plan.is_archive(item) or plan.wanted(item) is None:
        return set()
    found = (done.found(ordinal) for ordinal in done.members(plan.location(item)))
    return {each.member for each in found if each.member is not None}


def plan_of_failures(previous: Previous, options: ScanOptions) -> Plan:
    """The inputs of a previous output that failed, to be tried again.

    options: of a scan of folders that could not be listed.
    """
    plan = Plan()
    archives: dict[bytes, int] = {}
    for ordinal in np.flatnonzero(previous.failed).tolist():
        found = previous.found(ordinal)
        location = found.location
        if found.is_folder:
            for item in scan_below(found.root, found.path, options):
                plan.append(item)
        elif not found.is_archive:
            plan.append(found)
        elif location in archives:
            plan.want(archives[location], found.member)
        else:
            archives[location] = len(plan)
            size, time_ns = _state(location)
            plan.append(found._replace(size=size, time_ns=time_ns))
    return plan


def _state(archive: bytes) -> tuple[int, int] | tuple[None, None]:
    """Size and time of an archive, as a scan would find them."""
    try:
        status = os.stat(archive)
    except (OSError, ValueError):  # its rows will say so when the run comes to it
        return None, None
    return status.st_size, modified_ns(status)


def _joined(steps: Iterable[Source | Kept]) -> Iterator[Source | Kept]:
    """The same steps, rows that are kept one after the other together."""
    run: Kept | None = None
    for step in steps:
        if isinstance(step, Source):
            if run is not None:
                yield run
            run = None
            yield step
        elif run is not None and _follows(step, run) and run.inputs < KEPT_TOGETHER:
            run = step._replace(start=run.start)
        else:
            if run is not None:
                yield run
            run = step
    if run is not None:
        yield run


def _follows(step: Kept, run: Kept) -> bool:
    return step.start == run.stop and step.is_beside == run.is_beside
