"""Checks for `annotate doctor` that do to their process what broken libraries do."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from annotate.doctor.findings import Finding, ok
from annotate.doctor.isolation import Options
from annotate.errors import AnnotateError


def well(options: Options, argument: str) -> Iterator[Finding]:
    yield ok(f"well {argument}", {"model": options.model})


def raises(options: Options, argument: str) -> Iterator[Finding]:
    yield ok("so far")
    raise RuntimeError("boom\n\x1b[31m at 0x7f00")


def is_told(options: Options, argument: str) -> Iterator[Finding]:
    yield from ()
    raise AnnotateError("it is gone: get it again")


def leaves(options: Options, argument: str) -> Iterator[Finding]:
    yield from ()
    sys.exit("as some packages do")


def ends(options: Options, argument: str) -> Iterator[Finding]:
    yield from ()
    os.write(2, b"Fatal: no such instruction\n")
    os._exit(7)


def crashes(options: Options, argument: str) -> Iterator[Finding]:
    yield ok("about to crash")
    ctypes.string_at(0)


def is_killed(options: Options, argument: str) -> Iterator[Finding]:
    yield from ()
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(options: Options, argument: str) -> Iterator[Finding]:
    """Ignores all that can be ignored, and has a process of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield ok("begins", {"pid": os.getpid(), "other": other.pid})
    time.sleep(600)


def chatters(options: Options, argument: str) -> Iterator[Finding]:
    os.write(1, b"not JSON\n" * 10_000)
    print("more of it")
    yield ok("said")
