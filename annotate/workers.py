"""Workers: a function and an ordered stream of items in, its results in the same order out.

Runs on joblib's processes, in windows of bounded size, one window ahead of the consumer. A
worker that is killed costs nothing but time: the window is done again item by item, and the item
that kills its process a second time gets the result that `on_crash` makes.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import BrokenProcessPool, get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_DEAD_WORKER = (BrokenProcessPool, TerminatedWorkerError)


def _run_chunk(
    function: Callable[[Any], Any], keys: Sequence[int], chunk: Sequence[Any]
) -> list[tuple[int, Any]]:
    """What a worker process runs: each result with the key of its item."""
    # Ctrl-C reaches the whole process group; ending in order is the main process's work.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return [(key, function(item)) for key, item in zip(keys, chunk, strict=True)]


class OrderedMap(Generic[Item, Result]):
    """Iterate over `function(item)` for each item, in order. Use as a context manager.

    function: picklable. on_crash: the result for an item that ends its process.
    workers: processes. window: items in flight at a time; at most three windows of results
    exist at once: being made, waiting, and with the consumer. chunk: items a task.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        on_crash: Callable[[Item], Result],
        workers: int,
        window: int,
        chunk: int,
    ) -> None:
        self._function = function
        self._items = items
        self._on_crash = on_crash
        # joblib runs n_jobs=1 in this very process, where a crash would end the run. One worker
        # is therefore a pool of two that is given one task at a time.
        self._processes = max(2, workers)
        self._window = window
        self._chunk = window if workers == 1 else chunk
        self._parallel: Parallel | None = None
        self._results: queue.Queue[list[Result] | BaseException | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="decode", daemon=True)

    def __enter__(self) -> OrderedMap[Item, Result]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            self._thread.join(timeout=0.05)
            if not self._results.empty():
                self._results.get_nowait()

    def __iter__(self) -> Iterator[Result]:
        while (window := self._results.get()) is not None:
            if isinstance(window, BaseException):
                raise window
            yield from window

    def _produce(self) -> None:
        """The prefetching thread: fill the queue with windows, then with None or an error."""
        try:
            items = enumerate(self._items)
            while (window := list(islice(items, self._window))) and not self._stop.is_set():
                self._put(self._run_window(window))
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, value: list[Result] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._results.put(value, timeout=0.1)
            except queue.Full:
                continue
            return

    def _run_window(self, window: list[tuple[int, Item]]) -> list[Result]:
        chunks = [window[i : i + self._chunk] for i in range(0, len(window), self._chunk)]
        try:
            return self._run(chunks)
        except _DEAD_WORKER:
            self._discard()
        results: list[Result] = []
        for key, item in window:
            try:
                results += self._run([[(key, item)]])
            except _DEAD_WORKER:
                self._discard()
                results.append(self._on_crash(item))
        self._discard()
        return results

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
            delayed(_run_chunk)(self._function, [k for k, _ in chunk], [i for _, i in chunk])
            for chunk in chunks
        )
        found = [pair for chunk in self._parallel(tasks) for pair in chunk]
        if [key for key, _ in found] != [key for chunk in chunks for key, _ in chunk]:
            raise RuntimeError("worker results came back out of order")
        return [result for _, result in found]

    def _discard(self) -> None:
        """Throw the pool away: after a dead worker it may hand out stale results."""
        self._parallel = None
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
