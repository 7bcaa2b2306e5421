"""The wheel: built from the project, installed outside the checkout, and used there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from annotate.model import bundled_models
from tests.conftest import ROOT

pytest.importorskip("setuptools", minversion="77")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without an index, from a copy: a build leaves files where it runs."""
    work = tmp_path_factory.mktemp("wheel")
    project = work / "project"
    for name in ("annotate", "training"):
        shutil.copytree(
            ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(work), str(project)]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (built,) = work.glob("*.whl")
    return built


def test_it_holds_both_packages_and_the_models(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"annotate", "training"}
    assert {"annotate/py.typed", "annotate/cli/run.py", "training/presets.py"} <= names
    assets = ("templates/review.html", "static/review.js", "static/review.css")
    assert {f"annotate/review/{name}" for name in assets} <= names
    for model in bundled_models():
        for file in ("model.onnx", "model.keras", "model.json", "card.md", "training_hashes.txt"):
            assert f"annotate/models/{model}/{file}" in names


@pytest.mark.skipif(not bundled_models(), reason="no model is bundled")
def test_it_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True, timeout=300)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    script = "import annotate; print(annotate.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
    done = subprocess.run(
        [sys.executable, "-m", "annotate", "demo"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "grace_hopper.jpg" in done.stdout
    assert (tmp_path / "annotate-demo" / "people.parquet").exists()
