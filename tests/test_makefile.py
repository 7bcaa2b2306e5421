"""The Makefile: a model is only made by its own name where nothing that it needs is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Stands where an environment stands, up to date: its Python lists presets, and else says
    what it was asked for.
    """
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\ncase "$*" in "-m training presets") exec "{sys.executable}" "$@";; esac\n'
        'echo "$@"\n'
    )
    python.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.cfg", "pyproject.toml", "requirements.txt", "venv/.dev"):
        (tmp_path / name).touch()
    return tmp_path / "venv"


def _make(venv: Path, name: str, fit: str = "") -> subprocess.CompletedProcess[str]:
    words = ["make", "--silent", f"models/{name}", f"VENV={venv}", f"UTKFACE={venv}", f"FIT={fit}"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=venv.parent, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "fit", "lacking"),
    [
        ("base", "", "--photographs"),
        ("base", "--photograph-labels x.csv", "--photographs"),
        ("base_taught", "--photographs x --photograph-labels x.csv", "--start"),
        ("nano", "--photographs x --photograph-labels x.csv", "--teacher"),
    ],
)
def test_a_preset_that_needs_more_is_one_line_with_its_command(
    name: str, fit: str, lacking: str, venv: Path
) -> None:
    done = _make(venv, name, fit)
    assert done.returncode != 0
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith(f"{name} needs {lacking}, ")
    assert f"docs/results.md: python -m training fit --preset {name} --data " in done.stdout


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("gray128", "--precision mixed_bfloat16"),
        ("base_112", ""),
        ("base", "--photographs x --photograph-labels x.csv"),
    ],
)
def test_a_preset_that_has_what_it_needs_is_fitted_and_exported(
    name: str, fit: str, venv: Path
) -> None:
    done = _make(venv, name, fit)
    assert done.returncode == 0, done.stderr
    fitted, exported = (" ".join(line.split()) for line in done.stdout.splitlines())
    data, run = f"--data {venv}", f"runs/{name}"
    expected = f"-m training fit --preset {name} {data} --out {run} {fit}".strip()
    assert fitted == expected
    assert exported == f"-m training export --run {run} {data} --out models/{name}"
