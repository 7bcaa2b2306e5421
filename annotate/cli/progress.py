"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from annotate.summary import Summary

SECONDS_PER_LINE = 15.0
"""Where stderr is no terminal, a line of progress comes this often."""


def say(text: str) -> None:
    """Print for people on stderr. That nobody reads it any more does not end a run."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(text, err=True)


class Progress:
    """Call it with a Summary after each batch. A context manager, so that the bar is closed."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None
        self._next_line = time.monotonic() + SECONDS_PER_LINE

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total, unit=" images", unit_scale=False, file=sys.stderr, smoothing=0.1
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, summary: Summary) -> None:
        """Show how far the run is."""
        # It grows as archives tell what is in them.
        total = summary.inputs
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(summary.done - self._bar.n)
            if summary.failures:
                self._bar.set_postfix_str(f"{summary.failures:,} failed", refresh=False)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_PER_LINE
            rate = summary.done / max(summary.seconds, 1e-9)
            left = (total - summary.done) / rate
            say(
                f"{summary.done:,} of {total:,} images, {rate:,.0f} images/s,"
                f" about {left:,.0f} s left"
            )
