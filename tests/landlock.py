"""Run a command that can write below some folders only: the kernel refuses everything else.

`python tests/landlock.py FOLDER... -- COMMAND...`. What the command starts is held to it too.
Source: landlock(7) of Linux; the structures are of linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import sys

WANTED = 3
"""Version of the interface from which on it watches over truncation; Linux 6.2."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGES = _WRITE_FILE | _TRUNCATE | sum(1 << bit for bit in range(4, 14))
"""Writing, making and removing of every kind, moving between folders, truncating."""


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(_CREATE, None, 0, _VERSION))


def confine(writable: list[str]) -> None:
    """Let this process, and what it starts, write below these folders and files only."""
    library = ctypes.CDLL(None, use_errno=True)

    def call(*arguments: object) -> int:
        result = int(library.syscall(*arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), "landlock")
        return result

    handled = ctypes.c_uint64(_CHANGES)
    rules = call(_CREATE, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    for path in writable:
        place = os.open(path, os.O_PATH)
        allowed = _CHANGES if os.path.isdir(path) else _WRITE_FILE | _TRUNCATE
        call(_ADD, rules, _PATH_BENEATH, ctypes.byref(_Beneath(allowed, place)), 0)
        os.close(place)
    if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    call(_RESTRICT, rules, 0)


if __name__ == "__main__":
    split = sys.argv.index("--")
    confine(sys.argv[1:split])
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
