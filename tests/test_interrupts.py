"""Interrupts: Ctrl-C and SIGTERM to the real command, once and twice."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from annotate import AnnotateError, cli, signals
from annotate.cli.interrupts import InterruptedRunError
from annotate.readers import read_table
from tests.conftest import ROOT
from tests.whole_runs import png

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

COUNT = 1200
"""Pictures: enough for a run to be in the midst of them when it is interrupted."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    first = folder / "0000.png"
    first.write_bytes(png(1))
    for number in range(1, COUNT):
        os.link(first, folder / f"{number:04d}.png")
    return folder


def start(many: Path, target: Path, model: Path, *options: str) -> subprocess.Popen[str]:
    """A run, once it has committed something."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "annotate", "run", str(many), "-o", str(target), "--faces",
            "crop", "--model", str(model), "--batch-size", "2", "--part-size", "10", *options,
        ],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    first = target.parent / f".{target.name}.annotate" / "parts" / "part-00000.parquet"
    deadline = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_ends_in_order_and_says_how_to_go_on(
    many: Path, tmp_path: Path, fake_model_folder: Path, number: signal.Signals
) -> None:
    target = tmp_path / "x.parquet"
    process = start(many, target, fake_model_folder)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("annotate: interrupted: ")
    command = shlex.split(last.partition("to go on: ")[2])
    assert command[:2] == ["annotate", "run"]
    assert not target.exists()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "going on: " in done.stderr
    paths = read_table(target)["path"].to_pylist()
    assert paths == [f"{i:04d}.png" for i in range(COUNT)]


def test_twice_ends_at_once_and_keeps_what_was_committed(
    many: Path, tmp_path: Path, fake_model_folder: Path
) -> None:
    target = tmp_path / "x.parquet"
    process = start(many, target, fake_model_folder, "-q")
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not target.exists()
    parts = tmp_path / ".x.parquet.annotate" / "parts"
    assert (parts / "part-00000.parquet").exists()


def test_it_may_come_while_the_command_starts() -> None:
    """At any import: here, at the first that is not of the standard library."""
    code = (
        "import builtins, runpy\n"
        "usual = builtins.__import__\n"
        "def interrupted(name, *arguments, **options):\n"
        "    if name == 'click':\n"
        "        raise KeyboardInterrupt\n"
        "    return usual(name, *arguments, **options)\n"
        "builtins.__import__ = interrupted\n"
        "runpy.run_module('annotate', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (130, "annotate: interrupted\n")
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    # What is installed starts there too.
    assert config["options.entry_points"]["console_scripts"].split() == [
        "annotate", "=", "annotate.__main__:main"
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_may_come_before_anything_is_labelled(
    tmp_path: Path, fake_model_folder: Path, number: signal.Signals
) -> None:
    """Here while a list is read that does not end."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "annotate", "run", "-", "-o", str(tmp_path / "x.csv"),
            "--faces", "crop", "--model", str(fake_model_folder),
        ],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / ".x.csv.annotate").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(300) == 130
    assert said.strip() == "annotate: interrupted"  # Click ends the line of a ^C


def test_the_command_that_goes_on_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = " ".join(f"IMG_{number:05d}.jpg" for number in range(1000))

    def interrupted(**_: object) -> None:
        raise InterruptedRunError(f"interrupted: to go on: {command}")

    monkeypatch.setattr(cli.cli, "main", interrupted)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 130
    assert capsys.readouterr().err == f"annotate: interrupted: to go on: {command}\n"


@pytest.mark.parametrize("error", [AnnotateError("cannot import it"), SystemError("bad call")])
def test_an_interrupt_that_became_an_error_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """As where it comes while a compiled library is imported."""

    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", broken)
    monkeypatch.setattr(signals, "_has_come", True)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "annotate: interrupted\n"
    monkeypatch.setattr(signals, "_has_come", False)
    with pytest.raises((SystemExit, SystemError)):
        cli.main()
    assert "interrupted" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_to_be_ignored_stays_so(number: signal.Signals) -> None:
    """As SIGINT is in what a shell starts in the background."""
    code = (
        "import os, signal\n"
        f"signal.signal({int(number)}, signal.SIG_IGN)\n"
        "from annotate.signals import interrupt_from_now_on\n"
        "interrupt_from_now_on()\n"
        f"os.kill(os.getpid(), {int(number)})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=300).returncode == 0


def run_here(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_it_is_not_lost_where_nothing_can_be_raised() -> None:
    """Python prints an exception in the removal of an object, and goes on."""
    done = run_here(
        "import os, signal, time\n"
        "from annotate.signals import interrupt_from_now_on\n"
        "interrupt_from_now_on()\n"
        "class Removed:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "try:\n"
        "    Removed()\n"
        "    time.sleep(300)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_it_says_nothing_more_once_all_is_said() -> None:
    """While worker processes are ended, say."""
    done = run_here(
        "import atexit, os, signal, time\n"
        "from annotate import cli\n"
        "from annotate.signals import interrupt_from_now_on\n"
        "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(300)))\n"
        "interrupt_from_now_on()\n"
        "cli.cli.main = lambda **_: 3\n"
        "cli.main()\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
