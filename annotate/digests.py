"""Digests: paths and contents to 16 bytes each, and sorted lists of them to find items in.

Imports nothing heavy: worker processes look contents up.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.durable import new_file

DIGEST_BYTES = 16
"""Of two million paths or contents, two have the same digest once in 10^26."""


class Digests:
    """Digests of items, to find the items by. Items are numbered from 0."""

    def __init__(self, digests: npt.NDArray[np.bytes_], items: npt.NDArray[Any]) -> None:
        order = np.argsort(digests, kind="stable")
        self._sorted = _Sorted(digests[order].tobytes())
        self._items = items[order]

    def __iter__(self) -> Iterator[bytes]:
        """All digests, ascending; those of several items several times."""
        return iter(self._sorted)

    def find(self, digest: bytes) -> Iterator[int]:
        """The items of a digest, in their order."""
        at = bisect_left(self._sorted, digest)
        while at < len(self._items) and self._sorted[at] == digest:
            yield int(self._items[at])
            at += 1

    def save(self, path: Path) -> None:
        """Write what `KnownContents` reads. Raises OSError."""
        with new_file(path) as file:
            file.write(self._sorted.data)


class KnownContents:
    """The contents whose rows are known, on disk: worker processes share its pages."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            is_empty = os.fstat(file.fileno()).st_size == 0  # of which there is no map
            data = b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._sorted = _Sorted(data)

    def __contains__(self, sha256: str) -> bool:
        digest = content_digest(sha256)
        at = bisect_left(self._sorted, digest)
        return at < len(self._sorted) and self._sorted[at] == digest


@lru_cache(4)
def known_contents(path: str) -> KnownContents:
    """The contents of a file, opened once a process."""
    return KnownContents(path)


class _Sorted(Sequence[bytes]):
    """Digests one after the other, ascending."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data) // DIGEST_BYTES

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.data[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]


def content_digest(sha256: str) -> bytes:
    """The digest of a content. sha256: hexadecimal."""
    return bytes.fromhex(sha256)[:DIGEST_BYTES]


def path_digest(location: bytes, member: bytes | None) -> bytes:
    """The digest of a file's path, or of an archive's and a member's name."""
    whole = location if member is None else location + b"\0!/" + member
    return hashlib.blake2b(whole, digest_size=DIGEST_BYTES).digest()


def joined(digests: Iterable[bytes]) -> npt.NDArray[np.bytes_]:
    """Digests as an array, (N,), of DIGEST_BYTES each."""
    return np.frombuffer(b"".join(digests), f"S{DIGEST_BYTES}")
