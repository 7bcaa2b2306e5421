"""Deadlines: until when each worker process may be at its item, kept on a board that the main
process reads.

A worker that is still at its item when the deadline comes is ended by the kernel, whatever code
holds the interpreter. Where a timer cannot do that, the main process sees on the board that it has
to, and in every case it sees there that it was the time which ended a worker.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import current_process
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import RawArray
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

SLOTS = 4096
"""Processes have consecutive numbers, and far fewer live at a time: no two share a slot."""


class Board:
    """A time for each process, in seconds of `time.monotonic`, which is the same in all processes.

    0 where the process is at no item. Pickled, as a worker process is started, it stays shared.
    """

    def __init__(self, times: Any = None) -> None:
        self._times = RawArray("d", SLOTS) if times is None else times

    def __reduce__(self) -> tuple[Callable[[bytes], Board], tuple[bytes]]:
        # loky's pickler does not know shared memory, multiprocessing's does.
        return _unpickled, (bytes(ForkingPickler.dumps(self._times)),)

    def set(self, process: BaseProcess, deadline: float) -> None:
        """Note a deadline, or 0 for none."""
        self._times[_slot(process)] = deadline

    def overdue_s(self, process: BaseProcess) -> float:
        """Seconds since the deadline of a process; below 0 before it, or where there is none."""
        deadline = self._times[_slot(process)]
        return time.monotonic() - deadline if deadline else -1.0

    def has_passed(self) -> bool:
        """Whether there is a process that was, or is, at its item when its deadline came."""
        now = time.monotonic()
        return any(0 < deadline <= now for deadline in self._times)

    def clear(self) -> None:
        """Forget the deadlines of processes that have ended."""
        self._times[:] = [0.0] * SLOTS


def _unpickled(times: bytes) -> Board:
    return Board(ForkingPickler.loads(times))


def _slot(process: BaseProcess) -> int:
    """The process's number among all that its parent has started, by which slots are shared out."""
    return process._identity[-1] % SLOTS


@functools.cache
def board() -> Board:
    """In the main process: the board of its workers."""
    return Board()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=board.cache_clear)  # its workers get numbers of their own

_own: Board | None = None
"""In a worker process: where its deadlines are read."""


def serve(shared: Board) -> None:
    """Make this process a worker. What no process has been started for is never ended."""
    global _own
    _own = shared
    shared.set(current_process(), 0)
    if os.name == "posix":  # whoever started the program may have had the signal ignored
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


def run_within(limit_s: float | None, function: Callable[[Item], Result], item: Item) -> Result:
    """`function(item)`, in a worker process that ends if that takes longer. None: no limit."""
    if limit_s is None or _own is None:
        return function(item)
    _own.set(current_process(), time.monotonic() + limit_s)
    _set_timer(limit_s)
    try:
        return function(item)
    finally:
        _set_timer(0)
        _own.set(current_process(), 0)


def _set_timer(seconds: float) -> None:
    """Have this process ended after so many seconds, 0 for not at all.

    The signal has no handler, which would have to wait for Python code to run. Elsewhere than on
    POSIX only the main process can do as much.
    """
    if os.name == "posix":
        signal.setitimer(signal.ITIMER_REAL, seconds)
