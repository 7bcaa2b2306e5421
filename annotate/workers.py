"""Workers: a function and an ordered stream of items in, its results in the same order out.

Runs on joblib's processes, in windows of bounded size, one window ahead of the consumer. A
worker that is killed or hangs costs nothing but time: the window is done again item by item, and
the item that ends its process a second time gets the result that `on_crash` or `on_timeout` makes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from joblib import Parallel, delayed

from annotate import pool
from annotate.deadlines import Board, board, run_within, serve
from annotate.errors import AnnotateError

Item = TypeVar("Item")
Result = TypeVar("Result")

WINDOW_BYTES = 64 * 2**20
WINDOW_BYTES_PER_WORKER = 16 * 2**20
"""A window is full once its items carry the larger of the two: enough for all workers to be busy
with photographs of 5 MB that came out of an archive."""

TASKS_PER_WORKER = 4
"""Tasks that a window which is full of large items is cut into for each worker, if it has as many
items, so that all workers end at about the same time."""

LOOK_S = 1.0
"""How often the workers are looked after while results are awaited."""

LEAVE_S = 5.0
"""How long an item may go on once nobody waits for its result any more."""

ORPHAN_S = 1.0
"""How often a worker looks whether the main process is still there."""

MAX_LOST = 8
"""Processes that cannot be killed; more are not added to them. An input that is read from a disk
which is gone costs two."""


class MissingResultsError(Exception):
    """A worker came back without all results asked for, or with others: it is not to be trusted."""


_DEAD_WORKER = (*pool.DEAD_WORKER, MissingResultsError)

_running = ""
_stopped = ""
"""In a worker process: the OrderedMap whose items it runs, and the one that has been left."""


@dataclass(frozen=True)
class _Work:
    """What a worker process is told beside the items.

    owner: identity of the OrderedMap; once it is left, the rest of its items are passed over.
    """

    owner: str
    function: Callable[[Any], Any]
    prepare: Callable[[], object] | None
    timeout_s: float | None


def _begin(shared: Board, parent: int) -> None:
    """What a worker process does first, tasks or none. parent: the main process's number."""
    serve(shared)
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGTERM, _stop_running)
    # Where signals cannot be blocked, they are ignored from here on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop_running(*_: object) -> None:
    global _stopped
    _stopped = _running


def _end_with(parent: int) -> None:
    """End this process once its parent has ended. Runs in a thread.

    By itself a worker of loky whose main process was killed stays for five minutes, and keeps
    open what others wait to see closed, such as stderr in a pipe.
    """
    while os.getppid() == parent:
        time.sleep(ORPHAN_S)
    os._exit(1)


def _run_chunk(work: _Work, keys: Sequence[int], chunk: Sequence[Any]) -> list[tuple[int, Any]]:
    """What a worker process runs: each result with the key of its item."""
    global _running
    is_new, _running = _running != work.owner, work.owner
    if is_new and work.prepare is not None:
        work.prepare()
    results = []
    for key, item in zip(keys, chunk, strict=True):
        if _stopped == work.owner:
            break
        results.append((key, run_within(work.timeout_s, work.function, item)))
    return results


