"""Claims: who has which bytes of an archive. A few KB of a bomb can be a million members else."""

from __future__ import annotations

from bisect import bisect_right, insort


class Claims:
    """Ranges of bytes, each of one owner, that do not overlap. About 150 bytes a range."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, int]] = []

    def claim(self, start: int, stop: int, owner: int) -> bool:
        """Whether the bytes from start up to stop are free, or this owner's already.

        Those that are free are the owner's from now on. None at all are always free.
        """
        if start >= stop:
            return True
        # Members mostly come in the order in which they lie, so that this is mostly an append.
        at = bisect_right(self._ranges, (start, stop, owner))
        for other_start, other_stop, other in self._ranges[max(0, at - 1) : at + 1]:
            if (other_start, other_stop, other) == (start, stop, owner):
                return True
            if other_start < stop and start < other_stop:
                return False
        insort(self._ranges, (start, stop, owner))
        return True
