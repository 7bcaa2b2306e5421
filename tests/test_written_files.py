"""Written files: a run writes its output, its work folder and its crops, and nothing else.

Shared memory is no file that anyone finds later: /dev/shm holds what joblib's processes share.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.cbook
import pyarrow as pa
import pytest

from annotate.readers import read_table
from tests import landlock
from tests.conftest import ROOT
from tests.whole_runs import make_photos

MEMORY = "/dev/shm"

CHANGES = re.compile(
    r"\b(open|openat|openat2|creat|mkdir|mkdirat|rename|renameat|renameat2|link|linkat|symlink"
    r"|symlinkat|unlink|unlinkat|rmdir|mknod|mknodat|truncate|chmod|fchmodat|chown|lchown|fchownat"
    r"|utime|utimes|utimensat|setxattr|lsetxattr)\((.*)\) += (-?\d+)"
)
CONNECTIONS = re.compile(r"\bsocket\(AF_(?!UNIX)\w+")
TRACE = (
    "strace",
    "-f",
    "-qq",
    "-y",
    "-s",
    "4096",
    "--seccomp-bpf",
    "-e",
    "trace=%file,%network",
    "-o",
)
READS = ("open", "openat", "openat2")
WRITING = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC)")

Place = dict[str, Path]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Folders by what they are for; `photos` has pictures, broken files and a hostile archive."""
    folders = {name: tmp_path / name for name in ("out", "crops", "home", "tmp", "here")}
    for folder in folders.values():
        folder.mkdir()
    photos = make_photos(tmp_path / "photos")
    shutil.copy(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False), photos)
    archive = shutil.make_archive(str(tmp_path / "more"), "zip", photos)
    return {**folders, "photos": photos, "archive": Path(archive)}


def start(place: Place, target: str, model: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """A run over all of it, in `here`, after other words of the command line."""
    command = [
        *before, sys.executable, "-B", "-m", "annotate", "run", str(place["photos"]),
        str(place["archive"]), "-o", str(place["out"] / target), "--save-crops",
        str(place["crops"]), "--model", str(model), "--batch-size", "4",
        "--workers", "2", "--part-size", "8",
    ]  # fmt: skip
    homes = {"HOME": str(place["home"]), "TMPDIR": str(place["tmp"]), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=place["here"],
        env=os.environ | homes,
        capture_output=True,
        text=True,
        timeout=300,
    )


def state(place: Place) -> dict[str, tuple[str, int, int, int]]:
    """What is in all folders but `out` and `crops`: content, mode, owner, time."""
    found = {}
    for name in ("photos", "home", "tmp", "here"):
        for path in (place[name], *sorted(place[name].rglob("*"))):
            facts = path.lstat()
            is_readable = path.is_file() and os.access(path, os.R_OK)
            content = hashlib.sha256(path.read_bytes()).hexdigest() if is_readable else ""
            found[str(path)] = (content, facts.st_mode, facts.st_uid, facts.st_mtime_ns)
    return found


needs_landlock = pytest.mark.skipif(
    landlock.version() < landlock.WANTED, reason="the kernel has no Landlock of Linux 6.2"
)


@needs_landlock
def test_the_kernel_does_refuse(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "old").write_text("x")
    ways = ("open('new', 'w')", "open('old', 'a')", "os.mkdir('d')", "os.rename('old', 'in/old')",
            "os.truncate('old', 0)", "os.unlink('old')")  # fmt: skip
    for way in (*ways, "open('in/new', 'w')"):
        done = subprocess.run(
            [
                sys.executable, landlock.__file__, str(tmp_path / "in"), "--", sys.executable,
                "-c", f"import os; {way}",
            ],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        is_refused = "PermissionError" in done.stderr or "Errno 18" in done.stderr
        assert is_refused == (way in ways), f"{way}: {done.stderr}"


@needs_landlock
def test_runs_that_can_write_nowhere_else_give_the_same_rows(
    place: Place, fake_model_folder: Path
) -> None:
    free = start(place, "free.parquet", fake_model_folder)
    assert free.returncode == 3, free.stderr
    expected = rows(place["out"] / "free.parquet")
    before = state(place)
    jail = [sys.executable, landlock.__file__, str(place["out"]), str(place["crops"]), MEMORY,
            "/dev/null", "--"]  # fmt: skip
    for target in ("x.parquet", "x.csv", "x"):
        shutil.rmtree(place["crops"])
        place["crops"].mkdir()
        held = start(place, target, fake_model_folder, *jail)
        assert held.returncode == 3, held.stderr
        assert "ermission" not in held.stderr
        assert len(list(place["crops"].iterdir())) == 1
        assert state(place) == before
        assert rows(place["out"] / target).equals(expected)
    names = sorted(path.name for path in place["out"].iterdir())
    assert names == ["free.parquet", "x", "x.csv", "x.parquet"]


def rows(target: Path) -> pa.Table:
    """The rows of an output, in one piece and without metadata, in which formats differ."""
    return read_table(target).replace_schema_metadata().combine_chunks().unify_dictionaries()


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="no strace installed")


@needs_strace
def test_attempts_are_seen(tmp_path: Path) -> None:
    tries = "import os, socket; socket.socket(); os.path.exists('a'); os.access('b', os.W_OK)"
    calls = traced(tmp_path / "calls", [sys.executable, "-c", f"{tries}; open('c', 'w')"], tmp_path)
    assert changed(calls) == [str(tmp_path / "c")]
    assert len(CONNECTIONS.findall(calls)) == 1


@needs_strace
def test_a_run_does_not_even_try_to_write_elsewhere_or_to_reach_a_network(
    place: Place, fake_model_folder: Path, tmp_path: Path
) -> None:
    before = state(place)
    done = start(place, "x.parquet", fake_model_folder, *TRACE, str(tmp_path / "calls"))
    assert done.returncode == 3, done.stderr
    assert state(place) == before
    calls = (tmp_path / "calls").read_text("utf-8", "replace")
    allowed = (str(place["out"]), str(place["crops"]), MEMORY, "/dev/null", "/dev/tty")
    tried = set(changed(calls))
    assert any(path.startswith(str(place["out"])) for path in tried)
    assert [path for path in sorted(tried) if not path.startswith(allowed)] == []
    assert not CONNECTIONS.findall(calls)


def traced(log: Path, command: list[str], folder: Path) -> str:
    """The calls of a command; the test is skipped where they may not be watched."""
    done = subprocess.run([*TRACE, str(log), *command], cwd=folder, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    return log.read_text("utf-8", "replace")


def changed(log: str) -> list[str]:
    """What the calls in a log of strace changed, or tried to: absolute paths."""
    found = []
    for name, arguments, _ in CHANGES.findall(log):
        if name in READS and not WRITING.search(arguments):
            continue
        folder = re.match(r"(?:AT_FDCWD|\d+)<([^>]*)>, ", arguments)
        for path in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments):
            found.append(os.path.join(folder[1] if folder else "", path))
    return found
