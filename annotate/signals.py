"""Signals: Ctrl-C and SIGTERM go to a function, for as long as a block runs; else they interrupt.

Imports the standard library only: it is there before anything else of annotate.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_has_come = False


def interrupt_from_now_on() -> None:
    """Let both signals raise KeyboardInterrupt, wherever the program is. For the main thread.

    Those that whoever started the program wants to be ignored stay so.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable


def end_from_now_on(code: int) -> None:
    """Let both signals end the process, which is about to end by itself, and say nothing.

    In what runs at its end, such as the end of worker processes, they would be tracebacks.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, lambda *_: os._exit(code))


def was_interrupted() -> bool:
    """Whether one of the signals has raised KeyboardInterrupt.

    Compiled code that it comes to may turn it into an error of its own: a library that is being
    imported, say, into one that cannot be.
    """
    return _has_come


def _unraisable(broken: sys.UnraisableHookArgs) -> None:
    """Where nothing can be raised, as while an object is removed, the signal comes once more."""
    if isinstance(broken.exc_value, KeyboardInterrupt):
        with contextlib.suppress(RuntimeError):  # no thread starts any more: the end is near
            again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
    else:
        sys.__unraisablehook__(broken)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _has_come
    _has_come = True
    raise KeyboardInterrupt


@contextlib.contextmanager
def handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within, SIGINT and SIGTERM call `handle`. In the main thread, whose signals are."""
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
