"""The documents: every command that they show runs, and every option and column is in them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from PIL import Image

from annotate.cli import cli
from annotate.model import MODELS, bundled_models
from annotate.records import COLUMNS, Status
from annotate.rows import UNCERTAIN_AGE_SD, UNCERTAIN_GENDER
from tests.conftest import ROOT
from training.__main__ import cli as training_cli

README = (ROOT / "README.md").read_text("utf-8")

HOPPER_BOX = (156, 131, 374, 349)
"""Pixels in matplotlib's grace_hopper.jpg: the eyes at 26 % and the mouth at 68 % of the height,
as in UTKFace's crops."""

needs_base = pytest.mark.skipif("base" not in bundled_models(), reason="base is not bundled")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language in the README."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[str]:
    """The lines of the README's shell blocks that start a program."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line.partition("  #")[0] for line in lines if re.search(rf"(^|\| ){program}", line)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's examples expect: photos, an archive, crops, labelled crops, a model."""
    matplotlib = pytest.importorskip("matplotlib")
    desk = tmp_path_factory.mktemp("desk")
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (desk / "faces").mkdir()
    (desk / "labelled").mkdir()
    (desk / "photos").mkdir()
    shutil.copy(portrait, desk / "photos")
    with zipfile.ZipFile(desk / "takeout.zip", "w") as archive:
        archive.write(portrait, "takeout/portrait.jpg")
    with Image.open(portrait) as image:
        crop = image.crop(HOPPER_BOX)
    crop.save(desk / "faces" / "hopper.png")
    for age, gender in ((77, 1), (76, 1), (40, 0)):
        name = f"{age}_{gender}_0_20170101120000000.jpg.chip.jpg"
        crop.resize((200, 200)).rotate(age - 76).save(desk / "labelled" / name)
    if "base" in bundled_models():
        shutil.copytree(MODELS / "base", desk / "models" / "base")
    return desk


@needs_base
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_annotate_commands_run(desk: Path) -> None:
    shell = f'annotate() {{ "{sys.executable}" -m annotate "$@"; }}\n'
    shown = [line for line in commands("annotate ") if "models/base" not in line]
    assert len(shown) >= 5
    for line in shown:
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{shell}{line}"],
            cwd=desk,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert "Traceback" not in done.stderr
    assert (desk / "people.parquet").exists()
    assert (desk / "report" / "metrics.json").exists()


@needs_base
def test_the_python_blocks_run(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    names: dict[str, object] = {}
    for output in ("people.parquet", "people.csv"):
        command = ["run", "faces", "--faces", "crop", "-o", output, "--overwrite"]
        cli.main(command, standalone_mode=False)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    stated = json.loads((MODELS / "base" / "model.json").read_text("utf-8"))["input"]["size_px"]
    assert names["model"].size_px == stated  # type: ignore[attr-defined]
    assert len(names["rows"]) == 1  # type: ignore[arg-type]


def test_the_training_commands_parse(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    (desk / "runs" / "base").mkdir(parents=True)
    for name in ("appa_train.csv", "appa_valid.csv"):
        (desk / name).write_text("path,age\n")
    shown = commands("python -m training ")
    assert len(shown) >= 5
    for line in shown:
        line = line.replace("$UTKFACE", "labelled").replace("$APPA_REAL", "photos")
        words = shlex.split(line)[3:]
        command = training_cli.commands[words[0]]
        command.make_context(words[0], words[1:])  # raises for an unknown option


@needs_base
def test_the_example_runs(desk: Path) -> None:
    script = ROOT / "examples" / "pandas_analysis.py"
    done = subprocess.run(
        [sys.executable, str(script), "faces", "--faces", "crop"],
        cwd=desk,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "hopper.png" in done.stdout
    assert re.search(r"female\s+1\.0", done.stdout)  # one face, labelled female


def test_the_make_targets_exist() -> None:
    targets = (ROOT / "Makefile").read_text("utf-8")
    for line in commands("make "):
        assert re.search(rf"^{line.split()[1]}:", targets, re.MULTILINE), line


def test_columns_and_statuses_are_documented() -> None:
    for name in (*[column.name for column in COLUMNS], *[str(status) for status in Status]):
        assert f"`{name}`" in README, name


def test_the_rule_of_uncertain_is_stated_as_it_is() -> None:
    low, high = UNCERTAIN_GENDER
    rule = (
        f"`age_sd` is over {UNCERTAIN_AGE_SD:g} years, or `female_probability` lies between"
        f" {low:g} and {high:g}"
    )
    assert f"| `uncertain` | {rule} |" in README


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for program, group in (("annotate", cli), ("training", training_cli)):
        for name, command in group.commands.items():
            found.append((f"{program} {name}", command))
            if isinstance(command, click.Group):
                found += [(f"{program} {name} {n}", c) for n, c in command.commands.items()]
    return found


@pytest.mark.parametrize(("name", "command"), every_command(), ids=lambda value: str(value)[:40])
def test_every_command_and_option_has_help(name: str, command: click.Command) -> None:
    assert command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"


@pytest.mark.parametrize("document", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"])
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target
