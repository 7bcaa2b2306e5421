"""The notebook of the two origin systems: how it is run, what it installs, and that it runs."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.model import bundled_models
from examples.drawn_faces import draw_faces
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "origins.ipynb"
COUNT = 80

pytestmark = pytest.mark.skipif("nano" not in bundled_models(), reason="nano is not bundled")


def test_the_notebook_is_committed_without_outputs() -> None:
    """Outputs would show faces of whoever ran it last."""
    text = NOTEBOOK.read_text("utf-8")
    found = json.loads(text)
    assert len(found["cells"]) > 20
    for cell in found["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell.get("attachments")
    assert "image/" not in text
    assert "base64" not in text


def test_the_notebook_names_its_data_and_where_they_are_to_be_had() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    first = "".join(cells[0]["source"])
    assert "https://susanqq.github.io/UTKFace/" in first
    assert "DATA=" in first
    assert "%env ANNOTATE_SOURCE=git+https://" in first
    assert "%env ANNOTATE_SOURCE=git+https://" in (ROOT / "docs" / "pandas.md").read_text("utf-8")
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "find_spec" in code[0]  # installs only what is missing
    assert "annotate[train]" in code[0]
    assert 'os.environ.get("ANNOTATE_SOURCE"' in code[0]
    assert 'os.environ.get("DATA"' in code[1]


@pytest.mark.parametrize("source", ["..", "git+https://example.org/annotate.git"])
def test_the_notebook_installs_what_is_missing(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = pytest.importorskip("packaging.requirements")
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: called.append(words))
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    monkeypatch.setenv("ANNOTATE_SOURCE", source)
    monkeypatch.chdir(EXAMPLES)
    exec(code, {})
    assert called == []  # all is there
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(code, {})
    wanted = requirements.Requirement(called[0][-1])
    assert (wanted.name, wanted.extras) == ("annotate", {"train"})
    assert wanted.url == (source if "://" in source else ROOT.as_uri())
    if source == "..":
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit, match="ANNOTATE_SOURCE to git"):
            exec(code, {})


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both systems, from file names to figures: one epoch each, on drawn faces."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
    drawn = draw_faces(tmp_path / "drawn", COUNT)
    settings = {"DATA": drawn, "RUNS": tmp_path / "runs", "LIMIT": 0, "EPOCHS": 1}
    settings |= {"PYTHONPATH": ROOT, "PYTHONWARNINGS": "ignore"}
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        settings[name] = tmp_path / "jupyter"
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()  # raises where a cell does
    said = "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    shutil.rmtree(tmp_path / "runs")  # half a gigabyte
    assert f"{COUNT} images, {COUNT} of them with labels" in said
    for what in ("rgb200", "gray128", "base", "age MSE", "gender accuracy", "34,828,226"):
        assert what in said
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    # A sample, the ages, a grid, two features, two histories, predictions, samples with answers.
    assert len(pictures) == 8
    assert all(len(np.unique(np.asarray(picture.convert("L")))) > 20 for picture in pictures)
