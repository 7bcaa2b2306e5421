"""The pool: joblib's worker processes, and what joblib itself does not do about them.

joblib keeps one pool a program, and reuses it. Nothing here waits for ever: neither for a worker
that hangs, nor for one that cannot even be killed, nor where loky waits for one that is dead.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import active_children, resource_tracker
from typing import Any

from joblib import Parallel
from joblib.externals.loky import BrokenProcessPool, reusable_executor
from joblib.externals.loky.backend import resource_tracker as loky_resource_tracker
from joblib.externals.loky.backend.process import LokyProcess
from joblib.externals.loky.process_executor import TerminatedWorkerError

from annotate.deadlines import Board, board

DEAD_WORKER = (BrokenProcessPool, TerminatedWorkerError)
"""What Parallel raises where a worker has ended."""

STUCK_S = 5.0
"""A worker that has been dead for so long without loky noticing has left it stuck."""

GRACE_S = 5.0
"""A worker so long behind its deadline was not ended by its own timer: it is stopped, say. Once
more as long, and it cannot be killed either: it sleeps in the kernel, as on a disk that is gone."""

JOIN_S = 2.0
"""How long the end of a worker that was killed is waited for."""

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has one way to end a process


def make_parallel(processes: int, begin: Callable[[Board, int], None]) -> Parallel:
    """What runs tasks on the pool, which has at least two processes; each of them begins so.

    begin: called with the board and the main process's number. A worker cannot ask for that: the
    main process may be gone before the worker has started.
    """
    # Batching is the caller's, and results are small: nothing is mapped to files.
    return Parallel(
        n_jobs=processes,
        backend="loky",
        batch_size=1,
        pre_dispatch="all",
        max_nbytes=None,
        initializer=begin,
        initargs=(board(), os.getpid()),
    )


def block_interrupts() -> None:
    """Keep SIGINT from this thread and from the processes that it starts.

    Ctrl-C reaches the whole process group; ending in order is the main process's work.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Each tracker unblocks SIGINT in the thread that starts it.
        for tracker in (resource_tracker, loky_resource_tracker):
            tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def stop_workers() -> None:
    """Ask the worker processes to pass over the rest of their items.

    They are not killed: one that dies while it sends a result leaves loky stuck.
    """
    if os.name == "posix":  # elsewhere there is no signal that a process can answer
        for worker in living_workers():
            _send(worker, signal.SIGTERM)


def discard() -> None:
    """Throw the pool away: after a dead worker it may hand out stale results."""
    pool = _pool()
    if pool is not None:
        pool.shutdown(wait=True, kill_workers=True)
    board().clear()


def living_workers() -> list[Any]:
    """The worker processes that are there; behind `discard`, those that could not be killed."""
    return [child for child in active_children() if isinstance(child, LokyProcess)]


def break_pool() -> None:
    """Kill the workers, and free loky from waiting for one of them.

    It may wait for the rest of a result whose sender was killed halfway, of which it never sees
    the end, because it holds the sending end of the pipe open itself; or for the end of a process
    that cannot be killed. What follows is what follows a worker's death at any other time.
    """
    for worker in living_workers():
        _kill(worker)
    results = getattr(_pool(), "_result_queue", None)
    if results is not None:
        with contextlib.suppress(OSError):  # loky may have closed it by now
            if os.name == "posix":
                os.set_blocking(results._writer.fileno(), False)
            results._writer.send_bytes(b"not a result")
        with contextlib.suppress(OSError):
            results._writer.close()


class Watch:
    """Looks after the workers, whenever it is told to, in the main process."""

    def __init__(self) -> None:
        self._dead: Any = None
        self._dead_since = 0.0

    def look(self, *, awaits_results: bool) -> None:
        """End workers that hang, and break a pool that waits for what will never come.

        awaits_results: whether the pool has tasks. Where it has none, it may not be there yet.
        """
        overdue_s = [0.0]
        for worker in living_workers():
            _bound_join(worker)
            overdue_s.append(board().overdue_s(worker))
            if overdue_s[-1] > GRACE_S:
                _kill(worker)
        if self._is_stuck(awaits_results) or max(overdue_s) > 2 * GRACE_S:
            break_pool()

    def _is_stuck(self, awaits_results: bool) -> bool:
        """Whether loky has not noticed for long that a worker is dead."""
        dead = _dead_worker() if awaits_results else None
        if dead is not self._dead:
            self._dead, self._dead_since = dead, time.monotonic()
        return dead is not None and time.monotonic() - self._dead_since > STUCK_S


def _pool() -> Any:
    """The executor of loky, if there is one. Its own function for that would make one."""
    return reusable_executor._executor


def _dead_worker() -> Any:
    """A worker of the pool that has ended, or None."""
    workers = (getattr(_pool(), "_processes", None) or {}).values()
    return next((worker for worker in list(workers) if worker.exitcode is not None), None)


def _bound_join(worker: Any) -> None:
    """Have the end of a process awaited for a while only. loky, and Python at its own end, would
    wait for ever.
    """
    worker.join = functools.partial(_join, worker)


def _join(worker: Any, timeout: float | None = None) -> None:
    LokyProcess.join(worker, JOIN_S if timeout is None else timeout)


def _kill(worker: Any) -> None:
    _bound_join(worker)
    _send(worker, _KILL)


def _send(worker: Any, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.pid, number)
