"""Trees of files for tests, and what a scan finds in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from annotate.scan import Scan, scan
from annotate.selection import ScanOptions

IMAGES = frozenset({".png", ".jpg"})
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names")


def make(root: Path, *names: str | bytes) -> Path:
    """Create files (and their folders) of one byte below a folder."""
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    return root


def found(*sources: str | os.PathLike[str], **options: object) -> Scan:
    return scan(sources, ScanOptions(suffixes=IMAGES, **options))  # type: ignore[arg-type]


def paths(result: Scan) -> list[str]:
    return [source.path for source in result.plan]


NAMES = [
    b"new\nline.png",
    b"carriage\rreturn.png",
    b"tab\t.png",
    b"not utf-8 \xff\xfe.png",
    b"lone surrogate \xed\xa0\x80.png",
    b"x" * 251 + b".png",
    "\N{GRINNING FACE} 🇨🇭.png".encode(),
    b"-o.png",
    b"back\\slash.png",
    b"looks escaped \\xff.png",
    b" leading and trailing .png",
    b"=cmd|'/c calc'!A1.png",
    b'quote".png',
    b"%n$HOME`x`.png",
    b"\x1b]0;title\x07\x1b[2J\x1b[31m.png",
    "\N{DELETE}\u009b31m.png".encode(),
    "\u202egpj.exe\u2066.png".encode(),
]
"""Names of pictures that programs have stumbled over."""
