"""Report folders: files by name in, a folder that holds each of them whole, or as it was, out."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from annotate import durable
from annotate.errors import AnnotateError, shown

AnyPath = str | os.PathLike[str]


def make_folder(folder: AnyPath) -> None:
    """Make a report's folder, before any work is done. Raises AnnotateError."""
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        raise AnnotateError(
            f"cannot make the report folder {shown(os.fspath(folder), 300)}: {_reason(error)}"
        ) from error


def write_files(
    folder: AnyPath, files: Mapping[str, bytes | str], *, stale: Iterable[str] = ()
) -> None:
    """Write the files of a report, text as UTF-8. Raises AnnotateError.

    stale: names that an earlier report may have left; those which this one does not have go.
    """
    for name in set(stale) - files.keys():
        with contextlib.suppress(OSError):
            os.unlink(Path(folder) / name)
    for name, content in files.items():
        path = Path(folder) / name
        data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        try:
            durable.write_whole(path, data)
        except OSError as error:
            name = shown(str(path), 300)
            raise AnnotateError(f"cannot write {name}: {_reason(error)}") from error


def json_text(values: Mapping[str, Any]) -> str:
    """Plain values as the text of a JSON file."""
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
