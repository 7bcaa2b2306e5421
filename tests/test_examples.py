"""The examples: each runs on drawn faces, and says what can be worked out by hand."""

from __future__ import annotations

import ast
import base64
import importlib
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import annotate
from annotate.frames import to_frame
from annotate.images import decode
from annotate.labelling import write
from annotate.labels import labels_from_names
from annotate.model import bundled_models
from annotate.run_config import RunConfig
from annotate.writers import write_parquet
from examples.drawn_faces import draw_faces
from tests.conftest import ROOT, draw
from tests.hand_made import guess, no_face, table_of

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "origins.ipynb"
COUNT = 80

pytestmark = pytest.mark.skipif("nano" not in bundled_models(), reason="nano is not bundled")

Run = Callable[..., str]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import an example as those beside it do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an example as `python examples/NAME` does: what it prints."""

    def main(name: str, *arguments: str | Path) -> str:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return main


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces with UTKFace names."""
    return draw_faces(tmp_path_factory.mktemp("examples") / "drawn", COUNT)


@pytest.fixture
def few(drawn: Path, tmp_path: Path) -> Path:
    """Ten of them."""
    (tmp_path / "few").mkdir()
    for path in sorted(drawn.iterdir())[:10]:
        shutil.copy(path, tmp_path / "few")
    return tmp_path / "few"


NOW = ("--faces", "crop", "--model", "nano")


def test_every_example_is_tested_and_says_how_it_is_called() -> None:
    tests = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.stem in tests, path.name
        about = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if path.stem != "labelled":
            assert f"python examples/{path.name} " in about, path.name


