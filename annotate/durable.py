"""Durable: files and renames that outlive a crash of the program, of the machine or of its power.

What is written under a temporary name is closed, flushed to disk and only then renamed; the
folder is flushed after that. Source: the order of restic and SQLite; fsync(2), rename(2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, on disk and closed where the block ends well, gone where it does not.

    A file of that name is replaced. Raises OSError, also where the disk was full only at the end.
    """
    # Unbuffered writes of Arrow are many and small.
    file = path.open("wb", buffering=2**20)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):  # what is in the buffer may find no room either
            file.close()
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    file.close()


def rename(old: Path, new: Path) -> None:
    """Give a file or folder that is on disk its final name, replacing a file. Raises OSError."""
    os.replace(old, new)
    flush_folder(new.parent)
    if old.parent != new.parent:
        flush_folder(old.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file: at any time it is there whole, old or new, or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with new_file(temporary) as file:
        file.write(data)
    rename(temporary, path)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, and have it on disk. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        written = file.write(data)
        if written != len(data):  # a disk that is nearly full takes a part, without an error
            raise OSError(28, os.strerror(28))
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Have a folder's names on disk."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def flush_tree(path: Path) -> None:
    """Have a file, or the files of a folder and the folder, on disk."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
    if path.is_dir():
        flush_folder(path)
