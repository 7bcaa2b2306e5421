"""Packing: archives for tests, made by the standard library, and read by what is tested."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from annotate.archives import Archive
from annotate.names import escape, unescape
from annotate.records import Source
from annotate.selection import ScanOptions, Selection

CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"
"""What a record of a zip's directory starts with, and what a member does."""

IMAGES = frozenset({".png", ".jpg", ".nef"})
FILES = {b"a.png": b"first", b"sub/b.jpg": b"second" * 1000, b"sub/deep/c.png": b""}


def source_of(path: Path) -> Source:
    folder, name = os.path.split(os.fsencode(path))
    return Source(7, escape(folder), escape(name), os.fsencode(path), 1, 2, is_archive=True)


def archive_of(path: Path, **options: Any) -> Archive:
    rules = ScanOptions(suffixes=IMAGES, exclude=options.pop("exclude", ()))
    return Archive(source_of(path), Selection(rules), **options)


def read(path: Path, **options: Any) -> list[Source]:
    return list(archive_of(path, **options))


def contents(sources: list[Source]) -> dict[bytes, bytes | str]:
    """Name of each member -> its bytes, or its status and error; b"" is the archive itself."""
    found: dict[bytes, bytes | str] = {}
    for source in sources:
        name = unescape(source.path.partition("!/")[2])
        assert name not in found
        if source.failure is not None:
            assert source.data is None
            assert source.failure.error.isprintable()
            found[name] = f"{source.failure.status}: {source.failure.error}"
        else:
            assert source.data is not None
            found[name] = source.data
    return found


def make_zip(
    path: Path, files: dict[bytes, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name.decode(), data)
    return path


def add(archive: tarfile.TarFile, name: bytes, data: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


def make_tar(
    path: Path, files: dict[bytes, bytes] = FILES, mode: str = "w", **options: Any
) -> Path:
    with tarfile.open(path, mode, **options) as archive:
        for name, data in files.items():
            add(archive, name, data)
    return path


def contents_of_any(sources: list[Source]) -> dict[bytes, bytes | None]:
    """As `contents`, for archives whose members may have one name."""
    return {unescape(s.path.partition("!/")[2]): s.data for s in reversed(sources)}


def assert_as_the_standard_library(standard: dict[bytes, bytes], archive: Archive) -> None:
    """Never other bytes than the standard library has; none only where a row or a count says so."""
    sources = list(archive)
    found = contents_of_any(sources)
    for name, content in standard.items():
        if found.get(name) is not None:
            assert found[name] == content
        else:
            assert archive.skipped or any(source.failure for source in sources)


def pax_header(records: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extension header, made independently of what is tested."""
    return tarfile.TarInfo._create_pax_generic_header(records, kind, "utf-8")  # type: ignore[attr-defined]


def patched(data: bytes, signature: bytes, which: int, offset: int, value: bytes) -> bytes:
    """Overwrite bytes at an offset from the n-th occurrence of a signature."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]
