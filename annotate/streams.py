"""Streams: a source in, its bytes as a stream out. Every input is opened here.

What stores inputs elsewhere than in files has to be known to this room alone.
"""

from __future__ import annotations

import io
import os

from annotate.records import Source

MAX_FILE_BYTES = 512 * 2**20
"""Larger inputs are `too_large`: they would have to be held in memory whole."""


def open_source(source: Source) -> io.BufferedReader | io.BytesIO:
    """The bytes of an input. Raises OSError."""
    return open_file(source.location) if source.data is None else io.BytesIO(source.data)


def open_file(location: bytes) -> io.BufferedReader:
    """A file for reading, from its start. Raises OSError."""
    # Without O_NONBLOCK, a FIFO that took the file's place since the scan would block for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(location, flags), "rb")
