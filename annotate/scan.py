"""Scan: SOURCEs in, a frozen plan of inputs out, and a count of all that was passed over.

Works on bytes paths throughout, since a file name on POSIX is bytes and need not be text. The
plan is ordered by SOURCE and then by the bytes of the POSIX path, and keeps an input in about
30 bytes beside its path, so that a million files cost tens of megabytes.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from annotate.errors import AnnotateError
from annotate.records import Failure, Source, Status

THUMBNAIL_FOLDERS = (
    "@eaDir",
    "@__thumb",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "__MACOSX",
    "iPod Photo Cache",
    "Thumbnails",
    "thumbnails",
    "*.lrdata",
    "lost+found",
)
"""Folders of NAS systems and photo programs that hold copies, caches and waste."""

_BACKSLASH = b"\\"
_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What counts as an input. suffixes: lower case, with the dot. exclude: shell patterns that
    are matched against the path relative to its SOURCE and against each of its components.
    limit: stop after so many inputs.
    """

    suffixes: frozenset[str]
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    limit: int | None = None


def escape(name: bytes) -> str:
    r"""A name as text: `\` becomes `\\` and each byte that is not UTF-8 becomes `\xNN`."""
    return name.replace(_BACKSLASH, _BACKSLASH * 2).decode("utf-8", "backslashreplace")


