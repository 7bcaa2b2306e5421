r"""Names: the bytes of a path in, the text of a row out, and back.

A file name on POSIX is bytes and need not be text; the name of an archive's member is too. In a
row a backslash is `\\`, a byte that is not UTF-8 is `\xNN`, and a `!/` that belongs to a name is
`\x21/`, so that the first bare `!/` of a path splits an archive from its member.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any, AnyStr

from annotate.errors import AnnotateError, shown

MEMBER_MARK = "!/"
"""Stands between an archive and its member, in rows and in the paths that `resolve` gives."""

ARCHIVE_SUFFIXES = (b".zip", b".tar", b".tar.gz", b".tgz")
"""What an archive's name ends in, in lower case."""

MAX_PATH_BYTES = 2**16
"""No system has longer paths of files. An archive's is looked for in so much of a text."""

_BACKSLASH = b"\\"
_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")


def absolute(path: AnyStr) -> AnyStr:
    """A path from the root, without `.` and `..`, that leads where the system takes it.

    os.path.abspath takes `link/..` for the folder that holds the link.
    """
    parent, separator = ("..", os.sep) if isinstance(path, str) else (b"..", os.fsencode(os.sep))
    parts = path.split(separator)
    if os.name == "posix" and parent in parts:
        behind = len(parts) - parts[::-1].index(parent)
        with contextlib.suppress(OSError, ValueError):  # whoever opens it comes to the same fault
            path = os.path.join(os.path.realpath(separator.join(parts[:behind])), *parts[behind:])
    return os.path.abspath(path)


def escape(name: bytes) -> str:
    r"""A name as text: `\` becomes `\\` and each byte that is not UTF-8 becomes `\xNN`."""
    return name.replace(_BACKSLASH, _BACKSLASH * 2).decode("utf-8", "backslashreplace")


def unescape(text: str) -> bytes:
    """The name that `escape` or `escape_path` was given."""

    def restored(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return _BACKSLASH if code == _BACKSLASH else bytes([int(code[1:], 16)])

    return _ESCAPE.sub(restored, text.encode("utf-8"))


def escape_path(path: bytes) -> str:
    r"""A path as the text of the column `path`: as `escape`, and `!/` becomes `\x21/`."""
    return escape(path).replace(MEMBER_MARK, r"\x21/")


def member_path(archive: str, member: bytes) -> str:
    """The `path` of an archive's member. archive: the `path` of the archive itself."""
    return archive + MEMBER_MARK + escape_path(member)


def split_path(path: str) -> tuple[bytes, bytes | None]:
    """The names that a `path` stands for: a file and None, or an archive and its member."""
    file, mark, member = path.partition(MEMBER_MARK)
    return unescape(file), unescape(member) if mark else None


def locate(row: Mapping[str, Any]) -> tuple[bytes, bytes | None]:
    """The file that a row is about, and the member's name where that file is an archive.

    row: anything with `source` and `path`. Raises AnnotateError where it has no such texts.
    """
    texts = []
    for column in ("source", "path"):
        try:
            text = row[column]
        except (KeyError, IndexError, TypeError) as error:
            raise AnnotateError(f"the row has no {column!r}: expected a row of annotate") from error
        if not isinstance(text, str):
            raise AnnotateError(f"the row's {column!r} is {shown(text)}: expected text")
        texts.append(text)
    file, member = split_path(texts[1])
    return os.path.join(unescape(texts[0]), file), member


def resolve(row: Mapping[str, Any]) -> str:
    """The path of a row's input: of a file, the path that opens it; of an archive's member,
    `ARCHIVE!/MEMBER`, which `annotate run` takes and `annotate.open_input` opens.

    row: anything with `source` and `path`. Raises AnnotateError where it has no such texts.
    """
    file, member = locate(row)
    return os.fsdecode(file if member is None else file + MEMBER_MARK.encode() + member)


def is_archive_name(path: bytes) -> bool:
    """Whether a file of this name is taken for an archive."""
    return path[-max(map(len, ARCHIVE_SUFFIXES)) :].lower().endswith(ARCHIVE_SUFFIXES)


def split_archive(path: bytes) -> tuple[bytes, bytes] | None:
    """The archive on disk and its member that `ARCHIVE!/MEMBER` means, or None."""
    mark = MEMBER_MARK.encode()
    at = path.find(mark)
    while at >= 0:
        archive, begin = path[:at], at + len(mark)
        if begin < len(path) and is_archive_name(archive) and os.path.isfile(archive):
            return archive, path[begin:]
        at = path.find(mark, at + 1, MAX_PATH_BYTES)
    return None


def posix(path: bytes) -> bytes:
    """A path of this system with slashes between its components."""
    return path if os.sep == "/" else path.replace(os.fsencode(os.sep), b"/")


def for_people(path: bytes) -> str:
    """A path for a message: printable, on one line."""
    return shown(escape(path), 300, quote=False)
