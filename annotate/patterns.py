"""Patterns: a glob pattern, matched part by part while a folder is walked.

Not by the glob module, which follows linked folders, into loops too.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

Places = frozenset[int]
"""How far into a pattern a path has come: indexes of the parts that may come next."""


class Pattern:
    """A pattern below a folder; without parts it matches everything.

    parts: shell patterns of one path component each, `**` for any number of folders. What lies
    below a folder that matches, matches.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = parts
        self.has_matched = False
        self.start = self._closed({0})

    def step(self, places: Places, name: bytes) -> Places:
        """The places after one more path component; empty where nothing can match any more."""
        end = len(self._parts)
        reached = {end} & places
        if len(reached) == len(places):
            return places
        text = os.fsdecode(name)
        for place in places - reached:
            if self._parts[place] == "**":
                reached.add(place)
            elif fnmatch.fnmatchcase(text, self._parts[place]):
                reached.add(place + 1)
        return self._closed(reached)

    def ends_at(self, places: Places) -> bool:
        """Whether a path that has come to these places matches."""
        return len(self._parts) in places

    def names(self, places: Places, name: bytes) -> bool:
        """Whether the pattern's own last part matches a name in a folder at these places.

        Then the name was asked for, as it was not where only a folder above it matches.
        """
        last = len(self._parts) - 1
        if last not in places or self._parts[last] == "**":
            return False
        return fnmatch.fnmatchcase(os.fsdecode(name), self._parts[last])

    def _closed(self, places: set[int]) -> Places:
        """Places, and those behind a `**`, which may also stand for no folder at all."""
        for place, part in enumerate(self._parts):
            if place in places and part == "**":
                places.add(place + 1)
        self.has_matched |= len(self._parts) in places
        return frozenset(places)
