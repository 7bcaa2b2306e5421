"""The plan: the inputs of a run in order, frozen once they are scanned, in a few flat arrays.

An input costs about 30 bytes beside its path, so that a million files cost tens of megabytes. An
archive is one item; what is in it is found when the run comes to it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from annotate.names import escape, escape_path, posix
from annotate.records import Failure, Source

FOLDER = b"."
"""The path of a SOURCE that is a folder which cannot be listed."""

_UNKNOWN = -1


class Found(NamedTuple):
    """An item before it is in a plan.

    root, path: of its row, unescaped. size: bytes, time_ns: since 1970; None where the file could
    not be asked. member: the one that is wanted of an archive; None for the whole of it.
    """

    root: bytes
    path: bytes
    size: int | None = None
    time_ns: int | None = None
    failure: Failure | None = None
    is_archive: bool = False
    member: bytes | None = None

    @property
    def location(self) -> bytes:
        """The path that opens it."""
        return os.path.join(self.root, self.path)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which is an input where it cannot be listed."""
        return self.path == FOLDER or self.path.endswith(b"/")


@dataclass
class PlanArrays:
    """What a plan consists of. For N items: ends, of each path in `paths`; root_of, an index into
    root_names; sizes, bytes, and times, ns since 1970, -1 and 0 where they are not known.
    failures, wanted: of the items that have any, by item.
    """

    paths: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("Q"))
    root_names: list[bytes] = field(default_factory=list)
    root_of: array[int] = field(default_factory=lambda: array("I"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    times: array[int] = field(default_factory=lambda: array("q"))
    failures: dict[int, Failure] = field(default_factory=dict)
    wanted: dict[int, dict[bytes, None] | None] = field(default_factory=dict)


class Plan(Sequence[Source]):
    """The items of a run. `files`: how many are inputs, and not archives of unknown content."""

    def __init__(self, arrays: PlanArrays | None = None) -> None:
        """arrays: of a plan that was made before; this one takes them over."""
        self.arrays = arrays = arrays or PlanArrays()
        self._paths, self._ends = arrays.paths, arrays.ends
        self._root_names, self._root_of = arrays.root_names, arrays.root_of
        self._sizes, self._times = arrays.sizes, arrays.times
        self._failures, self._wanted = arrays.failures, arrays.wanted
        self._roots = {root: number for number, root in enumerate(arrays.root_names)}
        members = sum(len(names) for names in arrays.wanted.values() if names is not None)
        self.files = len(arrays.ends) - len(arrays.wanted) + members

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Source: ...
    @overload
    def __getitem__(self, index: slice) -> list[Source]: ...
    def __getitem__(self, index: int | slice) -> Source | list[Source]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        key = index % len(self)
        start = self._ends[key - 1] if key else 0
        path = bytes(self._paths[start : self._ends[key]])
        root = self._root_names[self._root_of[key]]
        is_known = self._sizes[key] != _UNKNOWN
        return Source(
            key=key,
            source=escape(root),
            path=escape_path(posix(path)),
            location=os.path.join(root, path),
            size_bytes=self._sizes[key] if is_known else None,
            modified_ns=self._times[key] if is_known else None,
            failure=self._failures.get(key),
            is_archive=key in self._wanted,
        )

    def location(self, key: int) -> bytes:
        """The path that opens an item."""
        start = self._ends[key - 1] if key else 0
        path = bytes(self._paths[start : self._ends[key]])
        return os.path.join(self._root_names[self._root_of[key]], path)

    def is_archive(self, key: int) -> bool:
        """Whether an item stands for the members of an archive."""
        return key in self._wanted

    @property
    def archives(self) -> int:
        """How many items are archives of which everything is wanted, however much that is."""
        return self.ahead(0)[1]

    def ahead(self, item: int) -> tuple[int, int]:
        """From an item on: inputs that are no archives of unknown content, and such archives."""
        later = [wanted for key, wanted in self._wanted.items() if key >= item]
        unknown = sum(wanted is None for wanted in later)
        members = sum(len(wanted) for wanted in later if wanted is not None)
        return len(self) - item - len(later) + members, unknown

    def wanted(self, key: int) -> Mapping[bytes, None] | None:
        """Names of the members that are wanted of an archive; None where all are."""
        return self._wanted[key]

    def append(self, found: Found) -> None:
        """Add an item at the end."""
        self._paths += found.path
        self._ends.append(len(self._paths))
        self._root_of.append(self._root_number(found.root))
        self._sizes.append(_UNKNOWN if found.size is None else found.size)
        self._times.append(found.time_ns or 0)
        key = len(self) - 1
        if found.failure is not None:
            self._failures[key] = found.failure
        if found.is_archive:
            self._wanted[key] = None if found.member is None else {found.member: None}
        self.files += not found.is_archive or found.member is not None

    def want(self, key: int, member: bytes | None) -> bool:
        """Want one more member of an archive, or all (None). False where it was wanted before."""
        wanted = self._wanted[key]
        if wanted is None or (member is not None and member in wanted):
            return False
        if member is None:
            self._wanted[key] = None
            self.files -= len(wanted)
        else:
            wanted[member] = None
            self.files += 1
        return True

    def _root_number(self, root: bytes) -> int:
        number = self._roots.setdefault(root, len(self._root_names))
        if number == len(self._root_names):
            self._root_names.append(root)
        return number
