"""The training command line: what it says of itself, and what it writes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import draw
from tests.model_folders import edit
from training.__main__ import cli, main
from training.presets import PRESETS
from training.splits import part_of


def test_every_command_and_option_has_help() -> None:
    assert set(cli.commands) == {
        "presets",
        "fit",
        "evaluate",
        "export",
        "robustness",
        "speed",
        "split",
    }
    for name, command in cli.commands.items():
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", None), f"{name} {option.name}"


def test_presets_are_listed_with_their_commands() -> None:
    done = CliRunner().invoke(cli, ["presets"])
    assert done.exit_code == 0
    for preset in PRESETS.values():
        assert preset.command in done.output
        assert preset.source in done.output


def test_the_split_command_writes_a_line_for_each_image(tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    for age in range(20, 32):
        draw(faces / f"{age}_1_2_0000.jpg", (age, 8 * age, 100))
    out = tmp_path / "list.txt"
    arguments = ["split", "--data", str(faces), "--out", str(out), "--preset", "gray128"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    lines = out.read_text("ascii").splitlines()
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in faces.iterdir()]
    assert len(set(hashes)) == 12
    # gray128 validates on 0.2 of what is not test.
    assert lines == sorted(f"{sha256[:16]} {part_of(sha256, 0.2)}" for sha256 in hashes)
    assert done.output == f"wrote 12 lines to {out}\n"


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that cannot be done: the one line that it says, after exit code 1."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (1, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return run


def test_a_file_that_cannot_be_written_is_found_before_any_work(
    refused: Refused, tmp_path: Path
) -> None:
    """There is no model and no image, which would be found missing next."""
    options = ["--data", tmp_path]
    for command in (["robustness", "--model", "nowhere", *options], ["split", *options]):
        said = refused(*command, "--out", tmp_path / "missing" / "x")
        assert "missing/x: there is no folder" in said
        assert "it is a folder, name a file in it" in refused(*command, "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_needs_a_folder(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    fit = ["fit", "--preset", "gray128", "--data", tmp_path]
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert f"cannot make the folder {out}: " in refused(*fit, "--out", out)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("seed", ["-5", str(2**32)])
def test_seeds_are_those_that_every_generator_takes(seed: str, tmp_path: Path) -> None:
    for command in (["fit", "--preset", "base"], ["split"]):
        words = [*command, "--data", str(tmp_path), "--out", str(tmp_path / "x"), "--seed", seed]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 2
        assert f"{seed} is not in the range 0<=x<=4294967295" in done.output


def test_a_model_that_no_training_made_is_no_start(
    refused: Refused, copy: Path, tmp_path: Path
) -> None:
    (copy / "model.keras").write_bytes(b"weights")
    edit(copy)
    fit = ["fit", "--preset", "base_112", "--data", tmp_path, "--out", tmp_path / "run"]
    assert "does not say how it was made" in refused(*fit, "--start", copy)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "preset", "said"),
    [
        ([], "base", "does not say how its images were split"),
        ({"split": None}, "base", "does not say how its images were split"),
        ({"split": {"seed": 7}}, None, "and by which preset"),
        ({"split": {"seed": 7}}, ["base"], "and by which preset"),
        ({"split": {"seed": 7}}, "best", "made by the preset 'best', which is not known"),
        ({"split": {"seed": "7"}}, "base", "a limit or null, found '7' and None"),
        ({"split": {"seed": 7, "limit": "9"}}, "base", "a limit or null, found 7 and '9'"),
        ({"split": {"seed": 7, "limit": 0}}, "base", "a limit or null, found 7 and 0"),
        ({"split": {"seed": 7}}, "base", "was split otherwise than its preset base says now"),
    ],
)
def test_a_model_that_misstates_its_split_is_not_evaluated(
    data: object, preset: object, said: str, refused: Refused, copy: Path, tmp_path: Path
) -> None:
    edit(copy, lambda info: info.update(data=data, preset=preset))
    words = ["evaluate", "--model", copy, "--data", tmp_path, "--report", tmp_path / "report"]
    assert said in refused(*words)


def test_who_interrupts_is_told_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.fit

    def interrupted(preset: object, sources: object, out: Path, **options: object) -> None:
        if options["resume"]:
            (out / "run.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(training.fit, "fit", interrupted)
    words = ["fit", "--preset", "gray128", "--data", str(tmp_path), "--out", str(tmp_path)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 130
    assert "interrupted before anything was kept: the same command begins anew" in done.output
    done = CliRunner().invoke(cli, [*words, "--resume"])
    assert done.exit_code == 130
    assert "the same command with --resume continues" in done.output


@pytest.mark.parametrize("name", ["base", "gray128"])
def test_a_preset_that_was_made_with_photographs_says_so_and_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.fit

    monkeypatch.setattr(training.fit, "fit", lambda *arguments, **options: {"epoch": 1.0})
    words = ["fit", "--preset", name, "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0
    said = "warning: preset base was made with --photographs; without, its figures are others\n"
    assert done.stderr == (said if PRESETS[name].photographs else "")
    assert done.stdout.startswith("kept the weights of this epoch")
