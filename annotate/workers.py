"""Workers: a function and an ordered stream of items in, its results in the same order out.

Runs on joblib's processes, in windows of bounded size, one window ahead of the consumer. A
worker that is killed costs nothing but time: the window is done again item by item, and the item
that kills its process a second time gets the result that `on_crash` makes.
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
from multiprocessing import active_children, resource_tracker
from typing import Any, Generic, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import BrokenProcessPool, get_reusable_executor
from joblib.externals.loky.backend import resource_tracker as loky_resource_tracker
from joblib.externals.loky.backend.process import LokyProcess
from joblib.externals.loky.process_executor import TerminatedWorkerError

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

STUCK_S = 5.0
"""A worker that has been dead for so long without loky noticing has left it stuck."""


ORPHAN_S = 1.0
"""How often a worker looks whether the main process is still there."""


class MissingResultsError(Exception):
    """A worker came back without all results asked for, or with others: it is not to be trusted."""


_DEAD_WORKER = (BrokenProcessPool, TerminatedWorkerError, MissingResultsError)

_running = ""
_stopped = ""
"""In a worker process: the OrderedMap whose items it runs, and the one that has been left."""


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


def _run_chunk(
    owner: str, function: Callable[[Any], Any], keys: Sequence[int], chunk: Sequence[Any]
) -> list[tuple[int, Any]]:
    """What a worker process runs: each result with the key of its item.

    owner: identity of the OrderedMap; once it is left, the rest of its items are passed over.
    """
    global _running
    if not _running and os.name == "posix":
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _running = owner
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop_running)
        # Where signals cannot be blocked, they are ignored from here on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    results = []
    for key, item in zip(keys, chunk, strict=True):
        if _stopped == owner:
            break
        results.append((key, function(item)))
    return results


class OrderedMap(Generic[Item, Result]):
    """Iterate over `function(item)` for each item, in order. Use as a context manager.

    function: picklable. items: iterated in another thread, one window ahead of the workers.
    on_crash: the result for an item that ends its process. workers: processes. window: items in
    flight at a time; at most three windows of results exist at once: being made, waiting, and
    with the consumer. chunk: items a task. weight: bytes that an item carries; a window is full
    once its items carry a fixed number, the last one however large. stop_items: called when the
    map is left before its end, to end an iteration that takes long for its next item.
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
        weight: Callable[[Item], int] = lambda item: 0,
        stop_items: Callable[[], None] = lambda: None,
    ) -> None:
        self._function = function
        self._items = items
        self._on_crash = on_crash
        # joblib runs n_jobs=1 in this very process, where a crash would end the run. One worker
        # is therefore a pool of two that is given one task at a time.
        self._processes = max(2, workers)
        self._window = window
        self._window_bytes = max(WINDOW_BYTES, WINDOW_BYTES_PER_WORKER * workers)
        self._chunk = window if workers == 1 else chunk
        self._weight = weight
        self._stop_items = stop_items
        self._identity = uuid.uuid4().hex
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
        while not self._has_ended and self._thread.is_alive():
            # What is in flight may take minutes, and nobody waits for it any more.
            _stop_workers()
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
        was_stuck = False
        while True:
            try:
                return self._results.get(timeout=STUCK_S)
            except queue.Empty:
                # While items are awaited no worker is, and the pool may not be there yet.
                is_stuck = self._is_running and _has_dead_worker()
            if is_stuck and was_stuck:
                _break_pool()
            was_stuck = is_stuck

    def _produce(self) -> None:
        """The prefetching thread: fill the queue with windows, then with None or an error."""
        try:
            _block_interrupts()
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
                self._discard()
                self._check_pool()
                results.append(self._on_crash(item))
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
            # Batching is ours (chunks), and results are small: nothing is mapped to files.
            self._parallel = Parallel(
                n_jobs=self._processes,
                backend="loky",
                batch_size=1,
                pre_dispatch="all",
                max_nbytes=None,
            )
        tasks = (
            delayed(_run_chunk)(
                self._identity, self._function, [k for k, _ in chunk], [i for _, i in chunk]
            )
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
        try:
            self._run([[]])
        except _DEAD_WORKER as error:
            raise AnnotateError(
                "the decoding processes end as soon as they start: is there too little memory?"
            ) from error

    def _discard(self) -> None:
        """Throw the pool away: after a dead worker it may hand out stale results."""
        self._parallel = None
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _block_interrupts() -> None:
    """Keep SIGINT from this thread and from the processes that it starts.

    Ctrl-C reaches the whole process group; ending in order is the main process's work.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Each tracker unblocks SIGINT in the thread that starts it.
        for tracker in (resource_tracker, loky_resource_tracker):
            tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _worker_ids() -> list[int]:
    return [c.pid for c in active_children() if isinstance(c, LokyProcess) and c.pid is not None]


def _stop_workers() -> None:
    """Ask the worker processes to pass over the rest of their items.

    They are not killed: one that dies while it sends a result leaves loky stuck.
    """
    if os.name == "posix":  # elsewhere there is no signal that a process can answer
        for pid in _worker_ids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _has_dead_worker() -> bool:
    workers = (get_reusable_executor(reuse=True)._processes or {}).values()
    return any(worker.exitcode is not None for worker in list(workers))


def _break_pool() -> None:
    """Free loky from waiting for the rest of a result whose sender was killed halfway.

    It holds the sending end of the pipe open itself, so it never sees the end. What follows is
    what follows a worker's death at any other time.
    """
    pool = get_reusable_executor(reuse=True)
    for pid in _worker_ids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    pool._result_queue._writer.close()
