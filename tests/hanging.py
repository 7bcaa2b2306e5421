"""Ways in which an item hangs or ends its process. Imports little: each worker process loads it."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

HANG_S = 120.0
"""How long all of them last at most, should nothing end them."""

PR_SET_PTRACER = 0x59616D61
PTRACE_SEIZE = 0x4206
PTRACE_O_TRACEEXIT = 0x40


def square(ways: dict[int, str], folder: str, item: int) -> int:
    """The square of an item, unless there is a way in which it is to hang; it leaves a trace."""
    with open(Path(folder, str(item)), "a", encoding="ascii") as trace:
        trace.write(".")
    hang(ways.get(item, ""), folder, item)
    return item * item


def tries(folder: Path, item: int) -> int:
    """How often `square` has begun with an item."""
    trace = folder / str(item)
    return len(trace.read_text("ascii")) if trace.exists() else 0


def hang(way: str, folder: str, item: int) -> None:
    if way == "sleep" or (way == "sleep once" and tries(Path(folder), item) == 1):
        time.sleep(HANG_S)
    if way == "loop":
        hold_the_interpreter()
    if way == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if way == "exit":
        os._exit(7)
    if way == "unkillable":
        become_unkillable(Path(folder))
        time.sleep(HANG_S)


def hold_the_interpreter() -> None:
    """Two minutes of work in C, in which no other thread of the process runs."""
    base = 7
    base**50_000_000


def become_unkillable(folder: Path) -> None:
    """From here on this process does not end, whatever is sent to it, like one that sleeps in the
    kernel: it stops as it exits, for a tracer that does not let it go on.

    The tracer's process id is left in `tracer-*`. Where tracing is not allowed, `not-traced` is
    left, and this process ends.
    """
    worker = os.getpid()
    libc = ctypes.CDLL(None)
    libc.prctl(ctypes.c_int(PR_SET_PTRACER), ctypes.c_ulong(-1))
    if (child := os.fork()) == 0:
        # Twice, so that it is no child of the worker's: those are killed with it.
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 1024)  # the ends of pipes tell others that the worker lives
            _trace(worker, folder)
        os._exit(0)
    os.waitpid(child, 0)
    while not any(folder.glob("*trace*")):
        time.sleep(0.01)
    if (folder / "not-traced").exists():
        os._exit(1)


def _trace(worker: int, folder: Path) -> None:
    libc = ctypes.CDLL(None)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long
    is_traced = libc.ptrace(PTRACE_SEIZE, worker, 0, PTRACE_O_TRACEEXIT) == 0
    (folder / (f"tracer-{os.getpid()}" if is_traced else "not-traced")).touch()
    if is_traced:
        time.sleep(HANG_S)


def end_tracers(folder: Path) -> None:
    """Let the processes that became unkillable end."""
    for trace in folder.glob("tracer-*"):
        os.kill(int(trace.name.partition("-")[2]), signal.SIGKILL)