def test_drawn_faces_are_labelled_dated_and_all_different(drawn: Path) -> None:
    names = sorted(path.name for path in drawn.iterdir())
    found = labels_from_names(names)
    assert (len(found.labels), found.faults) == (COUNT, ())
    genders = [label.gender for label in found.labels.values()]
    assert (genders.count("female"), genders.count("male")) == (COUNT // 2, COUNT // 2)
    assert len({path.read_bytes() for path in drawn.iterdir()}) == COUNT
    picture = decode((drawn / names[0]).read_bytes())
    assert picture.pixels.shape == (200, 200, 3)
    assert picture.captured_at is not None
    assert datetime(1985, 1, 1) <= picture.captured_at < datetime(2025, 1, 1)


def test_rows_of_any_source_have_age_bands(few: Path, example: Any, tmp_path: Path) -> None:
    module = example("labelled")
    options = module.arguments("about").parse_args([str(few), *NOW])
    now = module.labelled(options)
    write_parquet(table_of(*(guess(f"{age}", age, 0.2) for age in (5, 50))), tmp_path / "p.parquet")
    later = module.labelled(module.arguments("").parse_args([str(tmp_path / "p.parquet")]))
    assert later["age_band"].tolist() == ["3-9", "50-59"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "p.parquet").rename(tmp_path / "folder" / "part-00000.parquet")
    again = module.labelled(module.arguments("").parse_args([str(tmp_path / "folder")]))
    pd.testing.assert_frame_equal(again, later)
    assert now["age_band"].cat.categories.tolist() == later["age_band"].cat.categories.tolist()
    assert now["age_band"].tolist() == annotate.age_bands(now["age"]).tolist()
    assert len(now) == 10


def test_pandas_analysis(few: Path, run: Run) -> None:
    hostile = few / "<img src=x onerror=alert(1)>\x1b[31m.jpg"
    hostile.write_bytes(b"no picture")
    said = run("pandas_analysis.py", few, *NOW)
    assert re.search(r"^ok +10$", said, re.MULTILINE)
    assert re.search(r"^decode_error +1$", said, re.MULTILINE)
    assert "crashed" not in said  # statuses that do not occur are not listed
    assert f"'{few}/<img src=x onerror=alert(1)>\\x1b[31m.jpg': decode_error: " in said
    assert "\x1b" not in said


def test_the_page_about_pandas_names_every_example_and_its_code_runs(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "pandas.md").read_text("utf-8")
    for path in [*EXAMPLES.glob("*.py"), NOTEBOOK]:
        assert path.stem == "labelled" or f"examples/{path.name}" in page, path.name
    few.rename(tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    for name in ("people.parquet", "people.csv"):
        write(RunConfig(("faces",), faces="crop", model="nano"), name)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/pandas.md", "exec"), names)
    assert list(names["some"].columns) == ["path", "age", "gender"]
    assert names["banded"]["age_band"].cat.categories.tolist() == ["0-17", "18-64", "65+"]
    assert all(Path(file).is_file() for file in names["files"]["file"])
    assert names["by_year"].sum() == names["pictures"]["faces"].sum() == 10
    assert names["labelled"]["age_band"].tolist() == names["people"]["age_band"].tolist()


# Archives -----------------------------------------------------------------------------------


def dated(path: str, taken: tuple[int, int, int] | None, age: float | None, **more: Any) -> Any:
    """A face in a picture of a day; its interval reaches from 2 years less to 3 more."""
    when = None if taken is None else datetime(*taken)
    ends = {} if age is None else {"age_p10": age - 2, "age_p90": age + 3}
    return guess(path, age, 0.9, captured_at=when) | ends | more


ARCHIVE = table_of(
    dated("a", (1999, 12, 31), 4),
    dated("a", (1999, 12, 31), 35, face_index=1),
    dated("b", (2000, 1, 1), 36),
    dated("c", (2009, 7, 2), 36.5),
    dated("no time", None, 20),
    no_face("d", captured_at=datetime(2005, 1, 1)),
)


def test_faces_are_counted_by_decade_and_band(example: Any) -> None:
    frame = to_frame(ARCHIVE)
    frame["age_band"] = annotate.age_bands(frame["age"])
    faces = example("archive_by_decade").by_decade(frame)
    assert faces.index.tolist() == [1990, 2000]
    assert faces.columns.tolist()[:5] == ["0-2", "3-9", "10-17", "18-29", "30-39"]
    assert len(faces.columns) == 10  # the empty ones too, in order
    assert faces["3-9"].tolist() == [1, 0]
    assert faces["30-39"].tolist() == [1, 2]
    assert faces.to_numpy().sum() == 4


def test_archive_by_decade(run: Run, tmp_path: Path, few: Path) -> None:
    write_parquet(ARCHIVE, tmp_path / "p.parquet")
    said = run("archive_by_decade.py", tmp_path / "p.parquet", "--plot", tmp_path / "p.png")
    assert "4 faces; 1 more without a capture time" in said
    assert is_drawn(tmp_path / "p.png")
    said = run("archive_by_decade.py", few, *NOW)
    assert "10 faces; 0 more without a capture time" in said


def test_births_are_capture_times_less_ages(example: Any) -> None:
    found = example("birth_years").births(to_frame(ARCHIVE))
    assert found["path"].tolist() == ["a", "a", "b", "c"]
    assert found["taken"].tolist() == pytest.approx([1999.997, 1999.997, 2000, 2009.498], abs=2e-3)
    # 1999 less 35 years, and the ends of the interval the other way round.
    second = found.iloc[1]
    assert second[["born", "born_p10", "born_p90"]].tolist() == pytest.approx(
        [1964.997, 1961.997, 1966.997], abs=2e-3
    )
    assert (found["born_p10"] < found["born"]).all()
    assert (found["born"] < found["born_p90"]).all()


def test_birth_years(run: Run, tmp_path: Path, few: Path) -> None:
    write_parquet(ARCHIVE, tmp_path / "p.parquet")
    said = run("birth_years.py", tmp_path / "p.parquet", "--plot", tmp_path / "p.png")
    # 1999.997 - 35 and 2000 - 36; 2009.5 - 36.5; 1999.997 - 4.
    assert re.search(r"born from +\n1960 +2\n1970 +1\n1990 +1\n", said)
    assert "4 faces; 1 more without a capture time or an interval" in said
    assert "half of the intervals are wider than 5 years" in said
    assert is_drawn(tmp_path / "p.png")
    assert "10 faces; 0 more" in run("birth_years.py", few, *NOW)


def test_archives_without_dated_faces_draw_nothing(run: Run, tmp_path: Path) -> None:
    write_parquet(table_of(dated("a", None, 20), no_face("b")), tmp_path / "p.parquet")
    for name in ("archive_by_decade.py", "birth_years.py"):
        said = run(name, tmp_path / "p.parquet", "--plot", tmp_path / "p.png")
        assert "0 faces; 1 more without a capture time" in said
        assert "nan" not in said.lower()
        assert not (tmp_path / "p.png").exists()


def is_drawn(path: Path) -> bool:
    """Whether a PNG shows more than one colour."""
    with Image.open(path) as image:
        return len(np.unique(np.asarray(image.convert("L")))) > 20


# Models -------------------------------------------------------------------------------------


def test_compare_models(few: Path, run: Run) -> None:
    said = run("compare_models.py", few, "--models", "nano", "nano")
    assert re.search(r"age mae +\S+ \(\S+ to \S+\)", said)
    assert "10 faces: the age error of nano is +0.00 years against nano" in said
    assert "95 % interval +0.00 to +0.00" in said


def test_errors_are_paired_by_face(
    example: Any, fake_model: annotate.Model, tmp_path: Path
) -> None:
    """The fake model says mean pixel / 2.55: 100 for white, 0 for black."""
    for level, age in ((255, 90), (0, 20)):
        draw(tmp_path / "faces" / f"{age}_0_0_{level}.jpg", (level,) * 3)
    report = annotate.evaluate(tmp_path / "faces", model=fake_model, bootstrap=0)
    errors = example("compare_models").paired_errors(report, report)
    assert errors["first"].tolist() == errors["second"].tolist()
    assert sorted(errors["first"]) == pytest.approx([10, 20], abs=0.5)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution(example: Any) -> None:
    values = pd.Series(np.random.default_rng(3).normal(5, 2, 2000))
    low, high = example("compare_models").mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_train_small(drawn: Path, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    out = tmp_path / "small"
    said = run("train_small.py", drawn, "--out", out, "--limit", COUNT, "--epochs", 1)
    assert "val_age_mae" in said
    assert re.search(r"\d+ images it never saw: age MAE \d+\.\d years", said)
    model = annotate.load_model(str(out / "model"))
    assert (model.name, model.size_px) == ("gray128-small", 128)
    run_json = json.loads((out / "run" / "run.json").read_text("utf-8"))
    assert (run_json["settings"]["preset"], run_json["settings"]["limit"]) == ("gray128", COUNT)


# The notebook -------------------------------------------------------------------------------


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
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "find_spec" in code[0]  # installs only what is missing
    assert "annotate[train]" in code[0]
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
        with pytest.raises(SystemExit, match="set SOURCE to its repository"):
            exec(code, {})


def test_the_notebook_runs(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both systems, from file names to figures: one epoch each, on drawn faces."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
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
