"""The command as a process: pipes that close, interrupts, full disks, closed streams."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.records import COLUMNS
from tests.conftest import ROOT, draw, one_line

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
Command = Callable[..., "subprocess.CompletedProcess[str]"]
HEADER = ",".join(column.name for column in COLUMNS)


def started(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "annotate", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 hard links to one small picture: a run that takes seconds."""
    root = tmp_path_factory.mktemp("many")
    first = draw(root / "one.png", (200, 100, 50), (16, 16))
    (root / "in").mkdir()
    for i in range(20_000):
        os.link(first, root / "in" / f"{i:05d}.png")
    return root / "in"


@POSIX
def test_a_closed_pipe_is_no_error(many: Path, crop: list[str]) -> None:
    """What `annotate run ... | head -3` does, with the exit code that a shell hides."""
    process = started("run", str(many), *crop, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(60) == 0
    assert lines[0] == HEADER + "\n"
    assert [next(csv.reader([line]))[1] for line in lines[1:]] == ["00000.png", "00001.png"]
    assert not re.search("Traceback|Error|Exception|rror:", err)
    assert "20,000 rows" not in err  # it stopped


@POSIX
def test_interrupting_is_130_and_keeps_what_is_done(
    many: Path, tmp_path: Path, crop: list[str]
) -> None:
    """Ctrl-C reaches the whole process group, workers too."""
    target = tmp_path / "x.csv"
    arguments = ["run", str(many), "-o", str(target), *crop, "--batch-size", "2"]
    arguments += ["--part-size", "10"]
    process = started(
        *arguments,
        stdout=subprocess.PIPE,
        start_new_session=True,
        # Tests that were started in the background inherit an ignored SIGINT, and pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    half = tmp_path / ".x.csv.annotate" / "parts" / "part-00000.parquet"
    deadline = time.monotonic() + 300
    while not half.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "annotate: interrupted: " in err
    assert "to go on: annotate run " in err
    assert [path.name for path in tmp_path.iterdir()] == [".x.csv.annotate"]


@POSIX
def test_a_full_stdout_is_an_error(faces: Path, crop: list[str]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        process = started("run", str(faces), "-q", "-o", "-", *crop, stdout=full)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert one_line(err) == "annotate: cannot write: No space left on device"


@POSIX
def test_closed_streams_do_not_matter(faces: Path, tmp_path: Path, crop: list[str]) -> None:
    """As a service may be started: then nothing can be told, but the work is done."""
    target = str(tmp_path / "x.csv")
    arguments = [sys.executable, "-m", "annotate", "run", str(faces), "-o", target, *crop]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0
    assert (tmp_path / "x.csv").read_text().count("\n") == 21


@POSIX
def test_nobody_reading_stderr_does_not_end_a_run(
    faces: Path, tmp_path: Path, crop: list[str]
) -> None:
    process = started("run", str(faces), "-o", str(tmp_path / "x.csv"), *crop)
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(60) == 0
    assert (tmp_path / "x.csv").read_text().count("\n") == 21
