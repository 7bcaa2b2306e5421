"""How much work Python does, counted, since how long it takes says more about the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def limited_steps(most: int) -> Iterator[None]:
    """Within it this thread runs at most so many lines and calls of Python; one more fails.

    Loops within C count as the line that runs them.
    """
    steps = 0

    def step(frame: FrameType, event: str, detail: Any) -> Callable[..., Any]:
        nonlocal steps
        steps += 1
        assert steps <= most, f"more than {most} steps at {frame.f_code.co_filename}"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)