class OrderedMap(Generic[Item, Result]):
    """Iterate over `function(item)` for each item, in order. Use as a context manager.

    function: picklable. items: iterated in another thread, one window ahead of the workers.
    on_crash: the result for an item that ends its process. timeout_s: how long one item may take,
    None for as long as it does; on_timeout: the result for one that takes longer, on_crash where
    it is None. prepare: picklable; called in each process before its first item, whose time it
    does not count against. workers: processes. window: items in flight at a time; at most three
    windows of results exist at once: being made, waiting, and with the consumer. chunk: items a
    task. weight: bytes that an item carries; a window is full once its items carry a fixed number,
    the last one however large. stop_items: called when the map is left before its end, to end an
    iteration that takes long for its next item.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: Callable[[Item], Result],
        workers: int,
        window: int,
        chunk: int,
        timeout_s: float | None = None,
        on_timeout: Callable[[Item], Result] | None = None,
        prepare: Callable[[], object] | None = None,
        weight: Callable[[Item], int] = lambda item: 0,
        stop_items: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = _Work(uuid.uuid4().hex, function, prepare, timeout_s)
        self._items = items
        self._on_crash = on_crash
        self._on_timeout = on_timeout or on_crash
        # joblib runs n_jobs=1 in this very process, where a crash would end the run. One worker
        # is therefore a pool of two that is given one task at a time.
        self._processes = max(2, workers)
        self._window = window
        self._window_bytes = max(WINDOW_BYTES, WINDOW_BYTES_PER_WORKER * workers)
        self._chunk = window if workers == 1 else chunk
        self._weight = weight
        self._stop_items = stop_items
        self._parallel: Parallel | None = None
        self._is_running = False
        self._results: queue.Queue[list[Result] | BaseException | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._has_ended = False
        self._thread = threading.Thread(target=self._produce, name="decode")

    def __enter__(self) -> OrderedMap[Item, Result]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._stop_items()
        left_at = time.monotonic()
        while not self._has_ended and self._thread.is_alive():
            # What is in flight may take minutes, and nobody waits for it any more.
            pool.stop_workers()
            if self._is_running and time.monotonic() - left_at > LEAVE_S:
                pool.break_pool()
            self._thread.join(timeout=0.2)
        self._thread.join()

    def __iter__(self) -> Iterator[Result]:
        while (window := self._next_window()) is not None:
            if isinstance(window, BaseException):
                self._has_ended = True
                raise window
            yield from window
        self._has_ended = True

    def _next_window(self) -> list[Result] | BaseException | None:
        watch = pool.Watch()
        while True:
            try:
                return self._results.get(timeout=LOOK_S)
            except queue.Empty:
                # While items are awaited no worker is, and the pool may not be there yet.
                watch.look(awaits_results=self._is_running)

    def _produce(self) -> None:
        """The prefetching thread: fill the queue with windows, then with None or an error."""
        try:
            pool.block_interrupts()
            # Items may come out of an archive: the next ones are read while these are decoded.
            with (
                contextlib.closing(self._windows()) as windows,
                ThreadPoolExecutor(1, thread_name_prefix="read") as reader,
            ):
                try:
                    ahead = reader.submit(next, windows, None)
                    while (window := ahead.result()) is not None and not self._stop.is_set():
                        ahead = reader.submit(next, windows, None)
                        self._put(self._run_window(window))
                finally:
                    self._stop_items()  # else a failure would wait for the next window
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _windows(self) -> Generator[list[tuple[int, Item]], None, None]:
        """The items with their numbers, as many together as are decoded together."""
        window: list[tuple[int, Item]] = []
        carried = 0
        for key, item in enumerate(self._items):
            window.append((key, item))
            carried += self._weight(item)
            if len(window) >= self._window or carried >= self._window_bytes:
                yield window
                window, carried = [], 0
        if window:
            yield window

    def _put(self, value: list[Result] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._results.put(value, timeout=0.1)
            except queue.Full:
                # The program ends with a map that nobody has left. If this thread outlived that,
                # it would meet joblib cleaning up.
                if not threading.main_thread().is_alive():
                    self._stop.set()
            else:
                return

    def _run_window(self, window: list[tuple[int, Item]]) -> list[Result]:
        size = self._chunk_size(len(window))
        chunks = [window[i : i + size] for i in range(0, len(window), size)]
        try:
            return self._run(chunks)
        except _DEAD_WORKER:
            self._discard()
        results: list[Result] = []
        for key, item in window:
            if self._stop.is_set():
                break
            try:
                results += self._run([[(key, item)]])
            except _DEAD_WORKER:
                is_late = board().has_passed()
                self._discard()
                if self._stop.is_set():
                    break
                self._check_pool()
                results.append(self._on_timeout(item) if is_late else self._on_crash(item))
        self._discard()
        return results

    def _chunk_size(self, items: int) -> int:
        """Items a task. A window that is full of large items has few, and all are to be busy."""
        if items == self._window or self._chunk == self._window:
            return self._chunk
        return max(1, min(self._chunk, items // (TASKS_PER_WORKER * self._processes)))

    def _run(self, chunks: list[list[tuple[int, Item]]]) -> list[Result]:
        """Run chunks on the pool, and check that each result is the one asked for."""
        if self._parallel is None:
            self._parallel = pool.make_parallel(self._processes, _begin)
        tasks = (
            delayed(_run_chunk)(self._work, [key for key, _ in chunk], [item for _, item in chunk])
            for chunk in chunks
        )
        self._is_running = True
        try:
            found = [pair for chunk in self._parallel(tasks) for pair in chunk]
        finally:
            self._is_running = False
        if self._stop.is_set():
            return []
        if [key for key, _ in found] != [key for chunk in chunks for key, _ in chunk]:
            raise MissingResultsError
        return [result for _, result in found]

    def _check_pool(self) -> None:
        """Make sure that it is the item that ends its process, and not that none can run."""
        if (lost := len(pool.living_workers())) >= MAX_LOST:
            raise AnnotateError(
                f"{lost} decoding processes hang and cannot be killed: is the disk or the network"
                " folder with the inputs gone?"
            )
        try:
            self._run([[]])
        except _DEAD_WORKER as error:
            raise AnnotateError(
                "the decoding processes end as soon as they start: is there too little memory?"
            ) from error

    def _discard(self) -> None:
        self._parallel = None
        pool.discard()
