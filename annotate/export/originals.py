"""Originals: the file of an input in, the orientation in which it stores its picture out.

What worker processes run: parsers read strangers' files here. Nothing is said of a file whose
bytes are not those that were labelled.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass

from annotate.export.labelled import Input, LeftOut
from annotate.export.tally import Reason
from annotate.images import ImageError, stored_orientation
from annotate.streams import MAX_FILE_BYTES, open_file


@dataclass(frozen=True, slots=True)
class Original:
    """An input whose file was looked at. orientation: EXIF's, 1 to 8, or why it is not known."""

    item: Input
    orientation: int | Reason


def look_at(item: Input | LeftOut) -> Original | LeftOut:
    """Read an input's file. Nothing is raised for it. What is left out passes, so that the order
    stays.
    """
    if isinstance(item, LeftOut):
        return item
    try:
        data = _read(item)
        return Original(item, data if isinstance(data, Reason) else stored_orientation(data))
    except (OSError, ValueError):  # a value: no system has such a name
        return Original(item, Reason.GONE)
    except ImageError:
        return Original(item, Reason.UNREADABLE)


def look_from_afar(item: Input | LeftOut) -> Original | LeftOut:
    """As look_at, but nothing is read: a file that is there counts as upright and unchanged."""
    if isinstance(item, LeftOut):
        return item
    try:
        is_file = stat.S_ISREG(os.stat(item.location).st_mode)
    except (OSError, ValueError):
        is_file = False
    return Original(item, 1 if is_file else Reason.GONE)


def unreadable(item: Input | LeftOut) -> Original | LeftOut:
    """What is known of an input that ended the process that read it, or took too long."""
    return item if isinstance(item, LeftOut) else Original(item, Reason.UNREADABLE)


def _read(item: Input) -> bytes | Reason:
    """The bytes that were labelled. Raises OSError, ValueError."""
    with open_file(item.location) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return Reason.GONE
        if status.st_size > MAX_FILE_BYTES:
            return Reason.CHANGED
        data = file.read(status.st_size + 1)
    return data if hashlib.sha256(data).hexdigest() == item.sha256 else Reason.CHANGED
