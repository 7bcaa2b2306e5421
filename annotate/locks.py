"""Locks: one process at a time for a work folder.

The system gives up a lock with the process that held it, however that ended, so a lock is never
stale. Where a file system knows no locks, the process that a lock file names is looked for.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from annotate.errors import AnnotateError, shown

FILE = "lock"

_MAX_BYTES = 4096
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

Refused = Callable[[dict[str, Any]], AnnotateError]


class Lock:
    """The lock of a work folder, which is made where it is missing.

    target: the output that the folder is for, for messages; doing: what its holder does with it,
    way_out: what else there is to do. Raises AnnotateError where another process has it, and
    OSError where the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        target: str,
        *,
        doing: str = "written",
        way_out: str = "wait for it, stop it, or name another -o",
    ) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._target = target
        self._doing = doing
        self._way_out = way_out
        self._handle = self._taken()
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, json.dumps(_holder()).encode())

    def release(self) -> None:
        """Let others have the folder. If nothing is left in it, it is removed."""
        try:
            is_alone = os.listdir(self._folder) == [FILE]
        except OSError:  # someone has removed it
            is_alone = False
        if is_alone and os.name == "posix":  # elsewhere an open file cannot be removed
            self._remove()
        os.close(self._handle)
        if is_alone and os.name != "posix":
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # someone who waits for it has just made it again
            self._path.unlink()
            self._folder.rmdir()

    def _taken(self) -> int:
        while True:
            _make_folder(self._folder)
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
            except FileNotFoundError:
                continue  # another run has ended, and removed the folder
            try:
                _take(handle, self._refused)
                # The other run may have removed the very file that is locked now.
                if self._is_there(handle):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _is_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _refused(self, holder: dict[str, Any]) -> AnnotateError:
        process = shown(holder.get("pid", "unknown"), 20, quote=False)
        where = shown(holder.get("host", "this machine"), 80, quote=False)
        since = shown(holder.get("since", "unknown"), 40, quote=False)
        return AnnotateError(
            f"{self._target} is being {self._doing} by another annotate: process {process} on"
            f" {where}, since {since}; {self._way_out}"
        )


def _make_folder(folder: Path) -> None:
    """Make the work folder. A link of its name might lead to a stranger's. Raises OSError."""
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _take(handle: int, refused: Refused) -> None:
    """Lock an open file. Raises what `refused` makes of its holder where that is another."""
    try:
        import fcntl
    except ImportError:  # Windows
        _take_by_bytes(handle, refused)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise refused(_read(handle)) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if _is_alive(holder := _read(handle)):
            raise refused(holder) from error


def _take_by_bytes(handle: int, refused: Refused) -> None:
    import msvcrt

    try:
        # Far behind the text, which others are to read.
        os.lseek(handle, 2**20, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError as error:
        raise refused(_read(handle)) from error


def _holder() -> dict[str, Any]:
    """What a lock says of who holds it."""
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _read(handle: int) -> dict[str, Any]:
    os.lseek(handle, 0, os.SEEK_SET)
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(os.read(handle, _MAX_BYTES))
        if isinstance(found, dict):
            return found
    return {}


def _is_alive(holder: dict[str, Any]) -> bool:
    """Whether the process may still run. One of another machine cannot be asked."""
    if holder.get("host") != socket.gethostname():
        return bool(holder)
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError, OverflowError):
        return False
    except PermissionError:
        return True
    return int(holder["pid"]) != os.getpid()
