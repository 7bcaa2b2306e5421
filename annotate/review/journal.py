"""The journal of a review: `OUT.corrections.jsonl`, a line for each thing that a person said.

A line is on disk before the person sees that it counts. Nothing that is there is ever changed; an
undo is a line too. A line that a crash cut short costs that line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from annotate import durable
from annotate.errors import AnnotateError, shown
from annotate.locks import Lock
from annotate.review.corrections import FaceName, Line, Said, parse_line

SUFFIX = ".corrections.jsonl"
MAX_LINE_BYTES = 2**20
"""A path has at most 64 KiB. What is longer is no line of ours."""


def journal_path(out: str | os.PathLike[str]) -> Path:
    """Where the corrections of an output lie: beside it."""
    target = Path(os.path.abspath(out))
    return target.with_name(target.name + SUFFIX)


class Journal:
    """The corrections of an output, read once; `append` adds to them.

    lines: all that can be read, oldest first. unreadable: how many cannot. Raises AnnotateError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self.unreadable = 0
        self._last_number = 0
        self._ends_in_line = True
        try:
            if path.exists():
                self._read()
        except OSError as error:
            raise self._failed("read", error) from error

    def append(self, face: FaceName, said: Said, undoes: int | None = None) -> Line:
        """Have a line on disk, and return it. Raises AnnotateError where it may not be there."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = Line(self._last_number + 1, at, face, said, undoes)
        # The rest of a line that was cut short must not become the beginning of this one.
        data = b"" if self._ends_in_line else b"\n"
        is_new = not self.path.exists()
        self._ends_in_line = False
        try:
            durable.append(self.path, data + line.to_bytes())
            if is_new:
                durable.flush_folder(self.path.parent)
        except OSError as error:
            raise self._failed("write", error) from error
        self._ends_in_line = True
        self._take(line)
        return line

    def _read(self) -> None:
        if not self.path.is_file():
            raise AnnotateError(f"{shown(str(self.path), 300)} is no file: move it away")
        with self.path.open("rb") as file:
            while raw := file.readline(MAX_LINE_BYTES):
                self._ends_in_line = raw.endswith(b"\n")
                if not raw.strip():
                    continue
                try:
                    self._take(parse_line(raw))
                except ValueError:
                    self.unreadable += 1

    def _take(self, line: Line) -> None:
        self.lines.append(line)
        self._last_number = max(self._last_number, line.number)

    def _failed(self, what: str, error: OSError) -> AnnotateError:
        reason = error.strerror or str(error)
        return AnnotateError(
            f"cannot {what} the corrections {shown(str(self.path), 300)}: {reason}"
        )


@contextmanager
def locked_journal(out: str | os.PathLike[str]) -> Iterator[Journal]:
    """The corrections of an output, which no other review has meanwhile. Raises AnnotateError."""
    path = journal_path(out)
    target = Path(os.path.abspath(out))
    try:
        lock = Lock(
            target.with_name(f".{target.name}.review"),
            shown(str(target), 300, quote=False),
            doing="reviewed",
            way_out="end that review, or wait for it",
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise AnnotateError(
            f"cannot keep corrections beside {shown(str(target), 300)}: {reason}; copy the output"
            " to a folder where you may write"
        ) from error
    try:
        yield Journal(path)
    finally:
        lock.release()
