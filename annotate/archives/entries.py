"""Entries: what the readers of archive formats have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from annotate.records import Status

BOMB_BYTES = 4 * 2**30
BOMB_RATIO = 200
"""An archive that unpacks to more than both, BOMB_BYTES and so many times its own size, is given
up. Pictures are compressed already: archives of them unpack to little more than their size."""

HEADER_COST = 32
"""Bytes of headers that were packed count so many times: taking them apart costs more than
unpacking them, and a megabyte may hold two million entries."""


class Kind(StrEnum):
    """What an entry stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    HARD_LINK = "hard link"
    SPECIAL = "special"


class MemberError(Exception):
    """A member whose bytes cannot be had; the archive goes on. text: one line."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


class ArchiveError(MemberError):
    """An archive that cannot be read any further. text: one line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an archive, in archive order.

    name: as it is stored. size: bytes that it claims to have, never to be trusted. modified_ns:
    since 1970, UTC; None where there is no such time. read: its bytes, at most `limit`; to be
    called before the next entry is taken. Raises MemberError, also where there are more.
    """

    name: bytes
    kind: Kind
    size: int
    modified_ns: int | None
    read: Callable[[int], bytes]


class Budget:
    """How much an archive may unpack to. packed: its own size, bytes."""

    def __init__(self, packed: int) -> None:
        self._left = max(BOMB_BYTES, BOMB_RATIO * packed)

    def spend(self, unpacked: int) -> None:
        """Count bytes that came out of it. Raises ArchiveError where they are too many."""
        self._left -= unpacked
        if self._left < 0:
            raise ArchiveError(
                Status.TOO_LARGE,
                f"unpacks to over {BOMB_BYTES} bytes and {BOMB_RATIO} times its own size: a bomb?",
            )


def too_large(size: int | str, limit: int) -> MemberError:
    """The error of a member that has more bytes than may be held."""
    return MemberError(Status.TOO_LARGE, f"{size} bytes, the limit is {limit}")
