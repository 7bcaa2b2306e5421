"""Scan: SOURCEs in, a frozen plan of inputs out, and a count of all that was passed over.

Works on bytes paths throughout, since a file name on POSIX is bytes and need not be text. The
plan is ordered by SOURCE and then by the bytes of the POSIX path.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from annotate import listing
from annotate.errors import AnnotateError
from annotate.names import absolute, for_people, is_archive_name, split_archive
from annotate.patterns import Pattern, Places
from annotate.plan import FOLDER, Found, Plan
from annotate.records import Failure, Status, modified_ns
from annotate.selection import ScanOptions, Selection

STDIN = "-"
"""The SOURCE that is a list of paths on stdin. A file of that name is `./-`."""


@dataclass
class Scan:
    """A plan and what was passed over. skipped: reason -> number of directory entries."""

    plan: Plan = field(default_factory=Plan)
    skipped: Counter[str] = field(default_factory=Counter)


def scan(sources: Sequence[str | os.PathLike[str]], options: ScanOptions) -> Scan:
    """Find the inputs of SOURCEs: folders, files, archives, glob patterns, `-` and a table.

    Raises AnnotateError where a SOURCE does not exist, or a list cannot be read. What a list
    names and is not there is an input that cannot be opened.
    """
    is_list = options.table is not None or STDIN in sources
    scanner = _Scanner(options, several=len(sources) > 1 or is_list)
    for found in scanner.inputs(sources):
        # Even the limit's last input is complete: the next one is only looked for after it.
        if options.limit is not None and scanner.found.plan.files >= options.limit:
            break
        scanner.add(found)
    return scanner.found


def scan_below(root: bytes, path: bytes, options: ScanOptions) -> Iterator[Found]:
    """The inputs of a folder that an earlier scan could not list. root, path: of its row."""
    start = b"" if path == FOLDER else path
    return _Scanner(options, several=False).walk(root, start=start)


def is_scanned(folder: bytes, sources: Sequence[str], options: ScanOptions) -> bool:
    """Whether a scan of SOURCEs has listed a folder, or has it as an input that cannot be."""
    selection = Selection(options)
    return os.path.isdir(folder) and any(
        os.path.isdir(source) and selection.is_walked(source, os.fsdecode(folder))
        for source in sources
    )


class _Scanner:
    """The state of one scan: what was seen, and what was passed over."""

    def __init__(self, options: ScanOptions, *, several: bool) -> None:
        self.options = options
        self.found = Scan()
        self._several = several
        # Digests instead of paths: as small for deep folders as for flat ones.
        self._seen: set[bytes] = set()
        self._archives: dict[bytes, int] = {}
        self._folders: set[tuple[int, int]] = set()
        # Most inputs share their folder with others, though a list may name them in any order.
        self._real_folder = lru_cache(1024)(os.path.realpath)
        self._selection = Selection(options)

    def inputs(self, sources: Sequence[str | os.PathLike[str]]) -> Iterator[Found]:
        """The inputs of all SOURCEs, each once, then those of the table."""
        for source in sources:
            if source == STDIN:
                entries = listing.on_stdin(null_separated=self.options.null_separated)
                yield from self._listed(entries)
            else:
                yield from self._new(self._source(os.fsencode(source)))
        if self.options.table is not None:
            yield from self._listed(listing.in_table(self.options.table, self.options.column))

    def add(self, found: Found) -> None:
        """Put an input into the plan; a member goes to its archive, which is there once."""
        plan = self.found.plan
        if not found.is_archive or not self._several:
            plan.append(found)
            return
        identity = self._identity(found.location)
        if identity not in self._archives:
            self._archives[identity] = len(plan)
            plan.append(found)
        elif not plan.want(self._archives[identity], found.member):
            self._skip("listed twice")

    def _listed(self, entries: Iterator[listing.Entry | str]) -> Iterator[Found]:
        """The inputs of a list's entries; of one that names none, the reason is counted."""
        for entry in entries:
            if isinstance(entry, str):
                self._skip(entry)
            else:
                yield from self._new(self._entry(entry))

    def _new(self, items: Iterator[Found]) -> Iterator[Found]:
        """The inputs of one SOURCE, without those that an earlier SOURCE has given."""
        if not self._several:
            yield from items
            return
        fresh: set[bytes] = set()
        for item in items:
            if item.is_archive:  # these are told apart as they are added
                yield item
                continue
            identity = self._identity(item.location)
            if identity in self._seen:
                self._skip("listed twice")
                continue
            fresh.add(identity)
            yield item
        self._seen |= fresh

    def _identity(self, path: bytes) -> bytes:
        """What is the same for all paths that lead to a file."""
        folder, name = os.path.split(path)
        real = os.path.join(self._real_folder(folder), name)
        if os.path.islink(path):
            real = os.path.realpath(path)
        return hashlib.blake2b(real, digest_size=16).digest()

    def _source(self, source: bytes) -> Iterator[Found]:
        """The inputs of a SOURCE of the command line."""
        if not source:
            raise AnnotateError("a SOURCE is empty: expected a folder, a file or a pattern")
        place = absolute(source)
        try:
            status = os.stat(place)
        except (OSError, ValueError) as error:
            if (member := split_archive(place)) is not None:
                yield from self._member(*member)
            elif glob.has_magic(source):
                yield from self._glob(place)
            elif isinstance(error, PermissionError) or os.path.islink(place):
                yield Found(*os.path.split(place), failure=_unreadable(error))
            else:
                raise AnnotateError(f"no such file or folder: {for_people(source)}") from error
            return
        yield from self._existing(place, status)

    def _entry(self, entry: listing.Entry) -> Iterator[Found]:
        """The inputs of an entry of a list. Its name is taken as it is: no pattern."""
        if entry.root is not None:
            path = os.path.join(entry.root, entry.path)
            if entry.member is not None:
                yield from self._member(path, entry.member)
                return
            root, below = entry.root, entry.path
        else:
            path = absolute(entry.path)
            root, below = os.path.split(path)
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            if entry.root is None and (member := split_archive(path)) is not None:
                yield from self._member(*member)
            else:
                yield Found(root, below, failure=_unreadable(error))
            return
        if stat.S_ISREG(status.st_mode) and not is_archive_name(path):
            yield Found(root, below, status.st_size, modified_ns(status))
        else:
            yield from self._existing(os.path.abspath(path), status)

    def _existing(self, path: bytes, status: os.stat_result) -> Iterator[Found]:
        """The inputs of a folder, file or archive that was named. path: absolute."""
        root, name = os.path.split(path)
        if stat.S_ISDIR(status.st_mode):
            yield from self.walk(path)
        elif stat.S_ISREG(status.st_mode):
            is_archive = is_archive_name(path)
            yield Found(root, name, status.st_size, modified_ns(status), is_archive=is_archive)
        else:
            yield Found(root, name, failure=Failure(Status.UNREADABLE, "not a regular file"))

    def _member(self, archive: bytes, member: bytes) -> Iterator[Found]:
        """The one member that was named of an archive."""
        root, name = os.path.split(archive)
        try:
            status = os.stat(archive)
        except (OSError, ValueError):  # its rows will say so when the run comes to it
            yield Found(root, name, is_archive=True, member=member)
            return
        size, time_ns = status.st_size, modified_ns(status)
        yield Found(root, name, size, time_ns, is_archive=True, member=member)

    def _glob(self, pattern: bytes) -> Iterator[Found]:
        """What a pattern matches, below the deepest folder that it names without wildcards."""
        base = pattern
        while glob.has_magic(base):
            base = os.path.dirname(base)
        below = os.fsdecode(pattern[len(base) :]).strip(os.sep)
        walked = Pattern(below.split(os.sep))
        if not os.path.isdir(base):
            raise AnnotateError(
                f"no file matches {for_people(pattern)}: no folder {for_people(base)}"
            )
        yield from self.walk(base, walked)
        if not walked.has_matched:
            raise AnnotateError(f"no file matches {for_people(pattern)}")

    def walk(
        self, root: bytes, pattern: Pattern | None = None, *, start: bytes = b""
    ) -> Iterator[Found]:
        """The inputs below a folder, without recursion, so that depth has no limit.

        start: the folder below root to begin with, with a final slash.
        """
        pattern = pattern or Pattern([])
        stack = [(iter([start]), pattern.start)]
        while stack:
            entries, places = stack[-1]
            path = next(entries, None)
            if path is None:
                stack.pop()
            elif path and not path.endswith(b"/"):
                is_named = pattern.names(places, os.path.basename(path))
                yield from self._file(root, path, is_named=is_named)
            else:
                if path:
                    places = pattern.step(places, os.path.basename(path[:-1]))
                listed = self._list(root, path, pattern, places)
                if isinstance(listed, Failure):
                    yield Found(root, path or FOLDER, failure=listed)
                else:
                    stack.append((iter(listed), places))

    def _list(
        self, root: bytes, path: bytes, pattern: Pattern, places: Places
    ) -> list[bytes] | Failure:
        """The entries of a folder that a pattern leads to, in order, folders with a final slash;
        or why it cannot be listed.
        """
        full = os.path.join(root, path)
        entries = []
        try:
            if self.options.follow_links and not self._first_visit(full):
                return []
            with os.scandir(full) as folder:
                for entry in folder:
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
            self._skip("folder reached twice")
            return False
        self._folders.add(identity)
        return True

    def _is_walked(self, entry: os.DirEntry[bytes], path: bytes) -> bool:
        """Whether a folder is to be walked; one that is not is counted."""
        reason = self._selection.why_not_folder(path + entry.name)
        if reason is None and entry.is_symlink() and not self.options.follow_links:
            reason = "linked folder"
        if reason is not None:
            self._skip(reason)
        return reason is None

    def _file(self, root: bytes, path: bytes, *, is_named: bool) -> Iterator[Found]:
        """The input that a file below a folder is, or nothing, with the reason counted.

        is_named: the file was asked for, and not only a folder above it.
        """
        is_archive = is_archive_name(path)
        reason = self._selection.why_not_file(path)
        if is_archive and reason == "not an image":
            reason = None if is_named else "archive (not named as a SOURCE)"
        if reason is not None:
            self._skip(reason)
            return
        full = os.path.join(root, path)
        try:
            status = os.stat(full)
        except OSError as error:
            yield Found(root, path, failure=_unreadable(error))
            return
        if not stat.S_ISREG(status.st_mode):
            self._skip("not a regular file")
        elif is_archive:
            yield from self._existing(full, status)
        else:
            yield Found(root, path, status.st_size, modified_ns(status))

    def _skip(self, reason: str) -> None:
        self.found.skipped[reason] += 1


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a forbidden folder: a fault of this entry alone
        return False


def _unreadable(error: Exception, what: str = "") -> Failure:
    reason = getattr(error, "strerror", None) or "invalid path"
    return Failure(Status.UNREADABLE, f"{what}: {reason}" if what else reason)
