"""Selection: a name in, None out where it names an input, else the reason why it does not.

The same rules for what lies in a folder and for what lies in an archive.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from annotate.names import is_archive_name, posix

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

MAX_NAME_BYTES = 4096
"""Members of longer names are passed over: no system could have them as files."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What counts as an input, and where lists are read.

    suffixes: lower case, with the dot. exclude: shell patterns that are matched against the path
    relative to its SOURCE and against each of its components. limit: stop after so many inputs.
    null_separated: the list on stdin has a NUL after each path instead of a line end. table,
    column: a table that lists inputs, read after all SOURCEs, and the column of their paths.
    """

    suffixes: frozenset[str]
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    limit: int | None = None
    null_separated: bool = False
    table: str | None = None
    column: str = "path"


def _refused_part(folders: Sequence[str]) -> re.Pattern[bytes]:
    """What finds, in the name of an archive's member, the first part that begins with a dot, or
    that is a folder of such a name. folders: names in which `*` stands for anything.
    """
    hidden = rb"(?P<hidden>\.(?!\.?(?:/|\Z)))"
    names = [re.escape(os.fsencode(name)).replace(rb"\*", b"[^/]*") for name in folders]
    return re.compile(rb"(?:\A|/)(?:" + hidden + b"".join(b"|" + n + b"/" for n in names) + b")")


class Selection:
    """The rules of a run for names. Paths are relative to a SOURCE or to an archive."""

    def __init__(self, options: ScanOptions) -> None:
        self._suffixes = options.suffixes
        self._patterns = tuple(pattern.rstrip("/") for pattern in options.exclude)
        # One expression for all of them: it is asked about every folder.
        folders = [fnmatch.translate(pattern) for pattern in THUMBNAIL_FOLDERS]
        self._folders = re.compile("|".join(folders)) if options.default_excludes else None
        self._refused = _refused_part(THUMBNAIL_FOLDERS if options.default_excludes else ())

    def why_not_folder(self, path: bytes) -> str | None:
        """Why a folder is not walked, by its own name; None if it is."""
        return self._by_name(path, is_folder=True)

    def is_walked(self, source: str, folder: str) -> bool:
        """Whether a scan of the folder `source` comes to `folder`, which need not be there."""
        root, end = os.path.realpath(os.fsencode(source)), os.path.realpath(os.fsencode(folder))
        if os.path.commonpath([root, end]) != root:
            return False
        while end != root:
            if self.why_not_folder(os.path.relpath(end, root)) is not None:
                return False
            end = os.path.dirname(end)
        return True

    def why_not_file(self, path: bytes) -> str | None:
        """Why a file is no input, by its own name; None if it is one."""
        return self._by_name(path, is_folder=False) or self._by_suffix(path)

    def why_not_member(self, name: bytes) -> str | None:
        """Why an archive's member is no input, by its name and those of its folders."""
        if len(name) > MAX_NAME_BYTES:
            return f"name of over {MAX_NAME_BYTES} bytes"
        reason = self._by_parts(name) if self._patterns else self._by_refused_part(name)
        if reason is not None:
            return reason
        if is_archive_name(name):
            return "archive in an archive"
        return self._by_suffix(name)

    def _by_parts(self, name: bytes) -> str | None:
        """The reason that patterns and rules give for the first part of a member's name."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".", b"..")]
        paths = (b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        reasons = (
            self._by_name(path, is_folder=depth < len(parts)) for depth, path in enumerate(paths, 1)
        )
        return next((reason for reason in reasons if reason is not None), None)

    def _by_refused_part(self, name: bytes) -> str | None:
        """The same where there are no patterns: at once, for a name may have 2,000 parts."""
        found = self._refused.search(name)
        if found is None:
            return None
        return "hidden" if found["hidden"] else "thumbnail or system folder"

    def _by_name(self, path: bytes, *, is_folder: bool) -> str | None:
        name = os.path.basename(path)
        if name.startswith(b"."):
            return "hidden"
        if is_folder and self._folders is not None and self._folders.match(os.fsdecode(name)):
            return "thumbnail or system folder"
        return "excluded" if self._is_excluded(path) else None

    def _by_suffix(self, path: bytes) -> str | None:
        suffix = os.path.splitext(path)[1].lower()
        return None if suffix.decode("ascii", "replace") in self._suffixes else "not an image"

    def _is_excluded(self, path: bytes) -> bool:
        """Whether a pattern matches a path or its last part; its folders have been asked before."""
        if not self._patterns:
            return False
        text = os.fsdecode(posix(path))  # as patterns come from the command line
        name = text.rsplit("/", 1)[-1]
        return any(
            fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(name, pattern)
            for pattern in self._patterns
        )
