"""Isolation: checks in, findings out, whatever a check does to the process that it runs in.

Checks run one after the other in a child process, which says before each what it begins. One that
ends the process, as a library does that was built for another processor, or that hangs, as a
driver may, becomes a fault, and another child goes on behind it. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, Any

from annotate.doctor.findings import OTHERS_FIRST, Finding, fault
from annotate.errors import AnnotateError, one_line, shown

START_S = 60.0
"""How long a child may take to start."""

END_S = 5.0
"""How long the end of a child that was killed is waited for."""

_MORE_PROCESSES = "free some memory, or end programs; if that is no use, install Python again"

_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.stdin.readline())
from annotate.doctor.isolation import serve
serve()
"""

_MEANINGS = {
    "SIGILL": "this processor lacks instructions that it was built for",
    "SIGKILL": "the system killed it, most likely for lack of memory",
    "SIGSEGV": "it crashed",
    "SIGABRT": "it gave up",
    "SIGBUS": "it crashed; is a disk full, or /dev/shm?",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What checks are about. folder: a SOURCE whose time is estimated, None for none. faces, model,
    workers: as in a RunConfig. seconds: of the speed test, 0 for none.
    """

    folder: str | None = None
    faces: str = "detect"
    model: str = "base"
    workers: int | None = None
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. area, name: the heading and the line of what it finds.

    function: "module:name"; called with the Options and `argument`, it yields findings. limit_s:
    how long it may take until its next finding. to_do: what to do where it raises, ends its process
    or takes longer. is_last: the child ends with it, and gives back its memory.
    """

    area: str
    name: str
    function: str
    argument: str = ""
    limit_s: float = 60.0
    to_do: str = OTHERS_FIRST
    is_last: bool = False


def examine(checks: Sequence[Check], options: Options) -> Iterator[Finding]:
    """What the checks find, in order, as it is found. Never raises for what is broken."""
    left = list(checks)
    while left:
        try:
            done = yield from _in_one_child(left, options)
        except OSError as error:
            reason = error.strerror or one_line(error)
            said = f"cannot start {shown(sys.executable)}: {reason}"
            yield _placed(left[0], fault(said, _MORE_PROCESSES))
            done = 1
        left = left[done:]


def _in_one_child(checks: Sequence[Check], options: Options) -> Generator[Finding, None, int]:
    """Run checks until one breaks the child, or is its last. Returns how many are done with.

    Raises OSError where no child can be started.
    """
    with _Child(checks, options) as child:
        for number, check in enumerate(checks, start=1):
            try:
                yield from child.findings(check, START_S + check.limit_s if number == 1 else None)
            except _BrokenError as error:
                yield _placed(check, fault(str(error), check.to_do))
                return number
            if check.is_last:
                return number
    return len(checks)


class _BrokenError(Exception):
    """The child ended or hangs. The text says how."""


class _Child:
    """A process that runs checks. A context manager: at its end nothing of the process is left."""

    def __init__(self, checks: Sequence[Check], options: Options) -> None:
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._last_words: deque[str] = deque(maxlen=20)
        self._process = subprocess.Popen(
            # -P: never a module from the current folder, which may be full of strangers' files.
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            # A group of its own, which can be killed with the workers that the child has started.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: its silence will say so
            for told in (sys.path, asdict(options), [asdict(check) for check in checks]):
                self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
        self._readers = [
            threading.Thread(target=target, args=(stream,), daemon=True)
            for target, stream in (
                (self._read, self._process.stdout),
                (self._listen, self._process.stderr),
            )
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        if os.name == "posix":
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it sleeps in the kernel, say
            self._process.wait(timeout=END_S)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        for reader in self._readers:  # each closes its stream, unless somebody holds the other end
            reader.join(timeout=END_S)

    def findings(self, check: Check, first_limit_s: float | None) -> Iterator[Finding]:
        """What one check finds. Raises _BrokenError."""
        limit_s = first_limit_s or check.limit_s
        while True:
            try:
                line = self._lines.get(timeout=limit_s)
            except queue.Empty:
                raise _BrokenError(f"no answer within {limit_s:.0f} s") from None
            if line is None:
                raise _BrokenError(self._how_it_ended())
            if "end" in line:
                return
            yield _placed(check, Finding.of(line))
            limit_s = check.limit_s

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for row in stream:
                self._lines.put(json.loads(row))
        self._lines.put(None)

    def _listen(self, stream: IO[str]) -> None:
        with stream:
            for row in stream:
                if row.strip():
                    self._last_words.append(row)

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            return "its process does not answer any more"
        if code >= 0:
            # What it wrote last may not have been read; a worker of it may hold the other end.
            self._readers[1].join(timeout=END_S)
            last = f": {one_line(self._last_words[-1])}" if self._last_words else ""
            return f"it ended its process with exit code {code}{last}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it ended its process: {name}, {_MEANINGS.get(name, 'an unexpected signal')}"


def _placed(check: Check, finding: Finding) -> Finding:
    return replace(finding, area=check.area, name=finding.name or check.name)


def serve() -> None:
    """In the child: run the checks that stdin names, and write a line for each thing to stdout."""
    options = Options(**json.loads(sys.stdin.readline()))
    checks = [Check(**check) for check in json.loads(sys.stdin.readline())]
    answers = _private_stdout()
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def answer(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    for check in checks:
        for finding in _findings(check, options):
            answer(finding.to_dict())
        answer({"end": check.name})


def _private_stdout() -> IO[str]:
    """Stdout under a number of its own. What libraries print goes where stderr goes."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")


def _end_with_parent() -> None:
    """End this process once nobody holds the other end of stdin any more."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def _findings(check: Check, options: Options) -> Iterator[Finding]:
    """What a check finds; its exceptions are findings too."""
    try:
        yield from _function(check)(options, check.argument)
    except AnnotateError as error:  # a sentence of ours, whose kind says nothing more
        yield fault(one_line(error, 2000), check.to_do)
    except BaseException as error:  # a broken package raises anything, SystemExit too
        said = one_line(error)
        kind = type(error).__name__
        yield fault(kind if said == kind else f"{kind}: {said}", check.to_do)


def _function(check: Check) -> Callable[[Options, str], Iterator[Finding]]:
    module, _, name = check.function.partition(":")
    function: Callable[[Options, str], Iterator[Finding]]
    function = getattr(importlib.import_module(module), name)
    return function
