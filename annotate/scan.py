"""Scan: SOURCEs in, a frozen plan of inputs out, and a count of all that was passed over.

Works on bytes paths throughout, since a file name on POSIX is bytes and need not be text. The
plan is ordered by SOURCE and then by the bytes of the POSIX path, and keeps an input in about
30 bytes beside its path, so that a million files cost tens of megabytes.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
import stat
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from annotate.errors import AnnotateError, shown
from annotate.records import Failure, Source, Status, modified_ns

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
        self._several = several
        # Digests instead of paths: as small for deep folders as for flat ones.
        self._seen: set[bytes] = set()
        self._folders: set[tuple[int, int]] = set()
        self._patterns = tuple(pattern.rstrip("/") for pattern in options.exclude)
        self._folder_patterns = THUMBNAIL_FOLDERS if options.default_excludes else ()

    def inputs_of(self, source: bytes) -> Iterator[_Input]:
        """The inputs of one SOURCE, without those that an earlier SOURCE has given."""
        if not self._several:
            yield from self._inputs_of(source)
            return
        folder, real_folder = b"", b""
        fresh: set[bytes] = set()
        for item in self._inputs_of(source):
            full = os.path.join(item[0], item[1])
            if os.path.dirname(full) != folder:
                folder = os.path.dirname(full)
                real_folder = os.path.realpath(folder)
            real = os.path.join(real_folder, os.path.basename(full))
            if os.path.islink(full):
                real = os.path.realpath(full)
            identity = hashlib.blake2b(real, digest_size=16).digest()
            if identity in self._seen:
                self.found.skipped["listed twice"] += 1
                continue
            fresh.add(identity)
            yield item
        self._seen |= fresh

    def _inputs_of(self, source: bytes) -> Iterator[_Input]:
        if not source:
            raise AnnotateError("a SOURCE is empty: expected a folder, a file or a pattern")
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
            raise AnnotateError(f"no such file or folder: {_named(source)}") from error
        if stat.S_ISDIR(status.st_mode):
            yield from self._walk(absolute)
        elif stat.S_ISREG(status.st_mode):
            yield (*_split(absolute), status.st_size, modified_ns(status), None)
        else:
            failure = Failure(Status.UNREADABLE, "not a regular file")
            yield (*_split(absolute), 0, modified_ns(status), failure)

    def _glob(self, pattern: bytes) -> Iterator[_Input]:
        """What a pattern matches, below the deepest folder that it names without wildcards.

        Not by the glob module, which follows linked folders, into loops too.
        """
        base = pattern
        while glob.has_magic(base):
            base = os.path.dirname(base)
        below = os.fsdecode(pattern[len(base) :]).strip(os.sep)
        walked = _Pattern(below.split(os.sep))
        if not os.path.isdir(base):
            raise AnnotateError(f"no file matches {_named(pattern)}: no folder {_named(base)}")
        yield from self._walk(base, walked)
        if not walked.has_matched:
            raise AnnotateError(f"no file matches {_named(pattern)}")

    def _walk(self, root: bytes, pattern: _Pattern | None = None) -> Iterator[_Input]:
        """The inputs below a folder, without recursion, so that depth has no limit."""
        pattern = pattern or _Pattern([])
        stack = [(iter([b""]), pattern.start)]
        while stack:
            entries, places = stack[-1]
            path = next(entries, None)
            if path is None:
                stack.pop()
            elif path and not path.endswith(b"/"):
                yield from self._entry(root, path, os.path.join(root, path))
            else:
                if path:
                    places = pattern.step(places, os.path.basename(path[:-1]))
                listed = self._list(root, path, pattern, places)
                if isinstance(listed, Failure):
                    yield root, path or b".", 0, 0, listed
                else:
                    stack.append((iter(listed), places))

    def _list(
        self, root: bytes, path: bytes, pattern: _Pattern, places: _Places
    ) -> list[bytes] | Failure:
        """The entries of a folder that a pattern leads to, in order, folders with a final slash;
        or why it cannot be listed.
        """
        full = os.path.join(root, path)
        entries = []
        try:
            if self.options.follow_links and not self._first_visit(full):
                return []
            with os.scandir(full) as listing:
                for entry in listing:
                    reached = pattern.step(places, entry.name)
                    is_folder = _is_folder(entry)
                    if is_folder and reached and self._is_walked(entry, path):
                        entries.append(path + entry.name + b"/")
                    elif not is_folder and pattern.ends_at(reached):
                        entries.append(path + entry.name)
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

    def _is_walked(self, entry: os.DirEntry[bytes], path: bytes) -> bool:
        """Whether a folder is to be walked; one that is not is counted."""
        name = os.fsdecode(entry.name)
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
                yield root, path, status.st_size, modified_ns(status), None
            else:
                self.found.skipped["not a regular file"] += 1

    def _is_excluded(self, path: bytes) -> bool:
        if not self._patterns:
            return False
        text = os.fsdecode(_posix(path))  # as patterns come from the command line
        return any(
            fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(part, pattern)
            for pattern in self._patterns
            for part in text.split("/")
        )


_Places = frozenset[int]
"""How far into a pattern a path has come: indexes of the parts that may come next."""


class _Pattern:
    """A glob pattern, matched part by part while walking; without parts it matches everything.

    parts: shell patterns of one path component each, `**` for any number of folders. What lies
    below a folder that matches, matches.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = parts
        self.has_matched = False
        self.start = self._closed({0})

    def step(self, places: _Places, name: bytes) -> _Places:
        """The places after one more path component; empty where nothing can match any more."""
        if len(self._parts) in places:
            return places
        text = os.fsdecode(name)
        reached: set[int] = set()
        for place in places:
            if self._parts[place] == "**":
                reached.add(place)
            elif fnmatch.fnmatchcase(text, self._parts[place]):
                reached.add(place + 1)
        return self._closed(reached)

    def ends_at(self, places: _Places) -> bool:
        """Whether a path that has come to these places matches."""
        return len(self._parts) in places

    def _closed(self, places: set[int]) -> _Places:
        """Places, and those behind a `**`, which may also stand for no folder at all."""
        for place, part in enumerate(self._parts):
            if place in places and part == "**":
                places.add(place + 1)
        self.has_matched |= len(self._parts) in places
        return frozenset(places)


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a forbidden folder: a fault of this entry alone
        return False


def _split(path: bytes) -> tuple[bytes, bytes]:
    folder, name = os.path.split(path)
    return folder, name


def _posix(path: bytes) -> bytes:
    return path if os.sep == "/" else path.replace(os.fsencode(os.sep), b"/")


def _unreadable(error: Exception, what: str = "") -> Failure:
    reason = getattr(error, "strerror", None) or "invalid path"
    return Failure(Status.UNREADABLE, f"{what}: {reason}" if what else reason)


def _named(path: bytes) -> str:
    """A path for a message: printable, on one line."""
    return shown(escape(path), 300, quote=False)
