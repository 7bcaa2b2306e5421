"""The machine: cores, memory, disks, and whether worker processes run on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from annotate.doctor.findings import Finding, again, fault, note, ok
from annotate.doctor.isolation import Options
from annotate.errors import one_line, shown

GB = 1e9

BASE_BYTES = 1.0 * GB
BYTES_PER_WORKER = 0.5 * GB
"""What a run over photographs takes in the main process, and in each worker: the search of a
picture, and a picture of 24 megapixels while it is decoded."""

FREE_HERE_BYTES = 1.0 * GB
FREE_FOR_TEMPORARY_BYTES = 0.5 * GB
FREE_SHARED_BYTES = 1e6
"""Less is worth a note. Outputs and what is kept beside them go into the current folder as a rule,
a copy of a Keras model into the temporary one; workers share a few kilobytes."""

SHARED = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is left there


def cores(options: Options, _: str) -> Iterator[Finding]:
    """How many processors there are, and how many this process may use."""
    from annotate.engines import cpu_name, usable_cpus

    usable, present = usable_cpus(), os.cpu_count() or 1
    figures = {"usable": usable, "present": present}
    if usable < present:
        said = f"{usable} of {present} may be used (affinity or a container's limit), {cpu_name()}"
        yield note(said, figures=figures)
    else:
        yield ok(f"{usable}, {cpu_name()}", figures)


def memory(options: Options, _: str) -> Iterator[Finding]:
    """How much memory there is, and whether a run's workers fit into it."""
    from annotate.engines import usable_cpus

    total, available = _memory()
    if total is None:
        yield ok("not known on this system")
        return
    limit = container_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    left = min(amount for amount in (total, available, limit) if amount is not None)
    said = f"{_gb(total)}" + (f", {_gb(available)} available" if available is not None else "")
    if limit is not None and limit < total:
        said += f", this container's limit is {_gb(limit)}"
    workers = options.workers or usable_cpus()
    needed = BASE_BYTES + BYTES_PER_WORKER * workers
    figures = {"total_bytes": total, "available_bytes": available, "limit_bytes": limit}
    if left < needed:
        fitting = max(1, int((left - BASE_BYTES) / BYTES_PER_WORKER))
        yield note(
            f"{said}; {workers} workers on photographs may take {_gb(needed)}",
            f"--workers {fitting} takes less" if fitting < workers else "close other programs",
            figures,
        )
    else:
        yield ok(said, figures)


def _memory() -> tuple[int | None, int | None]:
    """Bytes of memory, and of it those that are to be had; None where that is not known."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None, None
    try:
        for row in Path("/proc/meminfo").read_text().splitlines():
            if row.startswith("MemAvailable:"):
                return total, int(row.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass  # not Linux
    return total, None


def container_limit(membership: Path, hierarchy: Path) -> int | None:
    """The smallest limit on memory of the control groups that hold this process, in bytes.

    membership: /proc/self/cgroup, or a file like it. hierarchy: where the groups are mounted.
    Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
    """
    limits = []
    try:
        groups = [row.split(":", 2)[2] for row in membership.read_text().splitlines()]
    except (OSError, IndexError):
        return None
    for group in groups:
        folder = hierarchy / group.lstrip("/")
        while folder.is_relative_to(hierarchy):
            with contextlib.suppress(OSError, ValueError):  # no such file, or the word max
                limits.append(int((folder / "memory.max").read_text()))
            if folder == hierarchy:
                break
            folder = folder.parent
    return min(limits, default=None)


def disk(options: Options, which: str) -> Iterator[Finding]:
    """Free space and whether a file can be written. which: "here" or "temporary"."""
    is_here = which == "here"
    try:
        folder = os.getcwd() if is_here else tempfile.gettempdir()
    except OSError as error:
        reason = "it is gone" if is_here else one_line(error)
        yield fault(reason, "change to another folder" if is_here else "set TMPDIR to a folder")
        return
    free = shutil.disk_usage(folder).free
    said = f"{_gb(free)} free in {shown(folder, 200, quote=False)}"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"annotate")
    except OSError as error:
        said = f"{shown(folder, 200)} cannot be written: {error.strerror}"
        if is_here:
            yield note(said, "give outputs another place: -o /somewhere/people.parquet")
        else:
            yield fault(said, "set TMPDIR to a folder that can be written")
        return
    if free < (FREE_HERE_BYTES if is_here else FREE_FOR_TEMPORARY_BYTES):
        to_do = "free some space" if is_here else "free some space, or set TMPDIR to another folder"
        yield note(said, to_do, {"free_bytes": free})
    else:
        yield ok(said, {"free_bytes": free})


def workers(options: Options, _: str) -> Iterator[Finding]:
    """Start worker processes as a run does, and have them work."""
    from annotate.workers import OrderedMap

    numbers = list(range(8))
    with OrderedMap(abs, numbers, on_crash=_lost, workers=2, window=8, chunk=1) as results:
        found = list(results)
    if found == numbers:
        yield ok("processes start and answer")
    else:
        said = f"processes answer {one_line(found)} instead of {numbers}"
        yield fault(said, again("joblib"))


def _lost(number: int) -> int:
    return -1


def shared_memory(options: Options, _: str) -> Iterator[Finding]:
    """Where Linux keeps the semaphores of worker processes."""
    if not sys.platform.startswith("linux"):
        yield ok("not needed on this system")
        return
    to_do = "in a container: start it with --shm-size 64m"
    if not SHARED.is_dir():
        yield fault(f"there is no {SHARED}, which worker processes need", to_do)
        return
    free = shutil.disk_usage(SHARED).free
    try:
        with tempfile.TemporaryFile(dir=SHARED) as file:
            file.write(b"annotate")
    except OSError as error:
        yield fault(f"{SHARED} cannot be written: {error.strerror}", to_do)
        return
    said = f"{_gb(free)} free in {SHARED}"
    figures = {"free_bytes": free}
    yield note(said, to_do, figures) if free < FREE_SHARED_BYTES else ok(said, figures)


def _gb(number: float) -> str:
    return f"{number / GB:,.1f} GB" if number >= GB / 10 else f"{number / 1e6:,.0f} MB"
