"""Completion: what the Tab key proposes, asked as shells ask, and in real shells."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from annotate.cli import cli
from tests.conftest import ROOT

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")


def completed(line: str, **variables: str) -> list[str]:
    """What the program proposes for the last word of a line, as its bash script asks it."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_ANNOTATE_COMPLETE": "bash_complete",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "annotate"], capture_output=True, text=True, env=environment
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_commands_options_and_values_are_completed() -> None:
    assert completed("annotate ev") == ["plain,evaluate"]
    assert set(completed("annotate ")) == {f"plain,{name}" for name in cli.commands}
    assert completed("annotate run --skip") == ["plain,--skip-duplicates"]
    assert completed("annotate run --engine ") == ["plain,auto", "plain,onnx", "plain,keras"]
    assert completed("annotate run --model na") == ["plain,nano"]
    assert completed("annotate run --model ./m") == ["dir,./m"]
    assert completed("annotate models show b") == ["plain,base"]
    for line in (
        "run pho", "run x -o peo", "run --from t", "evaluate UTK", "doctor x", "export ",
        "export x --to xmp -o ", "export peo", "export x -o ta",
    ):  # fmt: skip
        assert completed(f"annotate {line}") == [f"file,{line.split(' ')[-1]}"], line


NO_FILES = {"--column", "--detect-size", "--exclude", "--url-prefix"}
"""Parameters that take free text which is no name of a file or folder."""


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Every argument and option of every command, with the command as it is typed."""
    waiting: list[tuple[str, click.Command]] = [("annotate", cli)]
    while waiting:
        path, command = waiting.pop()
        if isinstance(command, click.Group):
            waiting += [(f"{path} {name}", inner) for name, inner in command.commands.items()]
        for parameter in command.params:
            yield path, parameter


def names_files(parameter: click.Parameter) -> bool:
    """Whether it takes text that is the name of a file or folder, as far as we know."""
    is_text = isinstance(parameter.type, click.types.StringParamType | click.Path | click.File)
    return is_text and not NO_FILES.intersection(parameter.opts)


def test_all_that_names_a_file_or_folder_completes_files() -> None:
    """A new option that takes text is one of these, or is listed above as none."""
    found = {(path, parameter.opts[0]): parameter for path, parameter in parameters()}
    assert {name for _, name in found} >= NO_FILES
    asked = {key: parameter for key, parameter in found.items() if names_files(parameter)}
    # Of each kind one that must be among them, or nothing is tested.
    assert asked.keys() >= {
        ("annotate run", "sources"),
        ("annotate run", "--save-crops"),
        ("annotate run", "--model"),
        ("annotate evaluate", "--report"),
        ("annotate export", "out"),
        ("annotate export", "-o"),
        ("annotate review", "out"),
    }
    for (path, name), parameter in asked.items():
        proposed = parameter.shell_complete(click.Context(cli), "./some")
        kinds = {item.type for item in proposed}
        assert kinds in ({"file"}, {"dir"}), f"{path} {name} completes no files"


def test_odd_variables_and_lines_do_not_disturb_completion() -> None:
    assert completed("annotate ev", ANNOTATE_RUN_BATCH_SIZE="x") == ["plain,evaluate"]
    assert completed("annotate run --en", ANNOTATE_RUN_ENGINE="x") == ["plain,--engine"]
    assert completed('annotate run "unclosed') == ["file,unclosed"]


def test_completion_imports_nothing_heavy() -> None:
    program = """
import atexit, os, sys
heavy = {"numpy", "pandas", "pyarrow", "tensorflow", "keras", "onnxruntime", "PIL", "joblib"}
atexit.register(lambda: print("HEAVY", sorted(heavy & set(sys.modules)), file=sys.stderr))
from annotate.cli import main
main()
"""
    for line in ("annotate ", "annotate run --", "annotate run --engine ", "annotate doctor "):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split(" ")) - 1),
                "_ANNOTATE_COMPLETE": "bash_complete",
            },
        )
        assert done.stderr == "HEAVY []\n", line
        assert done.stdout


def documented(shell: str) -> str:
    """The line that docs/shell.md gives for a shell's start-up file."""
    text = (ROOT / "docs" / "shell.md").read_text("utf-8")
    return next(
        line for line in text.splitlines() if f"_ANNOTATE_COMPLETE={shell}_source" in line
    ).partition("  #")[0]


class Session:
    """An interactive shell on a terminal of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str], cwd: Path) -> None:
        self._near, far = os.openpty()
        self._process = subprocess.Popen(
            arguments, stdin=far, stdout=far, stderr=far, env=environment, cwd=cwd,
            start_new_session=True,
            # Its terminal is this one, else some shells leave at once.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(far)
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._near, keys.encode())

    def shown_until(self, text: str) -> str:
        """Read until the terminal has shown a text, or for two minutes. Returns what it has shown
        since this was last asked.
        """
        deadline = time.monotonic() + 120
        while text not in self.text and time.monotonic() < deadline:
            if select.select([self._near], [], [], 1)[0]:
                self.text += os.read(self._near, 4096).decode("utf-8", "replace")
        found, self.text = self.text, ""
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._near)


SHELLS = {
    "bash": ["--noprofile", "--norc", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}


@POSIX
@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes(shell: str, on_path: dict[str, str], tmp_path: Path) -> None:
    """With the documented line, and the Tab key."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "photographs").mkdir()
    session = Session([found, *SHELLS[shell]], on_path, tmp_path)
    try:
        if shell == "zsh":
            session.type("autoload -Uz compinit; compinit -u\n")
        session.type(f"{documented(shell)}; echo re''ady\n")
        assert "ready" in session.shown_until("ready")
        session.type("annotate eva\t")
        assert "annotate evaluate " in session.shown_until("annotate evaluate ")
        session.type("--boo\t")
        assert "--bootstrap " in session.shown_until("--bootstrap ")
        session.type("7 photo\t")
        assert "photographs/" in session.shown_until("photographs/")
    finally:
        session.close()
