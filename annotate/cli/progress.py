"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from annotate.errors import shown

if TYPE_CHECKING:
    from annotate.summary import Summary

SECONDS_PER_LINE = 15.0
"""Where stderr is no terminal, a line of progress comes this often."""


def say(text: str) -> None:
    """Print lines for people on stderr. That nobody reads it any more does not end a run.

    Names in them may hold characters that steer a terminal: they are shown as escapes.
    """
    lines = (shown(line, len(line), quote=False) for line in text.split("\n"))
    with contextlib.suppress(BrokenPipeError):
        click.echo("\n".join(lines), err=True)


class Progress:
    """Call it with a Summary after each batch. A context manager, so that the bar is closed.

    total: inputs, None where only the first batch tells. remarks_said: how many of the summary's
    remarks were said before. already: inputs that were done before. summary: the last one shown.
    """

    def __init__(self, total: int | None = None, remarks_said: int = 0, already: int = 0) -> None:
        self.summary: Summary | None = None
        self._total = total
        self._already = already
        self._remarks_said = remarks_said
        self._bar: Any = None
        self._next_line = time.monotonic() + SECONDS_PER_LINE

    def __enter__(self) -> Progress:
        if self._total is not None:
            self._open(self._total)
        return self

    def _open(self, total: int) -> None:
        """The bar, where there is a terminal to show it."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=self._already,
                unit=" images",
                unit_scale=False,
                file=sys.stderr,
                smoothing=0.1,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, summary: Summary) -> None:
        """Show how far the run is, and say what is remarkable about it, once."""
        if self.summary is None and self._total is None:
            self._open(summary.inputs)
        self.summary = summary
        for remark in summary.remarks[self._remarks_said :]:
            self._say(remark)
            self._remarks_said += 1
        if self._bar is not None:
            self._bar.total = summary.inputs if summary.is_total_known else None
            self._bar.update(summary.done - self._bar.n)
            if summary.failures:
                self._bar.set_postfix_str(f"{summary.failures:,} failed", refresh=False)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_PER_LINE
            say(_line(summary))

    def _say(self, text: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self._bar is None:
            say(text)
            return
        with contextlib.suppress(BrokenPipeError):
            self._bar.write(text, file=sys.stderr)


def _line(summary: Summary) -> str:
    """How far a run is, and how long it will take where that can be said."""
    rate = summary.rate
    known = f"{'' if summary.is_total_known else 'at least '}{summary.inputs:,}"
    line = f"{summary.done:,} of {known} images, {rate:,.0f} images/s"
    # A photograph of more faces than fit into a batch may have been all that there was so far.
    if not summary.is_total_known or not rate:
        return line
    return f"{line}, about {(summary.inputs - summary.done) / rate:,.0f} s left"
