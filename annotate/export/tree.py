"""Tree: relative names and bytes in, files below one folder out, each whole and nowhere else.

Names come from strangers' rows. A link inside the tree is never followed, and what was there
before is replaced only where that is asked for.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import unicodedata
from pathlib import Path

from annotate import durable
from annotate.errors import shown
from annotate.export.tally import Reason
from annotate.targets import explained

MAX_NAME_BYTES = 255
"""No common file system has longer names of files."""

_BAD_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


class Tree:
    """A folder that files are put into. Raises AnnotateError where the disk does not let it.

    overwrite: replace files that are there, but none of those that were put there since: where
    `A.xmp` and `a.xmp` are one to the file system, the first stays.
    """

    def __init__(self, root: str, *, overwrite: bool) -> None:
        self._root = os.path.abspath(root)
        self._overwrite = overwrite
        self._is_case_blind = False
        self._taken: set[bytes] = set()
        self._folders = {self._root}
        self._touched: set[str] = set()

    def begin(self) -> None:
        """Make the folder, if it is not there yet."""
        with explained(shown(self._root, 300)):
            if not os.path.isdir(self._root):
                os.mkdir(self._root)
                self._touched.add(os.path.dirname(self._root))
            name = f".annotate-{secrets.token_hex(8)}"
            probe = Path(self._root, name)
            probe.open("xb").close()
            self._is_case_blind = os.path.lexists(os.path.join(self._root, name.swapcase()))
            probe.unlink()

    def why_not(self, relative: bytes) -> Reason | None:
        """Why a file of this name, with slashes, cannot be put into the tree; None where it can."""
        if max(map(len, relative.split(b"/"))) > MAX_NAME_BYTES:
            return Reason.BAD_NAME
        if self._digest(relative) in self._taken:
            return Reason.CLASH
        *folders, last = self._places(relative)
        try:
            if not all(self._is_folder(folder) for folder in folders):
                return Reason.BLOCKED
            status = os.lstat(last)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _bad_name(error, last)
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            return None if self._overwrite else Reason.EXISTS
        return Reason.BLOCKED

    def take(self, relative: bytes) -> None:
        """Have the name taken, as a file that is put there has it."""
        self._taken.add(self._digest(relative))

    def put(self, relative: bytes, data: bytes) -> Reason | None:
        """Write a file, or say why not."""
        reason = self.why_not(relative)
        if reason is not None:
            return reason
        *folders, last = self._places(relative)
        try:
            for folder in folders:
                self._make(folder)
            _write(Path(last), data)
        except OSError as error:
            return _bad_name(error, last)
        self._touched.add(os.path.dirname(last))
        self.take(relative)
        return None

    def finish(self) -> None:
        """Have the names on disk."""
        with explained(shown(self._root, 300)):
            for folder in sorted(self._touched):
                durable.flush_folder(Path(folder))
        self._touched.clear()

    def _places(self, relative: bytes) -> list[str]:
        """The folders in the tree that a file lies in, outermost first, and the file."""
        parts = os.fsdecode(relative).split("/")
        return [os.path.join(self._root, *parts[:end]) for end in range(1, len(parts) + 1)]

    def _is_folder(self, folder: str) -> bool:
        """Whether a folder is one, and no link to one. Raises OSError where nothing is there."""
        if folder in self._folders:
            return True
        if stat.S_ISDIR(os.lstat(folder).st_mode):
            self._folders.add(folder)
            return True
        return False

    def _make(self, folder: str) -> None:
        """Make a folder of the tree, if it is not there yet. Raises OSError."""
        if folder not in self._folders:
            try:
                os.mkdir(folder)
                self._touched.add(os.path.dirname(folder))
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(folder).st_mode):
                    raise
            self._folders.add(folder)

    def _digest(self, relative: bytes) -> bytes:
        """The name, as far as the file system tells it from others, in 16 bytes."""
        if self._is_case_blind:
            text = unicodedata.normalize("NFC", os.fsdecode(relative)).casefold()
            relative = text.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(relative, digest_size=16).digest()


def _bad_name(error: OSError, path: str) -> Reason:
    """The reason, where it is the name that the disk does not take. Raises AnnotateError."""
    if error.errno in _BAD_NAME:
        return Reason.BAD_NAME
    with explained(shown(path, 300)):
        raise error


def _write(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent at its name, and leaves no other. Raises OSError."""
    # Not the name with a suffix, which may have no room for one.
    temporary = path.with_name(f".annotate-{secrets.token_hex(8)}")
    with durable.new_file(temporary) as file:
        file.write(data)
    try:
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
