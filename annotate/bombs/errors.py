"""What a bomb is refused with."""

from __future__ import annotations


class BombError(Exception):
    """A file that is refused. The message: one line, what was found and what the limit is."""
