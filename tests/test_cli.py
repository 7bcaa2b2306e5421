"""The command line: exit codes, one-line errors, stdout for data alone, and what is imported."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

import annotate
from annotate.cli import cli
from annotate.records import COLUMNS
from tests.conftest import ROOT, Invoke, draw, one_line

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
Command = Callable[..., "subprocess.CompletedProcess[str]"]
HEADER = ",".join(column.name for column in COLUMNS)


# Exit codes -------------------------------------------------------------------------------


def test_all_good_is_0(invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]) -> None:
    code, out, err = invoke("run", str(faces), "-o", str(tmp_path / "x.csv"), *crop)
    assert (code, out) == (0, "")
    assert "20 inputs, 20 rows" in err
    assert re.search(r"^  ok +20$", err, re.MULTILINE)
    assert f"wrote {tmp_path / 'x.csv'}" in err
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 21


def test_failed_inputs_are_3_and_are_in_the_output(
    invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]
) -> None:
    (faces / "bad.png").write_bytes(b"no")
    code, _, err = invoke("run", str(faces), "-o", str(tmp_path / "x.csv"), *crop)
    assert code == 3
    assert re.search(r"^  decode_error +1$", err, re.MULTILINE)
    assert "decode_error" in (tmp_path / "x.csv").read_text()


def test_unsupported_inputs_are_no_failure(
    invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]
) -> None:
    (faces / "a.nef").write_bytes(b"raw")
    code, _, err = invoke("run", str(faces), "-o", str(tmp_path / "x.csv"), *crop)
    assert code == 0
    assert "unsupported by suffix: .nef 1" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing command"),
        (["fly"], "No such command"),
        (["run"], "Missing SOURCE"),
        (["run", "x", "--no-such-option"], "No such option"),
        (["run", "x", "--faces", "some", "-o", "-"], "'some' is not one of"),
        (["run", "x", "--faces", "crop", "--batch-size", "0", "-o", "-"], "0 is not in the range"),
        (["run", "x", "--faces", "crop", "--workers", "many", "-o", "-"], "not a valid integer"),
        (["run", "x", "--faces", "crop", "--limit", "0", "-o", "-"], "0 is not in the range"),
        (["run", "x", "--detect-size", "9", "-o", "x.csv"], "expected auto or 32 to 4096 pixels"),
        (["run", "x", "--detect-size", "big", "-o", "x.csv"], "expected auto or 32 to 4096"),
        (["run", "x", "--min-score", "2", "-o", "x.csv"], "2.0 is not in the range"),
        (["models", "fly"], "No such command"),
        (["demo", "--out"], "requires an argument"),
        (["evaluate", "x", "--tta", "--predictions", "y.csv"], "--predictions has its rows"),
    ],
)
def test_wrong_use_is_2(invoke: Invoke, arguments: list[str], text: str) -> None:
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, "")
    assert text in one_line(err)
    assert "--help)" in err


def test_what_cannot_be_done_is_1(
    invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.csv").write_text("mine")
    cases: list[tuple[list[str], str]] = [
        (["run", str(tmp_path / "no"), "-o", "-", *crop], "no such file or folder"),
        (["run", str(tmp_path / "empty"), "-o", "-", *crop], "no images in"),
        (["run", str(tmp_path / "*.tif"), "-o", "-", *crop], "no file matches"),
        (["run", "", "-o", "-", *crop], "SOURCE is empty"),
        (["run", str(faces), "-o", str(tmp_path / "there.csv"), *crop], "pass --overwrite"),
        (["run", str(faces), "-o", str(tmp_path / "x.xlsx"), *crop], "expected .parquet"),
        (["run", str(faces), "-o", str(tmp_path / "no" / "x.csv"), *crop], "there is no folder"),
        (["run", str(faces), "-o", str(tmp_path), *crop], "holds other files"),
        (["run", str(faces), "-o", "", *crop], "name of the output is empty"),
        (
            ["run", str(faces), "-o", "-", "--faces", "crop", "--model", "nobody"],
            "no model 'nobody'",
        ),
        (["run", str(faces), "-o", "-", "--faces", "crop", "--model", str(faces)], "no model.json"),
        (
            ["run", str(faces), "-o", "-", "--engine", "onnx", "--device", "gpu", *crop],
            "on the CPU",
        ),
        (["models", "show", "nobody"], "no model 'nobody'"),
    ]
    for arguments, text in cases:
        code, out, err = invoke(*arguments)
        assert (code, out) == (1, ""), arguments
        assert text in one_line(err), arguments
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_control_characters_in_messages_are_shown_not_sent(invoke: Invoke) -> None:
    hostile = "no\x1b[31m\x07\u202e\nwhere\udcff"
    for arguments in (["run", hostile, "--faces", "crop", "-o", "-"], ["models", "show", hostile]):
        code, _, err = invoke(*arguments)
        assert code == 1
        assert "[31m" in one_line(err)
    code, _, err = invoke("run", "x", f"--{hostile}")
    assert code == 2
    one_line(err)


# stdout -----------------------------------------------------------------------------------


def test_stdout_carries_data_only(invoke: Invoke, faces: Path, crop: list[str]) -> None:
    for target in (["-o", "-"], []):  # stdout is no terminal here
        code, out, err = invoke("run", str(faces), *target, *crop)
        assert code == 0
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["path"] for row in rows] == [f"{i:02d}.png" for i in range(20)]
        assert out.startswith(HEADER + "\n")
        assert "an interrupted run starts over" in err


def test_without_an_output_a_terminal_gets_a_proposal(
    invoke: Invoke, faces: Path, crop: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, err = invoke("run", str(faces), *crop)
    assert (code, out) == (2, "")
    assert "-o people.parquet" in one_line(err)
    assert "-o -" in err


def test_quiet_says_nothing(invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]) -> None:
    assert invoke("run", str(faces), "-q", "-o", str(tmp_path / "x.csv"), *crop) == (0, "", "")


def test_dry_run_says_what_would_be_done_and_writes_nothing(
    invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]
) -> None:
    (faces / "notes.txt").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    target = tmp_path / "x.parquet"
    code, out, err = invoke("run", str(faces), "--dry-run", "-o", str(target), *crop)
    assert (code, out) == (0, "")
    size = sum(path.stat().st_size for path in faces.glob("*.png")) / 1000
    assert f"would label 20 inputs ({size:.0f} KB) into {target}" in err
    assert "not inputs: 1 not an image" in err
    assert re.search(r"^about \d+ seconds$", err, re.MULTILINE)
    assert sorted(tmp_path.rglob("*")) == before


def test_overwrite(invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]) -> None:
    (tmp_path / "x.csv").write_text("old")
    target = str(tmp_path / "x.csv")
    assert invoke("run", str(faces), "-o", target, "--overwrite", *crop)[0] == 0
    assert (tmp_path / "x.csv").read_text().startswith(HEADER)


def test_scan_options_reach_the_scan(invoke: Invoke, tmp_path: Path, crop: list[str]) -> None:
    for name in ("a.png", "b.png", "x.lrdata/c.png", "d.jpg"):
        draw(tmp_path / "in" / name, (1, 2, 3))

    def paths(*options: str) -> list[str]:
        code, out, _ = invoke("run", str(tmp_path / "in"), "-q", "-o", "-", *options, *crop)
        assert code in (0, 3)
        return [row["path"] for row in csv.DictReader(io.StringIO(out))]

    assert paths() == ["a.png", "b.png", "d.jpg"]
    assert paths("--exclude", "*.jpg", "--exclude", "a*") == ["b.png"]
    assert paths("--no-default-excludes") == ["a.png", "b.png", "d.jpg", "x.lrdata/c.png"]
    assert paths("--limit", "2") == ["a.png", "b.png"]
    if os.name == "posix":
        (tmp_path / "out").mkdir()
        draw(tmp_path / "out" / "e.png", (1, 2, 3))
        (tmp_path / "in" / "link").symlink_to("../out")
        assert "link/e.png" not in paths()
        assert "link/e.png" in paths("--follow-links")
    code, out, _ = invoke("run", str(tmp_path / "in"), "-q", "-o", "-", "--max-pixels", "9", *crop)
    assert code == 3
    assert {row["status"] for row in csv.DictReader(io.StringIO(out))} == {"too_large"}


# Help -------------------------------------------------------------------------------------


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


ALL_COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("path", ALL_COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(invoke: Invoke, path: tuple[str, ...]) -> None:
    command = ALL_COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    code, out, err = invoke(*path, "--help")
    assert (code, err) == (0, "")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[-1] in out
    assert max(map(len, out.splitlines())) <= 100


def test_help_names_the_commands_and_version_is_the_package_s(invoke: Invoke) -> None:
    code, out, _ = invoke("--help")
    assert code == 0
    assert {"run", "evaluate", "models", "demo"} <= set(out.split())
    assert invoke("-h")[1] == out
    assert invoke("--version") == (0, f"annotate, version {annotate.__version__}\n", "")


# Imports --------------------------------------------------------------------------------

HEAVY = [
    "tensorflow",
    "keras",
    "pandas",
    "onnxruntime",
    "onnx",
    "torch",
    "jax",
    "pyarrow",
    "joblib",
]


@pytest.mark.parametrize(
    "statement",
    [
        "import annotate",
        "import annotate.cli, sys; sys.argv = ['annotate', '--help']; annotate.cli.main()",
        "import annotate.cli, sys; sys.argv = ['annotate', 'run', '--help']; annotate.cli.main()",
        "import annotate.cli, sys; sys.argv = ['annotate', 'run']; annotate.cli.main()",
        "import annotate.cli, sys; sys.argv = ['annotate', 'models']; annotate.cli.main()",
    ],
)
def test_nothing_heavy_is_imported_for_help(statement: str) -> None:
    script = (
        f"import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules))))\n"
        f"{statement}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert "HEAVY []" in done.stdout


def test_the_module_is_the_command(command: Command) -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"annotate, version {annotate.__version__}\n")


# The package ------------------------------------------------------------------------------


def test_public_names_resolve_and_no_module_hides_one() -> None:
    import importlib
    import pkgutil

    modules = {module.name for module in pkgutil.iter_modules(annotate.__path__)}
    for name in modules - {"__main__"}:
        importlib.import_module(f"annotate.{name}")
    for name in annotate.__all__:
        assert not isinstance(getattr(annotate, name), type(annotate)), name
    assert not modules & set(annotate.__all__)
    assert dir(annotate) == sorted(annotate.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        annotate.nothing  # noqa: B018
