"""The training command line: what it says of itself, and what it writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from click.testing import CliRunner

from tests.conftest import draw
from training.__main__ import cli
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