def unescape(text: str) -> bytes:
    """The name that `escape` was given."""

    def restored(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return _BACKSLASH if code == _BACKSLASH else bytes([int(code[1:], 16)])

    return _ESCAPE.sub(restored, text.encode("utf-8"))


def resolve(row: Mapping[str, Any]) -> str:
    """The path that opens a row's file. row: anything with `source` and `path`."""
    return os.fsdecode(os.path.join(unescape(row["source"]), unescape(row["path"])))


class Plan(Sequence[Source]):
    """The inputs of a run, in order, frozen once scanned; made of a few flat arrays."""

    def __init__(self) -> None:
        self._roots: list[bytes] = []
        self._failures: dict[int, Failure] = {}
        self._paths = bytearray()
        self._ends = array("Q")
        self._root_of = array("L")
        self._sizes = array("q")
        self._times = array("q")

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Source: ...
    @overload
    def __getitem__(self, index: slice) -> list[Source]: ...
    def __getitem__(self, index: int | slice) -> Source | list[Source]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        key = index % len(self)
        start = self._ends[key - 1] if key else 0
        path = bytes(self._paths[start : self._ends[key]])
        root = self._roots[self._root_of[key]]
        return Source(
            key=key,
            source=escape(root),
            path=escape(_posix(path)),
            location=os.path.join(root, path),
            size_bytes=self._sizes[key],
            modified_ns=self._times[key],
            failure=self._failures.get(key),
        )

    def _append(self, root: bytes, path: bytes, size: int, time_ns: int) -> None:
        if not self._roots or self._roots[-1] != root:
            self._roots.append(root)
        self._paths += path
        self._ends.append(len(self._paths))
        self._root_of.append(len(self._roots) - 1)
        self._sizes.append(size)
        self._times.append(time_ns)

    def _fail(self, failure: Failure) -> None:
        """Mark the last input as one that cannot be opened."""
        self._failures[len(self) - 1] = failure


@dataclass
class Scan:
    """A plan and what was passed over. skipped: reason -> number of directory entries."""

    plan: Plan = field(default_factory=Plan)
    skipped: Counter[str] = field(default_factory=Counter)


def scan(sources: Sequence[str | os.PathLike[str]], options: ScanOptions) -> Scan:
    """Find the inputs of SOURCEs: folders, files and glob patterns.

    Raises AnnotateError where a SOURCE does not exist.
    """
    scanner = _Scanner(options, several=len(sources) > 1)
    for source in sources:
        for root, path, size, time_ns, failure in scanner.inputs_of(os.fsencode(source)):
            # Even the limit's last input is complete: the next one is only looked for after it.
            if options.limit is not None and len(scanner.found.plan) >= options.limit:
                return scanner.found
            scanner.found.plan._append(root, path, size, time_ns)
            if failure is not None:
                scanner.found.plan._fail(failure)
    return scanner.found


_Input = tuple[bytes, bytes, int, int, Failure | None]
"""(root folder, path below it, size in bytes, modification time in ns, failure or None)."""


class _Scanner:
    """The state of one scan: what was seen, and what was passed over."""

    def __init__(self, options: ScanOptions, *, several: bool) -> None:
        self.options = options
        self.found = Scan()
        # Only several SOURCEs, or a pattern, can reach one file twice.
        self._seen: set[bytes] | None = set() if several else None
        self._folders: set[tuple[int, int]] = set()
        self._patterns = options.exclude
        self._folder_patterns = THUMBNAIL_FOLDERS if options.default_excludes else ()

    def inputs_of(self, source: bytes) -> Iterator[_Input]:
        """The inputs of one SOURCE, each file once."""
        root, real_root = b"", b""
        for item in self._inputs_of(source):
            if self._seen is not None:
                if item[0] != root:
                    root, real_root = item[0], os.path.realpath(item[0])
                real = os.path.join(real_root, item[1])
                if real in self._seen:
                    self.found.skipped["listed twice"] += 1
                    continue
                self._seen.add(real)
            yield item

    def _inputs_of(self, source: bytes) -> Iterator[_Input]:
        absolute = os.path.abspath(source)
        try:
            status = os.stat(absolute)
        except (OSError, ValueError) as error:
            if glob.has_magic(source):
                yield from self._glob(absolute)
                return
            if isinstance(error, PermissionError) or os.path.islink(absolute):
                yield (*_split(absolute), 0, 0, _unreadable(error))
                return
            raise AnnotateError(f"no such file or folder: {_shown(source)}") from error
        if stat.S_ISDIR(status.st_mode):
            yield from self._walk(absolute, b"")
        elif stat.S_ISREG(status.st_mode):
            yield (*_split(absolute), status.st_size, status.st_mtime_ns, None)
        else:
            failure = Failure(Status.UNREADABLE, "not a regular file")
            yield (*_split(absolute), 0, status.st_mtime_ns, failure)

    def _glob(self, pattern: bytes) -> Iterator[_Input]:
        """What a pattern matches, below the deepest folder that it names without wildcards."""
        base = pattern
        while glob.has_magic(base):
            base = os.path.dirname(base)
        if self._seen is None:
            self._seen = set()
        below = pattern[len(base) :].lstrip(os.fsencode(os.sep))
        matches = glob.glob(below, root_dir=base, recursive=True)
        if not matches:
            raise AnnotateError(f"no file matches {_shown(pattern)}")
        for path in sorted(matches, key=_posix):
            full = os.path.join(base, path)
            if os.path.isdir(full):
                yield from self._walk(base, path.rstrip(os.fsencode(os.sep)) + b"/")
            else:
                yield from self._entry(base, path, full)

    def _walk(self, root: bytes, start: bytes) -> Iterator[_Input]:
        """The inputs below a folder, without recursion, so that depth has no limit."""
        stack = [iter([start])]
        while stack:
            path = next(stack[-1], None)
            if path is None:
                stack.pop()
            elif path and not path.endswith(b"/"):
                yield from self._entry(root, path, os.path.join(root, path))
            else:
                listed = self._list(root, path)
                if isinstance(listed, Failure):
                    yield root, path or b".", 0, 0, listed
                else:
                    stack.append(iter(listed))

    def _list(self, root: bytes, path: bytes) -> list[bytes] | Failure:
        """The entries of a folder in order, folders with a final slash; or why not."""
        full = os.path.join(root, path)
        entries = []
        try:
            if self.options.follow_links and not self._first_visit(full):
                return []
            with os.scandir(full) as listing:
                for entry in listing:
                    name = entry.name
                    if self._is_folder(entry, path):
                        entries.append(path + name + b"/")
                    elif not entry.is_dir():
                        entries.append(path + name)
        except OSError as error:
            return _unreadable(error, "folder cannot be listed")
        # A folder sorts as its name and a slash: then this is the order of whole paths.
        entries.sort()
        return entries

    def _first_visit(self, folder: bytes) -> bool:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in self._folders:
            self.found.skipped["folder reached twice"] += 1
            return False
        self._folders.add(identity)
        return True

    def _is_folder(self, entry: os.DirEntry[bytes], path: bytes) -> bool:
        """Whether an entry is a folder to walk; one that is not to be walked is counted."""
        if not entry.is_dir():
            return False
        name = escape(entry.name)
        if name.startswith("."):
            self.found.skipped["hidden"] += 1
        elif any(fnmatch.fnmatchcase(name, pattern) for pattern in self._folder_patterns):
            self.found.skipped["thumbnail or system folder"] += 1
        elif self._is_excluded(path + entry.name):
            self.found.skipped["excluded"] += 1
        elif entry.is_symlink() and not self.options.follow_links:
            self.found.skipped["linked folder"] += 1
        else:
            return True
        return False

    def _entry(self, root: bytes, path: bytes, full: bytes) -> Iterator[_Input]:
        """The input that a directory entry is, or nothing, with the reason counted."""
        name = os.path.basename(path)
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith(b"."):
            self.found.skipped["hidden"] += 1
        elif self._is_excluded(path):
            self.found.skipped["excluded"] += 1
        elif suffix.decode("ascii", "replace") not in self.options.suffixes:
            self.found.skipped["not an image"] += 1
        else:
            try:
                status = os.stat(full)
            except OSError as error:
                yield root, path, 0, 0, _unreadable(error)
                return
            if stat.S_ISREG(status.st_mode):
                yield root, path, status.st_size, status.st_mtime_ns, None
            else:
                self.found.skipped["not a regular file"] += 1

    def _is_excluded(self, path: bytes) -> bool:
        if not self._patterns:
            return False
        text = escape(_posix(path))
        return any(
            fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(part, pattern)
            for pattern in self._patterns
            for part in text.split("/")
        )


def _split(path: bytes) -> tuple[bytes, bytes]:
    folder, name = os.path.split(path)
    return folder, name


def _posix(path: bytes) -> bytes:
    return path if os.sep == "/" else path.replace(os.fsencode(os.sep), b"/")


def _unreadable(error: Exception, what: str = "") -> Failure:
    reason = getattr(error, "strerror", None) or "invalid path"
    return Failure(Status.UNREADABLE, f"{what}: {reason}" if what else reason)


def _shown(path: bytes) -> str:
    """A path for a message: printable, on one line."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escape(path))
