"""Trials that go wrong in every way, to see that none of it goes unnoticed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from torture.trials import Outcome

GOOD = range(0, 100, 2)


def trial(seed: int, folder: Path) -> Outcome:
    """As torture.trials.trial; odd seeds bring harm."""
    if seed == 1:
        ctypes.string_at(0)
    elif seed == 3:
        raise ZeroDivisionError("an exception that nobody caught")
    elif seed == 5:
        signal.setitimer(signal.ITIMER_PROF, 0.2)  # the real limit takes too long for a test
        while True:
            pass
    elif seed == 7:
        time.sleep(1000)
    elif seed == 9:
        os.write(2, b"libsomething: a warning\n")
    elif seed == 11:
        print("\x1b[2J")
    elif seed == 13:
        os._exit(0)
    elif seed == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    elif seed == 17:
        sys.exit("an end that nobody asked for")
    elif seed == 19:
        return Outcome(seed, "PNG", ["ok"], ["a status that cannot be"], 5.0)
    return Outcome(seed, "PNG", ["ok"], [], float(seed))
