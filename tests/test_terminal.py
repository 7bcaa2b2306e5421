"""The terminal: variables, completion, help, hints, --quiet, and what names may send to it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from PIL import Image

import annotate
from annotate.cli import SECTIONS, cli
from annotate.cli.environment import look_at_variables, name_variables
from annotate.model import bundled_models
from tests.conftest import ROOT, Invoke, draw, one_line

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes and names")
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def every_command(group: click.Group, *before: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield " ".join((*before, name)), command
        if isinstance(command, click.Group):
            yield from every_command(command, *before, name)


COMMANDS = dict(every_command(cli))


def options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have some."""
    for name in [name for name in os.environ if name.startswith("ANNOTATE_")]:
        monkeypatch.delenv(name)


# Variables ----------------------------------------------------------------------------------


def test_a_variable_is_an_option(
    invoke: Invoke, faces: Path, fake_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "FACES": "crop",
        "MODEL": str(fake_model_folder),
        "WORKERS": "1",
        "LIMIT": "2",
        "QUIET": "yes",
        "EXCLUDE": "00.png 01*",
        "OUTPUT": "-",
    }.items():
        monkeypatch.setenv(f"ANNOTATE_RUN_{name}", value)
    code, out, err = invoke("run", str(faces))
    assert (code, err) == (0, "")
    assert [row["path"] for row in csv.DictReader(io.StringIO(out))] == ["02.png", "03.png"]
    # What is typed wins, and an empty variable is none.
    monkeypatch.setenv("ANNOTATE_RUN_EXCLUDE", "")
    code, out, _ = invoke("run", str(faces), "--limit", "1")
    assert [row["path"] for row in csv.DictReader(io.StringIO(out))] == ["00.png"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_variable_of_an_option_is_its_name(name: str) -> None:
    """The rule of docs/shell.md, for each option of each command."""
    for option in options(COMMANDS[name]):
        (long,) = [each for each in option.opts if each.startswith("--")]
        expected = f"annotate {name} {long.removeprefix('--')}"
        assert option.envvar == re.sub("[ -]", "_", expected).upper()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BATCH_SIZE", "many", "'many' is not a valid integer"),
        ("BATCH_SIZE", "0", "0 is not in the range"),
        ("ENGINE", "gpu\x1b[31m", "is not one of 'auto'"),
        ("QUIET", "perhaps", "'perhaps' is not a valid boolean"),
        ("DETECT_SIZE", "big\n", "expected auto or 32 to 4096 pixels"),
    ],
)
def test_an_odd_value_is_a_usage_error_that_names_the_variable(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"ANNOTATE_RUN_{variable}", value)
    code, out, err = invoke("run", "x", "-o", "-")
    assert (code, out) == (2, "")
    assert said in one_line(err)
    assert f"with ANNOTATE_RUN_{variable} set in the environment" in err
    # The same typed is blamed on nobody else.
    option = "--" + variable.lower().replace("_", "-")
    if variable != "QUIET":
        code, _, err = invoke("run", "x", "-o", "-", option, value)
        assert code == 2
        assert "environment" not in one_line(err)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (1, "run nowhere -o x.csv"),
        (1, "run --model nope . -o x.csv"),
        (1, "models show nope"),
        (1, "evaluate nowhere --report x"),
        (1, "export nowhere.csv --to coco -o x.json"),
        (2, "nope"),
        (2, "run . --nope"),
        (2, "export x.csv -o x.json"),
        (2, "run . -o x.csv --workers none"),
        (2, "export x.csv --to coco -o x.txt"),
    ],
)
def test_exit_codes_are_as_the_page_about_the_shell_has_them(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = invoke(*words.split())
    assert (code, out) == (expected, "")
    one_line(err)
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_go_together_may_come_from_the_environment(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATE_RUN_FACES", "crop")
    code, _, err = invoke("run", "x", "-o", "-", "--save-crops", "y")
    assert code == 2
    assert "--save-crops is for --faces detect" in one_line(err)
    assert "ANNOTATE_RUN_FACES" in err


def test_variables_of_other_names_do_nothing(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container image may well say ANNOTATE_VERSION=1.2."""
    for name in ("VERSION", "HELP", "RUN_HELP", "RUN_SOURCES", "MODELS_NAME", "RUN_TABLE"):
        monkeypatch.setenv(f"ANNOTATE_{name}", "1")
    code, out, _ = invoke("models")
    assert code == 0
    assert "base" in out
    code, _, err = invoke("run", "-o", "-")
    assert code == 2
    assert "Missing SOURCE" in one_line(err)


def test_the_doctor_tells_what_variables_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNOTATE_RUN_MODEL", "na\x1bno")
    monkeypatch.setenv("ANNOTATE_RUN_LIMIT", "x")
    monkeypatch.setenv("ANNOTATE_RUN_MODLE", "nano")
    monkeypatch.setenv("ANNOTATE_EVALUATE_TTA", "")
    found = {finding.name: finding for finding in look_at_variables(cli)}
    assert [str(found[name].verdict) for name in sorted(found)] == ["note", "fault", "ok", "note"]
    assert found["ANNOTATE_RUN_MODEL"].said == r"sets --model of annotate run to 'na\x1bno'"
    assert "'x' is not a valid integer" in found["ANNOTATE_RUN_LIMIT"].said
    assert found["ANNOTATE_RUN_MODLE"].to_do == "ANNOTATE_RUN_MODEL?"
    assert "is empty" in found["ANNOTATE_EVALUATE_TTA"].said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RUN_BATCHSIZE", "RUN_BATCH_SIZE"),
        ("RNU_MODEL", "RUN_MODEL"),
        ("RUN_WORKER", "RUN_WORKERS"),
        ("EVALUATE_MODLE", "EVALUATE_MODEL"),
        ("FOO", None),
        ("RUN_FOO", None),
        ("VERSION", None),
        ("SOURCE", None),  # which the notebook reads
    ],
)
def test_only_a_slip_gets_a_name_proposed(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str | None
) -> None:
    monkeypatch.setenv(f"ANNOTATE_{name}", "x")
    found = {finding.name: finding for finding in look_at_variables(cli)}
    expected = "" if meant is None else f"ANNOTATE_{meant}?"
    assert found[f"ANNOTATE_{name}"].to_do == expected
    assert found[f"ANNOTATE_{name}"].verdict == "note"


def test_names_are_given_to_commands_below_commands() -> None:
    @click.group()
    def outer() -> None: ...

    @outer.command("an-inner")
    @click.option("-x", "--the-option", "other_name")
    def inner(other_name: str | None) -> None: ...

    name_variables(outer, "TOP")
    assert inner.params[0].envvar == "TOP_AN_INNER_THE_OPTION"


# Help ---------------------------------------------------------------------------------------


def test_help_lists_each_command_once_in_its_section(invoke: Invoke) -> None:
    code, out, _ = invoke("--help")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if re.match(r"  [a-z]+  +[A-Z]", line)]
    assert sorted(row[0] for row in rows) == sorted(cli.commands)
    titles = re.findall(r"^([A-Z][A-Za-z ]+):$", out, re.MULTILINE)
    expected = [title for title, names in SECTIONS.items() if set(names) & set(cli.commands)]
    assert [title for title in titles if title not in ("Options", "Examples")] == expected
    assert "..." not in out.partition("Options:")[2]  # no text is cut short
    assert "annotate run ~/Pictures -o people.parquet" in out


def test_a_command_in_no_section_is_listed_too() -> None:
    from annotate.cli import Commands

    group = Commands("x", commands={"new": click.Command("new", help="New things.")})
    text = group.get_help(click.Context(group))
    assert re.search(r"Other commands:\n  new  New things\.", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse(invoke: Invoke, name: str) -> None:
    code, out, _ = invoke(*name.split(), "--help")
    assert code == 0
    assert "Examples:\n" in out
    block = out.partition("Examples:\n")[2].partition("\n\n")[0]
    shown = [line.strip() for line in block.splitlines() if "annotate " in line]
    assert shown
    assert any(f"annotate {name}" in line for line in shown)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_show_progress_can_be_quiet(name: str) -> None:
    """Those that run the model, or read many files."""
    names = {opt for option in options(COMMANDS[name]) for opt in option.opts}
    if "--timeout-s" in names or "--dry-run" in names:
        assert {"-q", "--quiet"} <= names


# Documents ----------------------------------------------------------------------------------


def documents() -> str:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(page.read_text("utf-8") for page in pages)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """`annotate NAME` stands in the README or on a page, and each of its options by a name."""
    text = documents()
    assert re.search(rf"\bannotate {name}\b", text)
    missing = [
        option.opts
        for option in options(COMMANDS[name])
        if not any(re.search(rf"(?<![\w-]){re.escape(opt)}(?![\w-])", text) for opt in option.opts)
    ]
    assert not missing


@pytest.mark.parametrize("name", [name for name in COMMANDS if " " not in name])
def test_every_command_has_a_page_that_names_its_options(name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    assert page.exists()
    text = page.read_text("utf-8")
    assert f"annotate {name}" in text
    for option in options(COMMANDS[name]):
        assert any(
            re.search(rf"(?<![\w-]){re.escape(opt)}(?![\w-])", text) for opt in option.opts
        ), option.opts


def test_the_documented_json_of_the_doctor_is_what_it_prints() -> None:
    text = (ROOT / "docs" / "doctor.md").read_text("utf-8")
    example = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])
    from annotate.cli.doctor import _described, _document
    from annotate.doctor.findings import ok

    made = _document([_described(ok("x"))], {"ok": 1, "note": 0, "fault": 0})  # type: ignore[arg-type]
    assert list(example) == list(made)
    assert sorted(example["findings"][0]) == sorted(made["findings"][0])
    assert example["schema_version"] == made["schema_version"]


# What names may send ------------------------------------------------------------------------


@POSIX
def test_names_do_not_steer_the_terminal(tmp_path: Path, crop: list[str], command: Command) -> None:
    """On a terminal they are escaped; a file or a pipe gets them as they are."""
    name = "\x1b[2J\x1b]0;title\x07\u202e,\n.png"
    (tmp_path / "in").mkdir()
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "in" / name, "PNG")
    arguments = ["run", str(tmp_path / "in"), "-q", "-o", "-", *crop]
    piped = command(*arguments).stdout
    assert next(csv.DictReader(io.StringIO(piped, newline="")))["path"] == name
    shown = on_terminal(arguments)
    lines = shown.split("\r\n")
    assert lines[0] == piped.splitlines()[0]
    assert lines[1].isprintable()
    assert len(lines) == 3
    assert not lines[2]
    row = next(csv.DictReader(io.StringIO("\n".join(lines))))
    assert row["path"] == r"\x1b[2J\x1b]0;title\x07\u202e,\x0a.png"


@POSIX
def test_names_of_outputs_do_not_steer_it_either(
    invoke: Invoke, faces: Path, tmp_path: Path, crop: list[str]
) -> None:
    target = tmp_path / "x\x1b[31m\nannotate: all is well.parquet"
    said = []
    for options in (["--dry-run"], [], []):
        code, out, err = invoke("run", str(faces), "-o", str(target), *options, *crop)
        assert (code, out) == (0, "")
        assert all(line.isprintable() for line in err.splitlines())
        name = r"x\x1b[31m\x0aannotate: all is well.parquet"
        said.append([line for line in err.splitlines() if name in line])
        assert not any(line.startswith("annotate:") for line in err.splitlines())
    assert [len(lines) for lines in said] == [1, 1, 1]
    assert "would label" in said[0][0]
    assert said[1][0].startswith("wrote ")
    assert said[2][0].startswith("nothing to do: ")


def on_terminal(arguments: list[str]) -> str:
    """What a run of annotate shows on a terminal."""
    near, far = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "annotate", *arguments],
        stdout=far,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(far)
    text = b""
    try:
        while data := os.read(near, 4096):
            text += data
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(near)
    assert process.wait(120) == 0
    return text.decode()


def test_a_python_that_is_too_old_gets_a_sentence() -> None:
    program = """
import runpy, sys
sys.version_info = (3, 10, 4, "final", 0)
runpy.run_module("annotate", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert re.fullmatch(r"annotate: this is Python \S+, 3\.11 is the oldest .*\n", done.stderr)


@POSIX
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.skipif(not {"base", "nano"} <= set(bundled_models()), reason="needs both models")
def test_the_commands_of_the_shell_page_run(on_path: dict[str, str], tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.jpg", (90, 120, 150), (300, 240))
    blocks = re.findall(
        r"```sh\n(.*?)```", (ROOT / "docs" / "shell.md").read_text("utf-8"), re.DOTALL
    )
    shown = [block for block in blocks if "annotate run" in block]
    assert len(shown) == 2
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", *shown])],
        env=on_path,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "all labelled\n"), done.stderr
    models = {
        name: annotate.read(tmp_path / f"{name}.parquet").attrs["model"]
        for name in ("nano", "base", "quiet")
    }
    assert models == {"nano": "nano", "base": "base", "quiet": "nano"}
    assert done.stderr.count("wrote ") == 2
