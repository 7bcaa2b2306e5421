"""docs/export.md: its commands run in the order in which they stand, and its figures are right."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from annotate.cli.export import export_command
from annotate.export.labelled import Face, Input
from annotate.export.xmp import packet
from annotate.readers import read_table
from tests.conftest import ROOT, Invoke

DOCUMENT = (ROOT / "docs" / "export.md").read_text("utf-8")


def test_the_commands_and_the_python_run(
    tmp_path: Path,
    faces: Path,
    invoke: Invoke,
    crop: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("run", str(faces), "-o", "people.parquet", *crop)[0] == 0
    shell = f'annotate() {{ "{sys.executable}" -m annotate "$@"; }}\n'
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", DOCUMENT, re.DOTALL):
        words = [sys.executable, "-c", block]
        if language == "sh":
            words = ["bash", "-c", f"set -euo pipefail\n{shell}{block}"]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, (block, done.stderr)
    written = {"tasks.json", "tasks.config.xml", "faces.json", "sidecars", "uncertain.json"}
    assert written <= {path.name for path in tmp_path.iterdir()}
    # Face i has the probability 1 - 10 i / 255 of being female, above 0.2 and below 0.8 from 6 on.
    assert read_table("uncertain.parquet").num_rows == 14


def test_every_option_is_in_the_table() -> None:
    for parameter in export_command.params[1:]:
        assert any(f"`{option}" in DOCUMENT for option in parameter.opts), parameter.opts


def test_the_region_that_is_shown_is_what_is_written() -> None:
    (numbers,) = re.findall(r"from \((.*)\) to \((.*)\) in a photograph of (\d+) x (\d+)", DOCUMENT)
    first, second, width, height = numbers
    box = tuple(float(edge) for edge in f"{first}, {second}".split(","))
    assert len(box) == 4
    face = Face(box, age=83.9, age_p10=71.9, age_p90=93.4, gender="female", flags=("uncertain",))
    item = Input(b"/a.jpg", b"a.jpg", "a.jpg", None, int(width), int(height), None, (face,))
    written = re.sub(r"\s+", " ", packet(item, 6).decode())
    (shown,) = re.findall(r"```xml\n(.*?)```", DOCUMENT, re.DOTALL)
    for part in shown.split("…"):
        assert re.sub(r"\s+", " ", part).strip() in written
