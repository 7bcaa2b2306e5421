"""Pictures: the row of a face in, a small JPEG of it or of its whole photograph out.

Strangers' files are decoded in processes of their own, which may crash or hang. What leaves here
was drawn here: the browser is never given bytes of a file.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from annotate.review.desk import Row, serve

CACHE_BYTES = 192 * 2**20
"""Of JPEGs in memory: some 20,000 faces."""

PROCESSES = 2
TIMEOUT_S = 60.0
"""How long one picture may take."""

RETRY_S = 10.0
"""How long a picture that could not be drawn is not tried again."""

MAX_FAILED = 100_000


class Pictures:
    """Draws faces and photographs, each once as long as there is room to keep it.

    cache_bytes: of that room. timeout_s: how long one picture may take.
    """

    def __init__(self, *, cache_bytes: int = CACHE_BYTES, timeout_s: float = TIMEOUT_S) -> None:
        self._cache = _Cache(cache_bytes)
        self._failed: dict[tuple[Any, ...], float] = {}
        self._artists: queue.LifoQueue[_Artist] = queue.LifoQueue()
        self._all = [_Artist(timeout_s) for _ in range(PROCESSES)]
        for artist in self._all:
            self._artists.put(artist)

    def face(self, row: Row) -> bytes | None:
        """A square of FACE_PX; None where the picture is gone, is another one, or has crashed the
        process that decoded it.
        """
        return self._drawn("face", row)

    def photograph(self, row: Row) -> bytes | None:
        """The whole picture, upright, PHOTOGRAPH_PX at most; None as for faces."""
        return self._drawn("photograph", row)

    def close(self) -> None:
        """End the processes."""
        for artist in self._all:
            artist.stop()

    def _drawn(self, what: str, row: Row) -> bytes | None:
        key = (what, *row.values())
        known = self._cache.get(key)
        if known is not None:
            return known
        # It may be there again: a share of the network was away, or the machine was busy.
        if time.monotonic() - self._failed.get(key, -RETRY_S) < RETRY_S:
            return None
        artist = self._artists.get()
        try:
            drawn = artist.draw(what, row)
        finally:
            self._artists.put(artist)
        if drawn is not None:
            self._cache.put(key, drawn)
        else:
            if len(self._failed) >= MAX_FAILED:
                self._failed.clear()
            self._failed[key] = time.monotonic()
        return drawn


class _Artist:
    """One process that draws, started when it is first needed and again when it has ended."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: Any = None
        self._pipe: Connection | None = None

    def draw(self, what: str, row: Row) -> bytes | None:
        """A JPEG, or None where there is no picture, or the process did not survive it."""
        pipe = self._open()
        with contextlib.suppress(EOFError, OSError):
            pipe.send((what, dict(row)))
            if pipe.poll(self._timeout_s):
                drawn: bytes | None = pipe.recv()
                return drawn
        self.stop()
        return None

    def stop(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.join(1)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _open(self) -> Connection:
        """The way to the process, which is there afterwards."""
        if self._pipe is not None and self._process.is_alive():
            return self._pipe
        self.stop()
        # Forked, it would have our threads' locks, and what Arrow has open.
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other,), daemon=True)
        with _interrupts_blocked():
            self._process.start()
        other.close()  # so that our end tells that the process has ended
        return self._pipe


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C, which reaches the whole process group, from processes that are started here."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Cache:
    """Bytes by key, those that were asked for last, up to a sum of sizes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._found: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> bytes | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: tuple[Any, ...], data: bytes) -> None:
        with self._lock:
            self._size += len(data) - len(self._found.pop(key, b""))
            self._found[key] = data
            while self._size > self._limit:
                _, dropped = self._found.popitem(last=False)
                self._size -= len(dropped)
