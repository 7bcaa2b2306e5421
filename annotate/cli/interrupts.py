"""Interrupts: the first Ctrl-C or SIGTERM ends a run in order, the second one ends it now."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from annotate.cli.progress import say
from annotate.signals import handled_by


class InterruptedRunError(Exception):
    """A run that was interrupted, and can be gone on with. The message is for people."""


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Within, the first Ctrl-C or SIGTERM calls `stop`, and the next raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's; whoever runs us elsewhere handles them
        return
    is_stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopping
        if is_stopping:
            raise KeyboardInterrupt
        is_stopping = True
        say("stopping: what is in flight is finished first; once more stops at once")
        stop()

    with handled_by(handle):
        yield
